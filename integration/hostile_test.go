package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// attack is one thing that a client may send, and what must come of it.
type attack struct {
	name string
	say  func(w *wire)
	// want is a pattern over outcome's text: what the proxy does.
	want string
	// direct is the same for PostgreSQL itself; empty: the same as want; "-": it differs by design.
	direct string
}

// outcome reads what the server says until it closes or falls silent and renders
// it: SQLSTATEs with severity, transaction states, other messages by type.
func outcome(w *wire) string {
	var words []string
	for {
		f, err := w.readWithin(map[bool]time.Duration{true: 4 * time.Second, false: 700 * time.Millisecond}[len(words) == 0])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return strings.Join(append(words, "open"), " ")
		case err != nil:
			return strings.Join(append(words, "closed"), " ")
		case f.typ == 'E':
			words = append(words, f.field('V')+" "+f.field('C'))
		case f.typ == 'Z':
			words = append(words, "Z"+string(f.body))
		case f.typ == 'R':
			words = append(words, fmt.Sprintf("R%d", binary.BigEndian.Uint32(f.body)))
		case f.typ != 'S' && f.typ != 'K':
			words = append(words, string(f.typ))
		}
	}
}

// raw makes an attack of bytes.
func raw(messages ...[]byte) func(w *wire) {
	return func(w *wire) { w.send(messages...) }
}

// sized is a startup packet whose length field lies.
func sized(length uint32, rest ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, length), rest...)
}

// framed is a message whose length field lies.
func framed(typ byte, length uint32, rest ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{typ}, length), rest...)
}

// version30 is the protocol number as bytes.
var version30 = []byte{0, 3, 0, 0}

// startupAttacks are made on a fresh connection; USER in a packet stands for the
// endpoint's user, so that both ways know it.
var startupAttacks = []attack{
	{name: "length 0", say: raw(sized(0, version30...)), want: "^closed$"},
	{name: "length 4", say: raw(sized(4, version30...)), want: "^closed$"},
	{name: "length 7", say: raw(sized(7, version30...)), want: "^closed$"},
	{name: "negative length", say: raw(sized(0xffffff00, version30...)), want: "^closed$"},
	{name: "length 10001", say: raw(sized(10005, version30...)), want: "^closed$"},
	{name: "length 1 GB", say: raw(sized(1<<30, version30...)), want: "^closed$"},
	{name: "HTTP", say: raw([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")), want: "^closed$"},
	{name: "no terminator", say: raw(untyped(protocol30, cstrings("user", "direct_a")...)), want: "^FATAL 08P01 closed$"},
	{name: "a byte behind the terminator", say: raw(untyped(protocol30, append(cstrings("user", "direct_a", ""), 'x')...)), want: "^FATAL 08P01 closed$"},
	{name: "name without value", say: raw(untyped(protocol30, cstrings("user", "direct_a", "database")...)), want: "^FATAL 08P01 closed$"},
	{name: "empty name in the middle", say: raw(startup("user", "direct_a", "", "x", "role", "admin")), want: "^FATAL 08P01 closed$"},
	{name: "no user", say: raw(startup("database", "app")), want: "^FATAL 28000 closed$"},
	{name: "empty user", say: raw(startup("user", "", "database", "app")), want: "^FATAL 28000 closed$"},
	{name: "user twice", say: raw(startup("user", "direct_a", "user", "direct_b", "database", "app")), want: "^FATAL 08P01 closed$", direct: "-"},
	{name: "database twice", say: raw(startup("user", "direct_a", "database", "app", "database", "literal")), want: "^FATAL 08P01 closed$", direct: "-"},
	{name: "protocol 2.0", say: raw(untyped(2<<16, make([]byte, 288)...)), want: "^(FATAL 0A000 )?closed$", direct: "-"},
	{name: "protocol 0.0", say: raw(untyped(0, cstrings("user", "direct_a", "")...)), want: "^(FATAL 0A000 )?closed$", direct: "-"},
	{name: "protocol 4.0", say: raw(untyped(4<<16, cstrings("user", "direct_a", "")...)), want: "^(FATAL 0A000 )?closed$"},
	{name: "protocol 1234.9999", say: raw(untyped(1234<<16 | 9999)), want: "^(FATAL 0A000 )?closed$"},
	{name: "protocol 3.2", say: raw(untyped(3<<16|2, cstrings("user", "direct_a", "database", "app", "")...)), want: "^(v )?R3 open$"},
	{name: "protocol 3.9999 with an unknown option", say: raw(untyped(protocolTop, cstrings("user", "direct_a", "database", "app", "_pq_.test", "x", "")...)), want: "^v R3 open$"},
	{name: "an unknown protocol option", say: raw(startup("user", "direct_a", "database", "app", "_pq_.grease", "x")), want: "^v R3 open$"},
	{name: "a cancel of nobody", say: raw(cancelRequest(1, []byte{1, 2, 3, 4})), want: "^closed$"},
	{name: "a cancel too short", say: raw(untyped(codeCancel, 0, 0, 0, 1)), want: "^closed$"},
	{name: "a cancel with a long key", say: raw(cancelRequest(1, make([]byte, 256))), want: "^closed$", direct: "-"},
	{name: "a cancel with a huge key", say: raw(cancelRequest(1, make([]byte, 9000))), want: "^closed$", direct: "-"},
	{name: "two cancels", say: raw(cancelRequest(1, []byte{1, 2, 3, 4}), cancelRequest(1, []byte{1, 2, 3, 4})), want: "^closed$"},
	{name: "a query first", say: raw(simple("SELECT 1")), want: "^(FATAL (0A000|08P01) )?closed$"},
	{name: "garbage", say: raw([]byte(strings.Repeat("\x00\x01\xff", 2000))), want: "^(FATAL (0A000|08P01) )?closed$"},
}

// passwordAttacks are made where the password is asked for.
var passwordAttacks = []attack{
	{name: "a second startup", say: func(w *wire) { w.send(startup("user", w.ep.user, "database", w.ep.database)) }, want: "^(FATAL 08P01 )?closed$"},
	{name: "a query", say: raw(simple("SELECT 1")), want: "^(FATAL 08P01 )?closed$"},
	{name: "a Parse", say: raw(parse("", "SELECT 1")), want: "^(FATAL 08P01 )?closed$"},
	{name: "a Sync", say: raw(syncMessage), want: "^(FATAL 08P01 )?closed$"},
	{name: "a Terminate", say: raw(terminate), want: "^(FATAL 08P01 )?closed$"},
	{name: "a cancel", say: raw(cancelRequest(1, []byte{1, 2, 3, 4})), want: "^(FATAL 08P01 )?closed$"},
	{name: "an SSLRequest", say: raw(untyped(codeSSL)), want: "^(FATAL 08P01 )?closed$"},
	{name: "an empty password", say: raw(password("")), want: "^FATAL 28P01 closed$"},
	{name: "a wrong password", say: raw(password("wrong")), want: "^FATAL 28P01 closed$"},
	{name: "a NUL in the password", say: func(w *wire) { w.send(message('p', cstrings(w.ep.password, "tail")...)) }, want: "^FATAL 08P01 closed$"},
	{name: "a password without NUL", say: func(w *wire) { w.send(message('p', []byte(w.ep.password)...)) }, want: "^FATAL 08P01 closed$"},
	{name: "no body", say: raw(message('p')), want: "^FATAL (08P01|28P01) closed$"},
	{name: "a password of 1 GB", say: raw(framed('p', 1<<30)), want: "^(FATAL 08P01 )?closed$"},
	{name: "a password of 65 KiB", say: raw(framed('p', 65<<10+4)), want: "^(FATAL 08P01 )?closed$", direct: "-"},
	{name: "a negative length", say: raw(framed('p', 0xfffffff0)), want: "^(FATAL 08P01 )?closed$"},
	{name: "a query behind a wrong password", say: raw(password("wrong"), simple("SELECT 1")), want: "^FATAL 28P01 closed$"},
	{name: "a second password behind a wrong one", say: func(w *wire) { w.send(password("wrong"), password(w.ep.password)) }, want: "^FATAL 28P01 closed$"},
	{name: "a query behind the right password", say: func(w *wire) { w.send(password(w.ep.password), simple("SELECT 1")) }, want: "^R0 ZI T D C ZI open$"},
	{name: "the right password byte by byte", say: func(w *wire) {
		for _, b := range password(w.ep.password) {
			w.send([]byte{b})
		}
	}, want: "^R0 ZI open$"},
}

// sessionAttacks are made in a session.
var sessionAttacks = []attack{
	{name: "type zero", say: raw(framed(0, 4)), want: "^FATAL 08P01 closed$"},
	{name: "an unknown type", say: raw(framed('z', 4)), want: "^FATAL 08P01 closed$"},
	{name: "a server's type", say: raw(message('R', 0, 0, 0, 0)), want: "^FATAL 08P01 closed$"},
	{name: "a second password", say: func(w *wire) { w.send(password(w.ep.password)) }, want: "^FATAL 08P01 closed$"},
	{name: "a second startup", say: func(w *wire) { w.send(startup("user", w.ep.user, "database", w.ep.database)) }, want: "^FATAL 08P01 closed$"},
	{name: "an SSLRequest", say: raw(untyped(codeSSL)), want: "^FATAL 08P01 closed$"},
	{name: "length 0", say: raw(framed('Q', 0)), want: "^(FATAL 08P01 )?closed$"},
	{name: "length 3", say: raw(framed('Q', 3)), want: "^(FATAL 08P01 )?closed$"},
	{name: "negative length", say: raw(framed('Q', 0xffffffff)), want: "^(FATAL 08P01 )?closed$"},
	{name: "a Query over a gigabyte", say: raw(framed('Q', 0x7fffffff)), want: "^(FATAL 08P01 )?closed$"},
	{name: "a Sync of 20 kB", say: raw(framed('S', 20000)), want: "^(FATAL 08P01 )?closed$"},
	{name: "an Execute of 20 kB", say: raw(framed('E', 20000)), want: "^(FATAL 08P01 )?closed$"},
	{name: "a Terminate with a body", say: raw(framed('X', 8, 1, 2, 3, 4)), want: "^(FATAL 08P01 )?closed$"},
	{name: "Terminate behind queries", say: raw(simple("SELECT 1"), simple("SELECT 2"), terminate), want: "^T D C ZI T D C ZI closed$"},
	{name: "a query behind Terminate", say: raw(terminate, simple("SELECT 1")), want: "^closed$"},
	{name: "a Query without NUL", say: raw(message('Q', []byte("SELECT 1")...)), want: "^ERROR 08P01 ZI open$"},
	{name: "a Query with a NUL inside", say: raw(message('Q', cstrings("SELECT 1", "SELECT 2")...)), want: "^ERROR 08P01 ZI open$"},
	{name: "an empty Query body", say: raw(message('Q')), want: "^ERROR 08P01 ZI open$"},
	{name: "an empty query string", say: raw(simple("")), want: "^I ZI open$"},
	{name: "a comment only", say: raw(simple("-- ping")), want: "^I ZI open$"},
	{name: "a Parse without its end", say: raw(message('P', cstrings("", "SELECT 1")...), syncMessage), want: "^ERROR 08P01 ZI open$"},
	{name: "a Parse with a byte too many", say: raw(message('P', append(cstrings("", "SELECT 1"), 0, 0, 0)...), syncMessage), want: "^ERROR 08P01 ZI open$"},
	{name: "a Bind whose counts lie", say: raw(parse("", "SELECT 1"), message('B', append(cstrings("", ""), 0, 0, 0x7f, 0xff)...), syncMessage), want: "^1 ERROR 08P01 ZI open$"},
	{name: "a Bind with a negative length", say: raw(parse("", "SELECT $1"), message('B', append(cstrings("", ""), 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xf0, 0, 0)...), syncMessage), want: "^1 ERROR 08P01 ZI open$"},
	{name: "a Describe of nothing known", say: raw(message('D', cstrings("X")...), syncMessage), want: "^ERROR 08P01 ZI open$"},
	{name: "a Close of nothing known", say: raw(message('C', cstrings("X")...), syncMessage), want: "^ERROR 08P01 ZI open$"},
	{name: "a Sync with a body", say: raw(message('S', 1, 2)), want: "ERROR 08P01"},
	{name: "a function call", say: raw(message('F', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)), want: "^ERROR 0A000 ZI open$", direct: "-"},
	{name: "a function call in a pipeline", say: raw(simple("SELECT 1"), message('F', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0), simple("SELECT 2")), want: "^T D C ZI ERROR 0A000 ZI T D C ZI open$", direct: "-"},
	{name: "stray COPY messages", say: raw(copyData("x"), copyDone, copyFail("x"), simple("SELECT 1")), want: "^T D C ZI open$"},
	{name: "a query inside COPY", say: func(w *wire) {
		w.do(simple("CREATE TEMP TABLE c (t text)"))
		w.send(simple("COPY c FROM STDIN"), simple("SELECT 1"))
	}, want: "^G ERROR 08P01 FATAL 08P01 closed$"},
	{name: "an unknown type inside COPY", say: func(w *wire) {
		w.do(simple("CREATE TEMP TABLE c (t text)"))
		w.send(simple("COPY c FROM STDIN"), framed('z', 4))
	}, want: "^(G )?(ERROR 08P01 )?FATAL 08P01 closed$"},
	{name: "an early Sync in COPY", say: func(w *wire) {
		w.do(simple("CREATE TEMP TABLE c (t text)"))
		w.send(extended("COPY c FROM STDIN"), syncMessage, copyData("x\n"), copyDone, syncMessage)
	}, want: "^1 2 n G C ZI open$"},
	{name: "CopyFail", say: func(w *wire) {
		w.do(simple("CREATE TEMP TABLE c (t text)"))
		w.send(simple("COPY c FROM STDIN"), copyData("x\n"), copyFail("no more"), simple("SELECT 1"))
	}, want: "^G ERROR 57014 ZI T D C ZI open$"},
	{name: "a query in an extended pipeline that failed", say: raw(extended("SELECT 1/0"), simple("SELECT 1"), syncMessage), want: "^1 ERROR 22012 ZI open$"},
}

// innocent asks questions from the start to the end of a test and must get its
// own answers all the time.
func innocent(t *testing.T, ep endpoint) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan string, 1)
	w := ep.login(t)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- ""
				return
			case <-time.After(5 * time.Millisecond):
			}
			if _, err := w.conn.Write(simple(fmt.Sprintf("SELECT 'innocent %d', count(*) FROM users", n))); err != nil {
				done <- err.Error()
				return
			}
			var text string
			for !strings.Contains(text, "Z[") {
				f, err := w.read()
				if err != nil {
					done <- err.Error()
					return
				}
				text += f.String()
			}
			if !strings.Contains(text, fmt.Sprintf("D[innocent %d|10]", n)) {
				done <- text
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		if problem := <-done; problem != "" {
			t.Errorf("the innocent client: %s", problem)
		}
		w.close()
	})
}

// attackAll makes every attack on an endpoint after a preparation.
func attackAll(t *testing.T, ep endpoint, attacks []attack, prepare func(t *testing.T) *wire) {
	t.Helper()
	for _, a := range attacks {
		want := a.want
		if ep.name == "direct" && a.direct != "" {
			want = a.direct
		}
		if want == "-" {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w := prepare(t)
			a.say(w)
			if got := outcome(w); !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("came to %q, want %q", got, want)
			}
			w.close()
		})
	}
}

// TestHostileBytesEndTheirOwnConnectionOnly makes every attack of the three
// phases while an innocent client keeps working.
func TestHostileBytesEndTheirOwnConnectionOnly(t *testing.T) {
	pg := sharedPostgres(t)
	all := func(t *testing.T, ep endpoint) {
		innocent(t, ep)
		t.Run("startup", func(t *testing.T) {
			attackAll(t, ep, startupAttacks, func(t *testing.T) *wire { return ep.dial(t) })
		})
		t.Run("password", func(t *testing.T) {
			attackAll(t, ep, passwordAttacks, func(t *testing.T) *wire {
				w := ep.dial(t)
				w.send(startup("user", ep.user, "database", ep.database))
				w.until('R', 1)
				return w
			})
		})
		t.Run("session", func(t *testing.T) {
			attackAll(t, ep, sessionAttacks, func(t *testing.T) *wire { return ep.login(t) })
		})
	}
	t.Run("direct", func(t *testing.T) { all(t, pg.direct(tenantA)) })
	t.Run("proxy", func(t *testing.T) {
		p := startProxy(t, pg, func(p *proxy) { p.database("app", "app", "session", 60) })
		for _, ep := range p.everyMode(tenantA) {
			t.Run(ep.database, func(t *testing.T) { all(t, ep) })
		}
	})
}

// TestWhatTheProxyPreparesIsNobodyElses binds other values to the statement that
// entered the context: at the beginning, and behind a reset.
func TestWhatTheProxyPreparesIsNobodyElses(t *testing.T) {
	p := startProxy(t, sharedPostgres(t))
	for _, ep := range p.everyMode(tenantA) {
		w := ep.login(t)
		for _, first := range []string{"", "RESET ALL", "DISCARD ALL"} {
			if first != "" {
				w.do(simple(first))
			}
			for _, name := range []string{"", "tenantgate_enter"} {
				w.send(bind("", name), execute("", 0), syncMessage)
				if _, code := lastError(w.until('Z', 1)); code != "26000" {
					t.Errorf("%s, %q, statement %q: %q", ep.name, first, name, code)
				}
				w.send(execute(name, 0), syncMessage)
				if _, code := lastError(w.until('Z', 1)); code != "34000" {
					t.Errorf("%s, %q, portal %q: %q", ep.name, first, name, code)
				}
			}
		}
	}
}

// TestWhatEnteringSaysIsNotTheClients makes PostgreSQL talk about every statement:
// a notice about the proxy's own would show what it was sent with.
func TestWhatEnteringSaysIsNotTheClients(t *testing.T) {
	p := startProxy(t, sharedPostgres(t))
	for _, ep := range p.everyMode(tenantA) {
		w := ep.login(t)
		w.do(simple("SET client_min_messages = debug1; SET debug_print_plan = on; SET log_parameter_max_length_on_error = -1"))
		w.send(simple("RESET app.current_tenant_id"), simple("SELECT 1"))
		if text := show(w.until('Z', 2)); strings.Contains(text, "tenantgate_enter") || !strings.Contains(text, "N[") {
			t.Errorf("%s: %s", ep.name, text)
		}
	}
}
