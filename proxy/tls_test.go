package proxy

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
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

// direction is the record layer of TLS 1.3 in one direction (RFC 8446, section 5), with
// TLS_AES_128_GCM_SHA256: crypto/tls sends no key update by itself and chooses its segments alone.
type direction struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	number uint64 // of the next record
}

// expand is HKDF-Expand-Label (RFC 8446, section 7.1).
func expand(t *testing.T, secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{0, byte(n), byte(len(label))}, label...)
	b, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newDirection(t *testing.T, secret []byte) *direction {
	block, err := aes.NewCipher(expand(t, secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return &direction{secret: secret, aead: aead, iv: expand(t, secret, "iv", 12)}
}

// next is the direction behind a key update.
func (d *direction) next(t *testing.T) *direction {
	return newDirection(t, expand(t, d.secret, "traffic upd", sha256.Size))
}

func (d *direction) nonce() []byte {
	nonce := bytes.Clone(d.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(d.number >> (56 - 8*i))
	}
	d.number++
	return nonce
}

// The content types of TLS records.
const (
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
)

// append adds a record to b.
func (d *direction) append(b []byte, kind byte, content []byte) []byte {
	n := len(content) + 1 + d.aead.Overhead()
	head := []byte{recordData, 3, 3, byte(n >> 8), byte(n)}
	inner := append(bytes.Clone(content), kind)
	return append(append(b, head...), d.aead.Seal(nil, d.nonce(), inner, head)...)
}

// forger is a TLS client that writes its records itself, after a handshake by crypto/tls.
type forger struct {
	net.Conn
	t        *testing.T
	out, in  *direction
	pending  []byte
	answered int // key updates that came
}

// forged runs the handshake on conn and takes its keys.
func forged(t *testing.T, conn net.Conn, config *tls.Config) *forger {
	var log bytes.Buffer
	config.KeyLogWriter = &log
	c := tls.Client(conn, config)
	if err := c.Handshake(); err != nil {
		t.Error(err)
		return nil
	}
	if suite := c.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Errorf("the cipher suite is %s", tls.CipherSuiteName(suite))
		return nil
	}
	secrets := map[string][]byte{}
	for line := range strings.Lines(log.String()) {
		if f := strings.Fields(line); len(f) == 3 {
			secrets[f[0]], _ = hex.DecodeString(f[2])
		}
	}
	return &forger{
		Conn: conn, t: t, out: newDirection(t, secrets["CLIENT_TRAFFIC_SECRET_0"]), in: newDirection(t, secrets["SERVER_TRAFFIC_SECRET_0"]),
	}
}

// forging is a connection to the loop whose peer forges its records.
func (r *running) forging() (*probe, *forger) {
	r.t.Helper()
	p, peer := r.encrypted(func(conn net.Conn, config *tls.Config) net.Conn { return forged(r.t, conn, config) })
	f := peer.(*forger)
	if f == nil {
		r.t.FailNow()
	}
	return p, f
}

// updateKeys adds a key update to b: the peer is to answer with one of its own.
func (f *forger) updateKeys(b []byte) []byte {
	b = f.out.append(b, recordHandshake, []byte{24, 0, 0, 1, 1})
	f.out = f.out.next(f.t)
	return b
}

// flush sends b in one segment.
func (f *forger) flush(b []byte) {
	f.t.Helper()
	_ = f.SetDeadline(time.Now().Add(longest))
	if _, err := f.Write(b); err != nil {
		f.t.Fatal(err)
	}
}

// expect reads data until it has text.
func (f *forger) expect(text string) {
	f.t.Helper()
	_ = f.SetDeadline(time.Now().Add(longest))
	for len(f.pending) < len(text) {
		var head [5]byte
		if _, err := io.ReadFull(f, head[:]); err != nil {
			f.t.Fatalf("have %q, want %q: %v", f.pending, text, err)
		}
		body := make([]byte, binary.BigEndian.Uint16(head[3:]))
		if _, err := io.ReadFull(f, body); err != nil {
			f.t.Fatal(err)
		}
		inner, err := f.in.aead.Open(nil, f.in.nonce(), body, head[:])
		if err != nil {
			f.t.Fatalf("a record that is not in order: %v", err)
		}
		switch content, kind := inner[:len(inner)-1], inner[len(inner)-1]; kind {
		case recordData:
			f.pending = append(f.pending, content...)
		case recordHandshake:
			if content[0] != 24 {
				f.t.Fatalf("handshake message %d", content[0])
			}
			f.answered++
			f.in = f.in.next(f.t)
		default:
			f.t.Fatalf("record of type %d: %x", kind, content)
		}
	}
	if got := string(f.pending[:len(text)]); got != text {
		f.t.Fatalf("%q came, want %q", got, text)
	}
	f.pending = f.pending[len(text):]
}
