package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// issue returns a certificate with its key, in PEM, for 127.0.0.1 and for clients.
func (a *authority) issue(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, priv.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// pair is a certificate for crypto/tls.
func (a *authority) pair(t *testing.T, serial int64) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.issue(t, serial))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// roots trusts the authority.
func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// certFiles are the files of a listener.
type certFiles struct {
	t        *testing.T
	settings TLS
}

func newCertFiles(t *testing.T, a *authority) *certFiles {
	dir := t.TempDir()
	f := &certFiles{t, TLS{Mode: TLSRequire, CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}}
	f.write(a.issue(t, 1))
	return f
}

func (f *certFiles) write(cert, key []byte) {
	f.t.Helper()
	for name, text := range map[string][]byte{f.settings.CertFile: cert, f.settings.KeyFile: key} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *certFiles) load() *certificates {
	f.t.Helper()
	c, err := newCertificates(f.settings, func() *slog.Logger { return slog.New(slog.DiscardHandler) })
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// tcpPair returns the two ends of a connection on this machine.
func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	far, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	near, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	return near, far
}

// handshake runs one with what c has in force and returns the serial number that the client saw,
// and what became of it at the server.
func handshake(t *testing.T, c *certificates, client *tls.Config) (serial int64, err error) {
	t.Helper()
	near, far := tcpPair(t)
	ended := make(chan error, 1)
	go func() {
		defer func() { _ = near.Close() }()
		ended <- tls.Server(near, c.config()).Handshake()
	}()
	peer := tls.Client(far, client)
	if peer.Handshake() == nil {
		serial = peer.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	return serial, <-ended
}

func TestAChangedCertificateIsTakenUpByTheNextHandshake(t *testing.T) {
	a := newAuthority(t)
	client := &tls.Config{RootCAs: a.roots(), ServerName: "127.0.0.1"}
	files := newCertFiles(t, a)
	c := files.load()
	if serial, err := handshake(t, c, client); serial != 1 || err != nil {
		t.Fatalf("certificate %d (%v), want 1", serial, err)
	}
	before := c.config()
	c.refresh()
	if c.config() != before {
		t.Error("files that did not change were loaded again")
	}
	files.write(a.issue(t, 2))
	c.refresh()
	if serial, err := handshake(t, c, client); serial != 2 || err != nil {
		t.Errorf("certificate %d (%v), want 2", serial, err)
	}
}

func TestABrokenCertificateLeavesTheLastGoodOneInForce(t *testing.T) {
	a := newAuthority(t)
	client := &tls.Config{RootCAs: a.roots(), ServerName: "127.0.0.1"}
	files := newCertFiles(t, a)
	c := files.load()
	cert, key := a.issue(t, 2)
	_, otherKey := a.issue(t, 3)
	for name, broken := range map[string][2][]byte{
		"half a certificate": {cert[:len(cert)/2], key}, "the key of another": {cert, otherKey}, "empty files": {nil, nil},
	} {
		files.write(broken[0], broken[1])
		c.refresh()
		if serial, err := handshake(t, c, client); serial != 1 || err != nil {
			t.Errorf("%s: certificate %d (%v), want 1", name, serial, err)
		}
	}
	if err := os.Remove(files.settings.KeyFile); err != nil {
		t.Fatal(err)
	}
	c.refresh()
	if serial, err := handshake(t, c, client); serial != 1 || err != nil {
		t.Errorf("no key: certificate %d (%v), want 1", serial, err)
	}
	files.write(cert, key)
	c.refresh()
	if serial, err := handshake(t, c, client); serial != 2 || err != nil {
		t.Errorf("mended: certificate %d (%v), want 2", serial, err)
	}
}

func TestTheListenerDoesNotStartWithABrokenCertificate(t *testing.T) {
	a := newAuthority(t)
	files := newCertFiles(t, a)
	noCA := files.settings
	noCA.ClientCAFile = files.settings.KeyFile
	if _, err := newCertificates(noCA, nil); err == nil {
		t.Error("a client CA file without a certificate was taken")
	}
	files.write(nil, nil)
	if _, err := newCertificates(files.settings, nil); err == nil {
		t.Error("an empty certificate was taken")
	}
}

func TestAClientCAAsksForACertificateOfItsOwn(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	files := newCertFiles(t, a)
	files.settings.Mode = TLSPrefer
	files.settings.ClientCAFile = filepath.Join(t.TempDir(), "ca.crt")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	if err := os.WriteFile(files.settings.ClientCAFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	c := files.load()
	if !c.required() {
		t.Error("TLS is not required: a client without it need not show a certificate")
	}
	client := &tls.Config{RootCAs: a.roots(), ServerName: "127.0.0.1"}
	if _, err := handshake(t, c, client); err == nil {
		t.Error("a client without a certificate was let in")
	}
	stranger := other.pair(t, 7)
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
	if _, err := handshake(t, c, client); err == nil {
		t.Error("a client with a certificate of another authority was let in")
	}
	own := a.pair(t, 8)
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	if _, err := handshake(t, c, client); err != nil {
		t.Errorf("a client with a certificate of the authority: %v", err)
	}
}
