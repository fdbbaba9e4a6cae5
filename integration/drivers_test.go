package integration

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// driver is a client program that walks through the sample data and prints what
// it saw. It fails by itself when it sees or writes anything foreign.
type driver struct {
	name    string
	run     func(t *testing.T, ep endpoint, env ...string) string
	literal bool // runs on the article's literal policies too, where only `users` knows an administrator
}

// drivers are the clients that the promise of §"any language's client" is shown with.
var drivers = []driver{
	{"psql", psqlWalk, true},
	{"pgx", pgxWalk, true},
	{"psycopg2", program("python", "/usr/bin/python3", "psycopg2_walk.py"), true},
	{"fastapi", program("python", "/usr/bin/python3", "fastapi_app.py"), true},
	{"asyncpg", program("python", "/usr/bin/python3", "asyncpg_walk.py"), true},
	{"node-postgres", program("node", "node", "walk.js"), true},
	{"jdbc", program("java", "java", "-cp", "/usr/share/java/postgresql.jar", "Walk.java"), true},
}

// program makes a driver's run of a program in clients/<dir>.
func program(dir string, command ...string) func(*testing.T, endpoint, ...string) string {
	return func(t *testing.T, ep endpoint, env ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Dir = filepath.Join("clients", dir)
		cmd.Env = append(append(ep.environ(), "PYTHONDONTWRITEBYTECODE=1"), env...)
		var out, problems bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &problems
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s%s", ep.name, err, tailOf(out.String()), tailOf(problems.String()))
		}
		return out.String()
	}
}

// tailOf is the end of a long text.
func tailOf(text string) string {
	return text[max(0, len(text)-3000):]
}

// psqlWalk runs clients/walk.sql and judges the rows it printed.
func psqlWalk(t *testing.T, ep endpoint, env ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "psql", "-X", "-a", "-v", "tenant="+ep.tenant.id, "-v", "other="+ep.tenant.other().id, "-f", filepath.Join("clients", "walk.sql"))
	cmd.Env = append(ep.environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: psql: %v\n%s", ep.name, err, out)
	}
	text := string(out)
	administrator := strings.Contains(strings.Join(env, " "), "ROLE=admin")
	if !administrator && strings.Contains(text, "@"+ep.tenant.other().marker) {
		t.Errorf("%s: psql shows rows of %s", ep.name, ep.tenant.other().marker)
	}
	if got := strings.Count(text, "42501"); got != map[bool]int{false: 2, true: 0}[administrator] {
		t.Errorf("%s: %d writes were refused", ep.name, got)
	}
	// The pid of a notifying server process is no part of the answer.
	return maskPIDs(text)
}

// maskPIDs replaces the process id in psql's line about a notification.
func maskPIDs(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if head, _, found := strings.Cut(line, "from server process with PID "); found {
			line = head + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// TestEveryDriverSeesItsOwnTenant runs each driver's program as both tenants and
// as administrator, direct and through the proxy; all of them must print the
// same.
func TestEveryDriverSeesItsOwnTenant(t *testing.T) {
	pg := sharedPostgres(t)
	for _, d := range drivers {
		t.Run(d.name, func(t *testing.T) {
			want := map[string]string{}
			t.Run("direct", func(t *testing.T) {
				for _, x := range tenants {
					want[x.marker] = d.run(t, pg.direct(x))
				}
				want["admin"] = d.run(t, pg.directAdmin(), "ROLE=admin")
			})
			t.Run("proxy", func(t *testing.T) {
				p := startProxy(t, pg)
				for _, x := range tenants {
					for _, ep := range p.everyMode(x) {
						same(t, ep.database+" as "+x.marker, want[x.marker], d.run(t, ep))
					}
				}
				same(t, "as administrator", want["admin"], d.run(t, p.as(tenantA, admin), "ROLE=admin"))
			})
		})
	}
}

// TestTheArticleWorksAsWritten runs the drivers on the article's literal
// policies, which raise an error when no context is set, and the article's
// application with and without its own set_rls_context.
func TestTheArticleWorksAsWritten(t *testing.T) {
	pg := sharedPostgres(t)
	fastapi := program("python", "/usr/bin/python3", "fastapi_app.py")
	walk := func(t *testing.T, ep func(x tenant) endpoint, administrator endpoint) map[string]string {
		seen := map[string]string{}
		for _, x := range tenants {
			for _, d := range drivers {
				if d.literal {
					seen[d.name+" as "+x.marker] = d.run(t, ep(x).in("literal"))
				}
			}
			seen["set_rls_context as "+x.marker] = fastapi(t, ep(x).in("literal"), "ARTICLE_CONTEXT=1")
		}
		seen["administrator"] = fastapi(t, administrator.in("literal"), "ROLE=admin")
		seen["set_rls_context as administrator"] = fastapi(t, administrator.in("literal"), "ROLE=admin", "ARTICLE_CONTEXT=1")
		return seen
	}
	var want map[string]string
	t.Run("direct", func(t *testing.T) { want = walk(t, pg.direct, pg.directAdmin()) })
	t.Run("proxy", func(t *testing.T) {
		p := startProxy(t, pg)
		got := walk(t, func(x tenant) endpoint { return p.as(x) }, p.as(tenantA, admin))
		for name, text := range want {
			same(t, name, text, got[name])
		}
	})
}

// same fails the test with the first lines that differ.
func same(t *testing.T, what, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for n := range max(len(w), len(g)) {
		if n >= len(w) || n >= len(g) || w[n] != g[n] {
			t.Errorf("%s: differs from line %d on\n direct: %s\n  proxy: %s", what, n+1, from(w, n), from(g, n))
			return
		}
	}
}

// from returns some lines from n on, for a failure's text.
func from(lines []string, n int) string {
	if n >= len(lines) {
		return "(end)"
	}
	return fmt.Sprintf("%q", lines[n:min(len(lines), n+6)])
}
