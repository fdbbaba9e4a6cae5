package integration

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// over is the endpoint with TLS.
func (e endpoint) over(config *tls.Config) endpoint {
	e.tls = config
	return e
}

// localCertificate is good for a proxy on the loopback.
func localCertificate(t testing.TB) *certificate {
	return newCertificate(t, "localhost", "localhost", "127.0.0.1")
}

// sslAnswer asks for TLS and returns the one byte of the answer, 0 for none.
func sslAnswer(w *wire) byte {
	w.send(untyped(codeSSL))
	_ = w.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	b, _ := w.r.ReadByte()
	return b
}

// TestTLSModes holds what each mode offers and accepts.
func TestTLSModes(t *testing.T) {
	pg, cert := sharedPostgres(t), localCertificate(t)
	for _, c := range []struct {
		mode          string
		answer        byte
		plain, secure bool
	}{
		{"disable", 'N', true, false}, {"prefer", 'S', true, true}, {"require", 'S', false, true}, {"", 'S', false, true},
	} {
		t.Run("mode "+c.mode, func(t *testing.T) {
			p := startProxy(t, pg, servingTLS(t, cert, c.mode))
			ep := p.as(tenantA)
			if got := sslAnswer(ep.dial(t)); got != c.answer {
				t.Errorf("the SSLRequest was answered with %q", got)
			}
			w := ep.dial(t)
			w.send(startup("user", ep.user, "database", ep.database))
			if got := outcome(w); c.plain && got != "R3 open" || !c.plain && got != "FATAL 28000 closed" {
				t.Errorf("a login in clear text came to %q", got)
			}
			if !c.secure {
				return
			}
			if got := ep.over(cert.client()).login(t).value("SELECT count(*) FROM users"); got != "10" {
				t.Errorf("%s users over TLS", got)
			}
			old := cert.client()
			old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			if _, err := ep.over(old).tryLogin(t); err == nil {
				t.Error("TLS 1.1 was accepted")
			}
			// A cancel comes in plain TCP even from a session over TLS.
			w = ep.over(cert.client()).login(t)
			runningSleep(t, pg, w, "tls "+c.mode)
			if err := w.cancel(true); err != nil {
				t.Error(err)
			}
			if _, code := lastError(w.until('Z', 1)); code != "57014" {
				t.Errorf("the cancel in plain TCP came to %q", code)
			}
		})
	}
}

// TestTrafficOverTLSIsTheSame plays sessions and large messages over TLS.
func TestTrafficOverTLSIsTheSame(t *testing.T) {
	pg, cert := sharedPostgres(t), localCertificate(t)
	p := startProxy(t, pg, servingTLS(t, cert, "require"))
	for _, name := range []string{"types", "errors", "pipelines", "copy", "notifications", "prepared statements"} {
		want := play(pg.direct(tenantA), t, paritySessions[name], 0)
		for _, ep := range p.everyMode(tenantA) {
			same(t, name, want, play(ep.over(cert.client()), t, paritySessions[name], 0))
			same(t, name+" in tiny records", want, play(ep.over(cert.client()), t, paritySessions[name], 9))
		}
	}
	sum := func(ep endpoint) string {
		w := ep.login(t)
		w.send(simple("SELECT n, repeat('x', 1000) FROM generate_series(1, 30000) n"))
		_, sum := hashRows(t, w)
		return sum
	}
	same(t, "30 MB", sum(pg.direct(tenantA)), sum(p.as(tenantA).over(cert.client())))
}

// TestNothingIsReadFromBeforeTLS stuffs clear text behind the SSLRequest.
func TestNothingIsReadFromBeforeTLS(t *testing.T) {
	pg, cert := sharedPostgres(t), localCertificate(t)
	p := startProxy(t, pg, servingTLS(t, cert, "prefer"))
	ep := p.as(tenantA)
	w := ep.dial(t)
	w.send(untyped(codeSSL), startup("user", ep.user, "database", ep.database))
	all, err := io.ReadAll(w.conn)
	if err != nil && !gone(err) || bytes.Contains(all, []byte{'R', 0, 0, 0, 8}) || len(all) > 1 && all[0] == 'S' {
		t.Errorf("clear text behind an SSLRequest was answered with %q, %v", all, err)
	}
	for name, bytes := range map[string][]byte{"two SSLRequests": untyped(codeSSL), "GSS behind SSL": untyped(codeGSS)} {
		w = ep.over(cert.client()).dial(t)
		w.send(bytes)
		if got := outcome(w); name == "two SSLRequests" && !strings.HasSuffix(got, "closed") {
			t.Errorf("%s: %s", name, got)
		}
	}
	w = ep.dial(t)
	if got := sslAnswer(w); got != 'S' {
		t.Fatalf("%q", got)
	}
	w.send([]byte("this is not a client hello, and it never will be one"))
	if frames := w.rest(10 * time.Second); len(frames) > 0 && frames[0].typ == 'R' {
		t.Errorf("a garbage handshake was answered with %v", frames)
	}
	w = ep.dial(t)
	w.send(untyped(codeGSS))
	_ = w.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if b, err := w.r.ReadByte(); b != 'N' {
		t.Errorf("a GSSENCRequest was answered with %q, %v", b, err)
	}
	if err := w.requestTLS(cert.client()); err != nil {
		t.Errorf("TLS behind a GSSENCRequest: %v", err)
	}
}

// TestDirectTLSNeedsItsProtocol starts with a TLS hello instead of an SSLRequest.
func TestDirectTLSNeedsItsProtocol(t *testing.T) {
	pg, cert := sharedPostgres(t), localCertificate(t)
	p := startProxy(t, pg, servingTLS(t, cert, "require"))
	for _, c := range []struct {
		protocols []string
		ok        bool
	}{{[]string{"postgresql"}, true}, {[]string{"h2", "postgresql"}, true}, {nil, false}, {[]string{"http/1.1"}, false}} {
		ep := p.as(tenantA)
		w := ep.dial(t)
		config := cert.client()
		config.NextProtos = c.protocols
		err := w.startTLS(config)
		if err == nil {
			w.send(startup("user", ep.user, "database", ep.database))
			err = w.authenticate()
		}
		if (err == nil) != c.ok {
			t.Errorf("protocols %q: %v", c.protocols, err)
		}
	}
	config := cert.client()
	config.NextProtos = []string{"postgresql"} // what libpq offers on the way with an SSLRequest
	if got := p.as(tenantA).over(config).login(t).value("SELECT 1"); got != "1" {
		t.Error(got)
	}
}

// TestClientCertificates holds that a client needs a certificate of the right authority.
func TestClientCertificates(t *testing.T) {
	pg, cert, authority, stranger := sharedPostgres(t), localCertificate(t), newCertificate(t, "clients"), newCertificate(t, "clients")
	p := startProxy(t, pg, servingTLS(t, cert, "require"), func(p *proxy) {
		ca, _ := authority.files(t, workDir(t, "ca"))
		p.set("listen/tls/client_ca_file", ca)
	})
	for name, c := range map[string]struct {
		with *certificate
		ok   bool
	}{"the right one": {authority, true}, "a stranger's": {stranger, false}, "none": {nil, false}} {
		config := cert.client()
		if c.with != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.with.pair, nil }
		}
		if _, err := p.as(tenantA).over(config).tryLogin(t); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestANewCertificateIsTakenUp replaces the files under a running proxy; a pair
// that does not load leaves the one in force.
func TestANewCertificateIsTakenUp(t *testing.T) {
	pg, first, second, third := sharedPostgres(t), localCertificate(t), localCertificate(t), localCertificate(t)
	p := startProxy(t, pg, servingTLS(t, first, "require"))
	ep := p.as(tenantA)
	old := ep.over(first.client()).login(t)
	works := func(c *certificate) bool { return refusal(t, ep.over(c.client())) == "" }
	second.files(t, p.dir)
	eventually(t, 15*time.Second, "the second certificate is served", func() bool { return works(second) })
	broken := *third
	broken.keyPEM = first.keyPEM
	broken.files(t, p.dir)
	for range 20 { // the polling of the files is the proxy's own affair; it must hold through all of it
		if !works(second) {
			t.Fatal("a broken pair replaced the good one")
		}
		time.Sleep(100 * time.Millisecond)
	}
	third.files(t, p.dir)
	eventually(t, 15*time.Second, "the third certificate is served", func() bool { return works(third) })
	if got := old.value("SELECT count(*) FROM users"); got != "10" {
		t.Errorf("the first session sees %s users", got)
	}
}

// TestARefusedTokenIsNotRepeatedInClear watches the wire between psql, whose
// default is to try again without TLS, and the proxy.
func TestARefusedTokenIsNotRepeatedInClear(t *testing.T) {
	pg, cert := sharedPostgres(t), localCertificate(t)
	p := startProxy(t, pg, servingTLS(t, cert, "require"))
	for _, mode := range []string{"prefer", "allow", "disable", "require"} {
		relay := newRelay(t, p.as(tenantA).address())
		ep := p.as(tenantA, claims{"exp": time.Now().Add(-time.Hour).Unix()})
		ep.port = relay.port
		cmd := exec.Command("psql", "-X", "-c", "SELECT 1")
		cmd.Env = append(ep.environ(), "PGSSLMODE="+mode)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || mode != "disable" && !strings.Contains(string(out), "password authentication failed") {
			t.Errorf("sslmode=%s: %v\n%s", mode, err, out)
		}
		if sent := relay.close(); bytes.Contains(sent, []byte("eyJ")) {
			t.Errorf("sslmode=%s: the token went over the wire in clear", mode)
		}
	}
	ep, dir := p.as(tenantB), workDir(t, "root")
	root, _ := cert.files(t, dir)
	cmd := exec.Command("psql", "-X", "-At", "-c", "SELECT count(*) FROM users", "sslmode=verify-full host=localhost sslrootcert="+filepath.Clean(root))
	cmd.Env = append(ep.environ(), "PGSSLMODE=verify-full")
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "10" {
		t.Errorf("psql with sslmode=verify-full: %v\n%s", err, out)
	}
}

// relay is a TCP relay that keeps what clients send.
type relay struct {
	port     int
	listener net.Listener
	group    sync.WaitGroup
	mu       sync.Mutex
	sent     []byte
}

// newRelay starts a relay to the address.
func newRelay(t testing.TB, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{port: l.Addr().(*net.TCPAddr).Port, listener: l}
	r.group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			r.group.Go(func() { defer s.Close(); _, _ = io.Copy(s, io.TeeReader(c, r)) })
			r.group.Go(func() { defer c.Close(); _, _ = io.Copy(c, s) })
		}
	})
	return r
}

// Write keeps what went by.
func (r *relay) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, b...)
	return len(b), nil
}

// close ends the relay and returns what clients sent.
func (r *relay) close() []byte {
	r.listener.Close()
	r.group.Wait()
	return r.sent
}

// TestATokenNeedsTLSOverANetwork holds that a listener which is not loopback does
// not start without TLS, and that with optional TLS a peer from the network is
// refused before it is asked for its token.
func TestATokenNeedsTLSOverANetwork(t *testing.T) {
	pg, cert := sharedPostgres(t), localCertificate(t)
	p := newProxy(t, pg)
	p.set("listen/address", net.JoinHostPort("0.0.0.0", portOf(p)))
	p.writeConfig(t)
	p.launch(t)
	if code := p.waitExit(20 * time.Second); code <= 0 {
		t.Errorf("a listener on every address without TLS: exit %d", code)
	}
	p.finish(t)
	address := networkAddress()
	if address == "" {
		t.Log("this machine has no address but the loopback's: the peer from the network is not tried")
		return
	}
	for _, allowed := range []bool{false, true} {
		p := startProxy(t, pg, servingTLS(t, cert, "prefer"), with("listen/allow_plaintext_password", allowed), func(p *proxy) {
			p.set("listen/address", net.JoinHostPort("0.0.0.0", portOf(p)))
		})
		ep := p.as(tenantA)
		ep.host = address
		w := ep.dial(t)
		w.send(startup("user", ep.user, "database", ep.database))
		if got := outcome(w); allowed && got != "R3 open" || !allowed && got != "FATAL 28000 closed" {
			t.Errorf("a peer from the network, allowed %t: %q", allowed, got)
		}
	}
}
