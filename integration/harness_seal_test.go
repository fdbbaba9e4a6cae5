package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sealKeys are the keys that tests seal with, by id.
var sealKeys = map[string]string{
	"k1": "5ea1000000000000000000000000000000000000000000000000000000000001",
	"k2": "5ea1000000000000000000000000000000000000000000000000000000000002",
}

// sealWith configures the key of that id.
func sealWith(id string) option {
	return func(p *proxy) {
		path := filepath.Join(p.dir, "seal_"+id)
		if err := os.WriteFile(path, []byte(sealKeys[id]+"\n"), 0o600); err != nil {
			p.t.Fatal(err)
		}
		p.set("context/seal", map[string]any{"key_id": id, "key_file": path})
	}
}

// sealedProxy seals the database, protects its tables, and starts a proxy that
// serves only it, without a guard: what holds then holds by the seal.
func sealedProxy(t testing.TB, pg *postgres, database string, options ...option) *proxy {
	t.Helper()
	options = append([]option{
		sealWith("k1"), unguarded, with("databases", map[string]any{}),
		func(p *proxy) { p.database("app", database, "session", 8) },
	}, options...)
	p := newProxy(t, pg, options...)
	p.seal(t, database)
	p.start(t)
	t.Cleanup(func() { p.finish(t) })
	return p
}

// unguarded switches every rule of the guard off.
func unguarded(p *proxy) {
	for _, group := range []string{"context", "hidden_sql", "shared_role", "channels"} {
		p.set("context/guard/"+group, "off")
	}
}

// seal installs what `tenantgate seal sql` prints for the proxy's configuration,
// as the superuser.
func (p *proxy) seal(t testing.TB, database string, args ...string) string {
	t.Helper()
	return p.psql(t, p.pg.superDSN(database), p.tenantgate(t, append([]string{"seal", "sql", "-config", p.configFile}, args...)...))
}

// tenantgate runs a command of the binary and returns what it prints.
func (p *proxy) tenantgate(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command(proxyBinary(t), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("tenantgate %v: %v\n%s%s", args, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// psql runs a script and returns what it prints; it must not fail.
func (p *proxy) psql(t testing.TB, dsn, script string) string {
	t.Helper()
	out, err := runPsql(dsn, script)
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	return out
}

// runPsql runs a script by psql.
func runPsql(dsn, script string) (string, error) {
	cmd := exec.Command("psql", "-X", "-q", "-d", dsn)
	cmd.Stdin = bytes.NewReader([]byte(script))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// unsealedProxy is a proxy with a key in front of a database that has no seal.
func unsealedProxy(t testing.TB, pg *postgres, database, key string, options ...option) *proxy {
	t.Helper()
	options = append([]option{
		sealWith(key), with("databases", map[string]any{}),
		func(p *proxy) { p.database("app", database, "session", 8) },
	}, options...)
	p := newProxy(t, pg, options...)
	p.launch(t)
	t.Cleanup(func() { p.finish(t) })
	eventually(t, 20*time.Second, "the proxy listens", func() bool { return strings.Contains(p.log.String(), "msg=listening") })
	return p
}

// says is what a command prints, whether or not it fails.
func (p *proxy) says(args ...string) string {
	out, _ := exec.Command(proxyBinary(p.t), append(args, "-config", p.configFile)...).CombinedOutput()
	return string(out)
}
