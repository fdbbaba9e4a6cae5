package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
)

// alpn is the protocol name of PostgreSQL ("SSL Session Encryption").
const alpn = "postgresql"

var errNoALPN = errors.New("direct TLS without ALPN")

// certificates hold the TLS configuration of the listener and read it again when
// its files change. What does not load leaves the last good one in force.
type certificates struct {
	settings TLS
	current  atomic.Pointer[tls.Config]
	seen     [sha256.Size]byte // of the files that were tried last
	log      func() *slog.Logger
}

func newCertificates(t TLS, log func() *slog.Logger) (*certificates, error) {
	c := &certificates{settings: t, log: log}
	if c.off() {
		return c, nil
	}
	c.seen = c.digest()
	config, err := load(t)
	if err != nil {
		return nil, err
	}
	c.current.Store(config)
	return c, nil
}

func (c *certificates) off() bool { return c.settings.Mode == TLSDisable }

// required says that every TCP client must use TLS: by mode, or because a client
// certificate is wanted.
func (c *certificates) required() bool {
	return !c.off() && (c.settings.Mode == TLSRequire || c.settings.ClientCAFile != "")
}

// config is what the next handshake uses; nil when TLS is off.
func (c *certificates) config() *tls.Config { return c.current.Load() }

// refresh loads the files again if they have changed.
func (c *certificates) refresh() {
	if c.off() {
		return
	}
	now := c.digest()
	if now == c.seen {
		return
	}
	c.seen = now
	config, err := load(c.settings)
	if err != nil {
		c.log().Error("changed TLS files do not load, the previous ones stay in force", "error", err)
		return
	}
	c.current.Store(config)
	c.log().Info("TLS files were read again")
}

// digest is over the contents: secrets mounted by Kubernetes change by a link.
func (c *certificates) digest() [sha256.Size]byte {
	h := sha256.New()
	for _, name := range []string{c.settings.CertFile, c.settings.KeyFile, c.settings.ClientCAFile} {
		if name == "" {
			continue
		}
		b, err := os.ReadFile(name)
		_, _ = fmt.Fprintf(h, "%d %v ", len(b), err)
		_, _ = h.Write(b)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func load(t TLS) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("listen.tls: %w", err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{alpn},
	}
	if t.ClientCAFile == "" {
		return config, nil
	}
	pem, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("listen.tls.client_ca_file: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("listen.tls.client_ca_file: no certificate in %s", t.ClientCAFile)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	return config, nil
}
