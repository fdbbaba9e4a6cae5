package integration

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// tool runs one of PostgreSQL's programs and returns its output, and behind that what it says on standard
// error. One that fails, fails the test.
func tool(t *testing.T, ep endpoint, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = ep.environ()
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v: %v\n%s", ep.name, command, err, tailOf(problems.String()))
	}
	return out.String() + problems.String()
}

// TestPsqlDescribesEverythingThroughTheProxy: the queries of its backslash commands are refused by no rule
// of the guard, and the answers are the same.
func TestPsqlDescribesEverythingThroughTheProxy(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	command := []string{"psql", "-X"} // what it does not find is an error to it
	for _, d := range strings.Fields(`\d \d+ \da \dA+ \dAc \dAf \dAo \dAp \db \dc \dC+ \dd \dD+ \ddp \dE \des \det \deu \dew \df+
		\dF+ \dFd \dFp \dFt \dg+ \di+ \dl \dL+ \dm \dn+ \do \dO+ \dp \dP+ \drds \dRp+ \dRs \ds \dt+ \dT+ \du \dv+ \dx+ \dX \dy \l \z \sf \conninfo`) {
		switch d {
		case `\sf`:
			d = `\sf pg_catalog.set_config`
		case `\conninfo`: // says where it is connected to
			continue
		}
		command = append(command, "-c", d)
	}
	for _, table := range []string{"users", "projects", "pg_catalog.pg_settings"} {
		command = append(command, "-c", `\d+ `+table)
	}
	want, got := tool(t, pg.direct(tenantA), command...), tool(t, p.as(tenantA), command...)
	same(t, "the backslash commands", want, got)
	if strings.Contains(got, "ERROR") || strings.Count(got, "\n") < 1000 {
		t.Errorf("they went wrong:\n%s", tailOf(got))
	}
}

// TestATenantDumpsItsOwnRows: pg_dump's data of one tenant, through the guard.
func TestATenantDumpsItsOwnRows(t *testing.T) {
	pg := sharedPostgres(t)
	p := startProxy(t, pg)
	for _, args := range [][]string{{"--data-only"}, {"--data-only", "--inserts"}} {
		command := append([]string{"pg_dump", "--enable-row-security", "-t", "users", "-t", "organizations"}, args...)
		want, got := tool(t, pg.direct(tenantB), command...), tool(t, p.as(tenantB), command...)
		same(t, strings.Join(command, " "), dumped(want), dumped(got))
		if !strings.Contains(got, "@"+tenantB.marker) || strings.Contains(got, tenantA.marker) || strings.Contains(got, tenantA.id) {
			t.Errorf("the dump is not the tenant's own:\n%s", tailOf(got))
		}
	}
}

// dumped leaves out the lines with which pg_dump keeps others' backslash commands from psql: they hold a
// random key.
func dumped(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) {
			b.WriteString(line)
		}
	}
	return b.String()
}
