package integration

import (
	"strings"
	"testing"
)

// TestATableThatChangesIsToldLikeOnOneBackend holds that a client which knows the
// columns of a statement never gets others, wherever it is prepared again.
func TestATableThatChangesIsToldLikeOnOneBackend(t *testing.T) {
	pg := startPostgres(t)
	pg.exec(t, "app", "CREATE TABLE changing (a int); INSERT INTO changing VALUES (1); GRANT SELECT ON changing TO PUBLIC")
	p := inTransactions(t, pg, 1)
	told, untold := p.as(tenantA).login(t), p.as(tenantA).login(t)
	other := p.as(tenantA).login(t)
	for _, name := range []string{"s", ""} {
		told.do(parse(name, "SELECT * FROM changing"), describe('S', name), syncMessage)
		untold.do(parse(name, "SELECT * FROM changing"), syncMessage)
		other.do(parse(name, "SELECT 'foreign'"), syncMessage)
		if got := show(told.do(use(name), syncMessage)); !strings.Contains(got, "CommandComplete") && !strings.Contains(got, "SELECT 1") {
			t.Errorf("before: %s", got)
		}
		other.do(use(name), syncMessage)
		pg.exec(t, "app", "ALTER TABLE changing ADD COLUMN b"+name+" text")
		for range 2 {
			if _, code := lastError(told.do(use(name), syncMessage)); code != "0A000" {
				t.Errorf("%q, described before the table changed, answers %q", name, code)
			}
			other.do(use(name), syncMessage)
			if _, code := lastError(untold.do(bind("", name), describe('P', ""), execute("", 0), syncMessage)); code != "" {
				t.Errorf("%q, not described, answers %q", name, code)
			}
			other.do(use(name), syncMessage)
		}
		told.do(closeOf('S', name), parse(name, "SELECT * FROM changing"), describe('S', name), syncMessage)
		other.do(use(name), syncMessage)
		if _, code := lastError(told.do(use(name), syncMessage)); code != "" {
			t.Errorf("%q, described anew, answers %q", name, code)
		}
	}
}
