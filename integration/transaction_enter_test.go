package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// answers leaves out what may come at any time: behind DISCARD ALL the settings are
// what the session began with only when they were entered again.
func answers(frames []frame) []frame {
	return slices.DeleteFunc(frames, func(f frame) bool { return f.typ == 'S' })
}

// TestEnteringLeavesNoTrace has two users share one backend, so that every
// transaction is entered ahead of its first message: the answers are those of a
// direct connection to the last one, and the context holds behind each of them.
func TestEnteringLeavesNoTrace(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 1)
	steps := []struct {
		name     string
		messages []byte
		ends     int // how many ReadyForQuery come
	}{
		{"Query", simple("SELECT count(*) FROM plain_numbers"), 1},
		{"VACUUM", simple("VACUUM plain_numbers"), 1},
		{"VACUUM, extended", join(extended("VACUUM plain_numbers"), syncMessage), 1},
		{"CREATE DATABASE", simple("CREATE DATABASE no"), 1},
		{"a setting of the transaction", simple("SET LOCAL work_mem = '1MB'; SHOW work_mem"), 1},
		{"an error", simple("SELECT 1/0"), 1},
		{"an error, extended", join(extended("SELECT 1/0"), extended("SELECT 1"), syncMessage), 1},
		{"an error of syntax", simple("selekt"), 1},
		{"a block that is rolled back", join(simple("BEGIN"), simple("SELECT 1"), simple("ROLLBACK")), 3},
		{"a block that fails", join(simple("BEGIN"), simple("SELECT 1/0"), simple("SELECT 1"), simple("COMMIT")), 4},
		{"a block, extended", join(extended("BEGIN ISOLATION LEVEL SERIALIZABLE"), extended("SHOW transaction_isolation"), extended("ROLLBACK"), syncMessage), 1},
		{"cycles", join(extended("SELECT 1"), syncMessage, extended("SELECT 2"), syncMessage, simple("SELECT 3")), 3},
		{"Sync", syncMessage, 1},
		{"an empty Query", simple(""), 1},
		{"the unnamed portal", join(execute("", 0), syncMessage), 1},
		{"the unnamed statement", join(describe('S', ""), syncMessage), 1},
		{"a portal of that name", join(describe('P', "tenantgate_enter"), syncMessage), 1},
		{"COPY out", simple("COPY (SELECT n FROM plain_numbers LIMIT 3) TO STDOUT"), 1},
		{"COPY in", join(simple("COPY plain_arrivals FROM STDIN"), copyData("x\n"), message('c')), 1},
		{"COPY in, extended", join(extended("COPY plain_arrivals FROM STDIN"), syncMessage, copyData("x\n"), message('c'), syncMessage), 1},
		{"COPY that fails", join(simple("COPY plain_arrivals FROM STDIN"), copyFail("no")), 1},
		{"a warning", simple("SELECT warn('look')"), 1},
		{"DISCARD ALL", simple("DISCARD ALL"), 1},
		{"DISCARD ALL, extended", join(extended("DISCARD ALL"), syncMessage), 1},
		{"the default isolation", simple("SHOW transaction_isolation"), 1},
	}
	params := []string{"TimeZone", "Asia/Tokyo", "application_name", "steps", "default_transaction_isolation", "serializable"}
	users := []*wire{p.as(tenantA).login(t, params...), p.as(tenantA, claims{"sub": "other"}).login(t, params...), p.as(tenantA).login(t, params...)}
	for _, s := range steps {
		direct := pg.direct(tenantA).login(t, params...)
		direct.send(s.messages)
		want := show(answers(direct.until('Z', s.ends)))
		depart(direct, "Terminate")
		for n, w := range users {
			w.send(s.messages)
			if got := show(answers(w.until('Z', s.ends))); got != want {
				t.Errorf("%s, user %d: %s\nwant %s", s.name, n, got, want)
			}
			if got := w.value("SELECT current_setting('app.current_tenant_id') || current_setting('TimeZone')"); got != tenantA.id+"Asia/Tokyo" {
				t.Errorf("%s, user %d: the context is %s", s.name, n, got)
			}
		}
	}
}

// TestNothingRunsWhereTheContextIsNotEntered lets entering fail on a backend that the
// client's bytes are sent to at once: whatever they hold, none of it runs.
func TestNothingRunsWhereTheContextIsNotEntered(t *testing.T) {
	pg := startPostgres(t)
	insert := func(n int) string { return fmt.Sprintf("INSERT INTO plain_arrivals VALUES ('ran %d')", n) }
	p := inTransactions(t, pg, 1)
	for n, messages := range [][]byte{
		simple(insert(0)),
		join(simple(insert(1)), simple(insert(1))),
		join(extended(insert(2)), syncMessage),
		join(extended("SELECT 1"), syncMessage, simple("ROLLBACK"), simple(insert(3)), simple("COMMIT")),
		join(syncMessage, syncMessage, extended("ROLLBACK"), syncMessage, extended(insert(4)), syncMessage),
		join(extended("ROLLBACK"), extended(insert(5)), syncMessage, simple("END"), simple(insert(5))),
		join(message('H'), copyData("x"), syncMessage, simple("ABORT"), simple(insert(6))),
		join(parse("", "COPY plain_arrivals FROM STDIN"), bind("", ""), execute("", 0), syncMessage, copyData("ran 7\n"), message('c'), syncMessage, simple("ROLLBACK"), simple(insert(7))),
	} {
		first, second := p.as(tenantA).login(t), p.as(tenantA).login(t)
		pg.exec(t, "app", "REVOKE EXECUTE ON FUNCTION set_config FROM PUBLIC")
		first.send(messages)
		_, code := lastError(first.rest(10 * time.Second))
		pg.exec(t, "app", "GRANT EXECUTE ON FUNCTION set_config TO PUBLIC")
		if code == "" {
			t.Errorf("%d: it was not told", n)
		}
		if got := pg.count(t, "app", "SELECT count(*) FROM plain_arrivals"); got != 0 {
			t.Fatalf("%d: a statement has run without the context", n)
		}
		if got := second.value("SELECT current_setting('app.current_tenant_id')"); got != tenantA.id {
			t.Errorf("%d: the next one works as %q", n, got)
		}
		depart(second, "Terminate")
	}
}

// TestEnteringHasATimeLimitInFrontOfAStatement freezes a backend that another client has
// used last. What runs behind an entering that was confirmed has no such limit.
func TestEnteringHasATimeLimitInFrontOfAStatement(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 1, with("timeouts/server_reset_timeout", "700ms"), with("timeouts/statement_timeout", "5s"))
	a, b := p.as(tenantA).login(t), p.as(tenantA).login(t)
	if got := a.value("SELECT 'runs longer', pg_sleep(1)"); got != "runs longer" {
		t.Error(got)
	}
	pid, err := strconv.Atoi(b.value("SELECT pg_backend_pid()"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	begun := time.Now()
	a.send(simple("SELECT 2"))
	if severity, code := lastError(a.rest(10 * time.Second)); severity != "FATAL" || code != "08006" {
		t.Errorf("it is told %s %s", severity, code)
	}
	if took := time.Since(begun); took < 600*time.Millisecond || took > 4*time.Second {
		t.Errorf("it is told after %v", took)
	}
	if got := b.value("SELECT current_setting('app.current_tenant_id')"); got != tenantA.id {
		t.Errorf("the next one works as %q", got)
	}
	if m := p.metrics(t); m.sum("server_discarded_total") != 1 || m.sum("server_discarded_total", `reason="enter_failed"`) != 1 {
		t.Errorf("%v", m.of("server_discarded_total"))
	}
}

// TestACancelInFrontOfItsStatement cancels as soon as a statement is sent, while its
// context may be on its way still: the session survives it, and nobody else feels it.
func TestACancelInFrontOfItsStatement(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 1)
	first, second := p.as(tenantA).login(t), p.as(tenantA).login(t)
	for n := range 60 {
		first.send(simple(fmt.Sprintf("SELECT pg_sleep(20), %d", n)))
		done := make(chan struct{})
		go func() {
			for {
				select {
				case <-done:
					return
				default:
					_ = first.cancel(true)
				}
			}
		}()
		_, code := lastError(first.until('Z', 1))
		close(done)
		if code != "57014" {
			t.Fatalf("the statement ends with %q", code)
		}
		for range 3 {
			if got := second.value("SELECT current_setting('app.current_tenant_id')"); got != tenantA.id {
				t.Fatalf("the other one works as %q", got)
			}
		}
	}
}

// TestParametersFollowTheClient holds that a client is told of its parameters' values
// when they change for it, and not when they change for a backend.
func TestParametersFollowTheClient(t *testing.T) {
	pg := startPostgres(t)
	p := inTransactions(t, pg, 1)
	plain := p.as(tenantA).login(t)
	tokyo := p.as(tenantA).login(t, "TimeZone", "Asia/Tokyo", "DateStyle", "German", "application_name", "tokyo")
	told := func(w *wire, messages ...[]byte) (all []string) {
		for _, f := range w.do(messages...) {
			if f.typ == 'S' {
				all = append(all, strings.ReplaceAll(strings.Trim(string(f.body), "\x00"), "\x00", "="))
			}
		}
		return all
	}
	for range 3 {
		for _, w := range []*wire{plain, tokyo} {
			if got := told(w, simple("SELECT 1")); len(got) > 0 {
				t.Errorf("it is told %q", got)
			}
			if got := told(w, simple("BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'; SET LOCAL DateStyle = 'SQL'")); w == plain && len(got) != 2 || w == tokyo && len(got) != 1 {
				t.Errorf("of a local change it is told %q", got)
			}
			if got := told(w, simple("COMMIT")); w == plain && len(got) != 2 || w == tokyo && len(got) != 1 {
				t.Errorf("of its end it is told %q", got)
			}
		}
	}
}
