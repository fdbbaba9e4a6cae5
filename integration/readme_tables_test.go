package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// tableRow is a row of a Markdown table, by its cells.
type tableRow []string

// docTable returns the rows of the table whose first column has that title.
func docTable(t testing.TB, text, title string) []tableRow {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n| "+title+" |")
	if !ok {
		t.Fatalf("there is no table with the first column %q", title)
	}
	var rows []tableRow
	for n, line := range strings.Split(rest, "\n") {
		if n < 2 {
			continue // the rest of the titles, and the line under them
		}
		if !strings.HasPrefix(line, "|") {
			break
		}
		var cells tableRow
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.Trim(cell, " "))
		}
		rows = append(rows, cells)
	}
	return rows
}

// exampleKeys reads config.example.yaml: every key by its path, with the value
// as it is written. An entry of databases is called NAME.
func exampleKeys(t testing.TB) map[string]string {
	t.Helper()
	keys := map[string]string{"auth.keys[].public_key_file": `""`} // stands in a comment there
	var path []string
	line := regexp.MustCompile(`^( *)(- )?([a-z_]+):(?: +(.*))?$`)
	for text := range strings.Lines(readRoot(t, "config.example.yaml")) {
		text = regexp.MustCompile(` +#.*| *\n`).ReplaceAllString(text, "")
		m := line.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		name := m[3]
		if depth := len(m[1]+m[2]) / 2; depth < len(path) {
			path = path[:depth]
		}
		switch {
		case m[4] == "" && name == "keys":
			path = append(path, "keys[]")
		case m[4] == "" && len(path) == 1 && path[0] == "databases":
			path = append(path, "NAME")
		case m[4] == "":
			path = append(path, name)
		default:
			if m[2] != "" || len(path) > 1 && path[1] == "keys[]" && len(m[1]) > 4 {
				path = []string{"auth", "keys[]"}
			}
			keys[strings.Join(append(slices.Clone(path), name), ".")] = m[4]
		}
	}
	return keys
}

// TestTheReadmeNamesEveryKey compares its table with config.example.yaml, which a
// test of the command compares with the defaults, and holds that no text speaks
// of a key that there is not.
func TestTheReadmeNamesEveryKey(t *testing.T) {
	known := exampleKeys(t)
	if len(known) < 50 || !strings.Contains(readRoot(t, "config.example.yaml"), "public_key_file:") {
		t.Fatalf("only %d keys were found in config.example.yaml", len(known))
	}
	readme := readRoot(t, "README.md")
	named := map[string]bool{}
	for _, row := range docTable(t, readme, "key") {
		key := strings.Trim(row[0], "`")
		value, ok := known[key]
		named[key] = true
		if !ok {
			t.Errorf("README.md has the key %s, and config.example.yaml has not", key)
		}
		required := strings.HasPrefix(key, "auth.keys[]") || key == "databases.NAME.dsn"
		if written := strings.Trim(row[1], "`"); written != value && !required {
			t.Errorf("%s: README.md has the default %q, config.example.yaml %q", key, written, value)
		}
	}
	for key := range known {
		if !named[key] {
			t.Errorf("README.md does not have the key %s", key)
		}
	}
	for _, file := range []string{"README.md", "SECURITY.md"} {
		for _, key := range names("`((?:listen|auth|context|databases|limits|timeouts|log)\\.[a-z_.]+)[`:]", readRoot(t, file)) {
			isKey := func(k string) bool { return k == key || strings.HasPrefix(k, key+".") }
			if _, ok := known[key]; !ok && !slices.ContainsFunc(names(`(?m)^\| .([a-z_.A-Z\[\]]+). \|`, readme), isKey) {
				t.Errorf("%s speaks of %s, which is no key", file, key)
			}
		}
	}
}

// TestTheReadmeNamesEveryAnswer compares its table with the one place that says
// what a client is told.
func TestTheReadmeNamesEveryAnswer(t *testing.T) {
	source := readRoot(t, "proxy/refuse.go")
	labels := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t(end[A-Za-z]+) +reason = "([a-z_]+)"`).FindAllStringSubmatch(source, -1) {
		labels[m[1]] = m[2]
	}
	codes := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t(end[A-Za-z]+): +\{code: "([0-9A-Z]{5})"`).FindAllStringSubmatch(source, -1) {
		codes[labels[m[1]]] = m[2]
	}
	if len(labels) < 20 || len(codes) < 15 {
		t.Fatalf("proxy/refuse.go reads otherwise now: %d labels, %d codes", len(labels), len(codes))
	}
	named := map[string]bool{"success": true} // of logins, in the table of metrics
	for _, row := range docTable(t, readRoot(t, "README.md"), "label") {
		for _, label := range names("`([a-z_]+)`", row[0]) {
			named[label] = true
			if code := regexp.MustCompile(`[0-9A-Z]{5}`).FindString(row[1]); code != codes[label] {
				t.Errorf("%s: README.md has %q, the proxy answers %q", label, code, codes[label])
			}
		}
	}
	for _, label := range labels {
		if !named[label] {
			t.Errorf("README.md does not have the label %s", label)
		}
	}
	for label := range named {
		if !slices.Contains(names(`reason = "([a-z_]+)"`, source), label) {
			t.Errorf("README.md has the label %s, which nothing has", label)
		}
	}
}

// TestTheLinksOfTheDocumentsLead follows every link to a file or a heading.
func TestTheLinksOfTheDocumentsLead(t *testing.T) {
	for _, file := range []string{"README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"} {
		for _, link := range names(`\]\(([^)]+)\)`, readRoot(t, file)) {
			path, heading, _ := strings.Cut(link, "#")
			if strings.HasPrefix(link, "https://") {
				continue
			}
			if path == "" {
				path = file
			}
			if _, err := os.Stat(filepath.Join("..", path)); err != nil {
				t.Errorf("%s: %s leads nowhere", file, link)
				continue
			}
			var anchors []string
			for _, title := range names(`(?m)^#+ (.*)$`, readRoot(t, path)) {
				kept := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(title), "")
				anchors = append(anchors, strings.ReplaceAll(kept, " ", "-"))
			}
			if heading != "" && !slices.Contains(anchors, heading) {
				t.Errorf("%s: %s has no heading %s", file, path, heading)
			}
		}
	}
}

// TestWhatTheReadmeSaysOfTheArticle asks PostgreSQL about the article's claims.
func TestWhatTheReadmeSaysOfTheArticle(t *testing.T) {
	pg := sharedPostgres(t)
	pg.exec(t, "postgres", "CREATE DATABASE claims OWNER app_owner")
	connect := func(role string) *pgconn.PgConn {
		return endpoint{host: "127.0.0.1", port: pg.port, user: role, password: appPassword, database: "claims"}.pgconn(t)
	}
	owner, user := connect("app_owner"), connect("app_user")
	if got := sqlstate(user, "SELECT current_setting('app.current_tenant_id')"); got != "42704" {
		t.Errorf("a setting that was never set: %q", got)
	}
	if got := one(t, user, "SELECT current_setting('app.current_tenant_id', true)"); got != "NULL" {
		t.Errorf("with missing_ok: %q", got)
	}
	query(t, user, "SET app.current_tenant_id = 'x'; RESET ALL")
	if got := one(t, user, "SELECT current_setting('app.current_tenant_id', true)"); got != "" {
		t.Errorf("after a reset: %q", got)
	}
	if got := sqlstate(user, "SELECT current_setting('app.current_tenant_id')::uuid"); got != "22P02" {
		t.Errorf("after a reset, as a uuid: %q", got)
	}
	query(t, user, "BEGIN; SET app.current_tenant_id = 'x'; COMMIT")
	if got := one(t, user, "SELECT current_setting('app.current_tenant_id')"); got != "x" {
		t.Errorf("after COMMIT: %q", got)
	}
	bound := user.ExecParams(context.Background(), "SET app.current_tenant_id = $1", [][]byte{[]byte("x")}, nil, nil, nil).Read()
	var refused *pgconn.PgError
	if !errors.As(bound.Err, &refused) || refused.Code != "42601" {
		t.Errorf("SET with a parameter: %v", bound.Err)
	}

	query(t, owner, "CREATE TABLE new (a int); GRANT ALL ON new TO app_user; INSERT INTO new VALUES (1)")
	for _, step := range []struct{ change, ownerSees, userSees, userWrites string }{
		{"", "1", "1", ""},
		{"ALTER TABLE new ENABLE ROW LEVEL SECURITY", "1", "0", "42501"},
		{"ALTER TABLE new FORCE ROW LEVEL SECURITY", "0", "0", "42501"},
	} {
		query(t, owner, step.change)
		got := fmt.Sprint(one(t, owner, "SELECT count(*) FROM new"), one(t, user, "SELECT count(*) FROM new"), sqlstate(user, "BEGIN; INSERT INTO new VALUES (2)"))
		query(t, user, "ROLLBACK")
		if want := fmt.Sprint(step.ownerSees, step.userSees, step.userWrites); got != want {
			t.Errorf("%q: %s, want %s", step.change, got, want)
		}
		if got := sqlstate(user, "UPDATE new SET a = a; DELETE FROM new WHERE false"); got != "" {
			t.Errorf("%q: an update fails with %s", step.change, got)
		}
	}
}
