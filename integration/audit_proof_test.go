package integration

import (
	"strings"
	"testing"
)

// TestTheProofFindsEveryLeak makes one table for each way over the border, and
// one that is isolated; the proof tells them apart and leaves nothing behind.
func TestTheProofFindsEveryLeak(t *testing.T) {
	p := newAuditPlace(t, sharedPostgres(t), "audit_proof")
	const mine = "tenant_id = (SELECT nullif(current_setting('app.current_tenant_id', true), '')::uuid)"
	p.run(`CREATE FUNCTION pg_temp.make(t text, policies text) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN
		EXECUTE format('CREATE TABLE %1$s (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id uuid NOT NULL, note text NOT NULL)', t);
		EXECUTE format('INSERT INTO %1$s (tenant_id, note) VALUES (''{A}'', ''a''), (''{B}'', ''b'')', t);
		EXECUTE format('ALTER TABLE %1$s ENABLE ROW LEVEL SECURITY; GRANT SELECT, INSERT, UPDATE, DELETE ON %1$s TO {app}', t);
		EXECUTE replace(policies, 'ON t', 'ON ' || t);
	END $f$`)
	for table, policies := range map[string]string{
		"sees":      "CREATE POLICY a ON t USING (" + mine + "); CREATE POLICY b ON t FOR SELECT USING (true)",
		"changes":   "CREATE POLICY a ON t USING (" + mine + "); CREATE POLICY b ON t FOR UPDATE USING (true) WITH CHECK (" + mine + ")",
		"deletes":   "CREATE POLICY a ON t USING (" + mine + "); CREATE POLICY b ON t FOR DELETE USING (true)",
		"inserts":   "CREATE POLICY a ON t USING (" + mine + "); CREATE POLICY b ON t FOR INSERT WITH CHECK (true)",
		"moves":     "CREATE POLICY a ON t USING (" + mine + "); CREATE POLICY b ON t FOR UPDATE USING (" + mine + ") WITH CHECK (true)",
		"by_nobody": "CREATE POLICY a ON t USING (tenant_id = coalesce(nullif(current_setting('app.current_tenant_id', true), '')::uuid, tenant_id))",
		"blind":     "CREATE POLICY a ON t FOR INSERT WITH CHECK (" + mine + ")",
		"sound":     "CREATE POLICY a ON t USING (" + mine + ")",
		"busy":      "CREATE POLICY a ON t USING (" + mine + ")",
		"many":      "CREATE POLICY a ON t USING (" + mine + "); CREATE POLICY b ON t FOR DELETE USING (true)",
	} {
		p.run("SELECT pg_temp.make('" + table + "', '" + strings.ReplaceAll(policies, "'", "''") + "')")
	}
	p.run("CREATE TABLE empty (id uuid PRIMARY KEY, tenant_id uuid NOT NULL, kind text NOT NULL, at date NOT NULL, many int[] NOT NULL);" +
		"SELECT pg_temp.isolate('empty');" +
		"CREATE TABLE picky (tenant_id uuid NOT NULL, kind text NOT NULL CHECK (kind = 'just this')); SELECT pg_temp.isolate('picky')")
	p.run("INSERT INTO many (tenant_id, note) SELECT '{A}', 'a' FROM generate_series(1, 12000)")
	other := p.connect("postgres", superPassword)
	query(t, other, "BEGIN; SELECT FROM busy FOR UPDATE")
	report := p.audit("-prove")
	query(t, other, "ROLLBACK")
	want := map[string]string{
		"sees": "sees rows of another", "changes": "can change rows of another that it does not see", "deletes": "can delete rows of another that it does not see",
		"inserts": "can insert rows for another", "moves": "can move rows to another", "by_nobody": "without a context", "blind": "own rows", "sound": "",
		"empty": "", "picky": "none could be made", "projects": "",
		"busy": "lock timeout", "many": "can delete rows of another that it does not see",
	}
	results := map[string]string{"blind": "not shown", "picky": "not shown", "busy": "not shown", "sound": "isolated", "empty": "isolated", "projects": "isolated"}
	seen := 0
	for _, proof := range report.Proof {
		name := strings.TrimPrefix(proof.Table, "public.")
		detail, listed := want[name]
		if !listed {
			continue
		}
		seen++
		result := results[name]
		if result == "" {
			result = "leaks"
		}
		if text := strings.Join(proof.Detail, "; "); proof.Result != result || !strings.Contains(text, detail) || result == "isolated" && text != "" {
			t.Errorf("%s: %s: %s", name, proof.Result, text)
		}
	}
	if seen != len(want) {
		t.Errorf("%d of %d tables were tried", seen, len(want))
	}
	if rows := p.pg.exec(t, p.database, "SELECT (SELECT count(*) FROM empty), (SELECT count(*) FROM sees), (SELECT string_agg(note, '' ORDER BY id) FROM changes)"); strings.Join(rows[0], " ") != "0 2 ab" {
		t.Errorf("the proof left something behind: %v", rows)
	}
	prove := func(args ...string) (string, int) {
		stdout, _, code := auditCommand(t, append([]string{"-dsn", p.pg.superDSN(p.database), "-app-role", p.app, "-prove", "-ignore", "*:*"}, args...)...)
		return stdout, code
	}
	if stdout, code := prove(); code != 1 || !strings.Contains(stdout, "leaks public.sees") {
		t.Errorf("a leak ends with %d:\n%s", code, stdout)
	}
	p.run("RESET ROLE; DROP TABLE sees, changes, deletes, inserts, moves, by_nobody, many, blind")
	if stdout, code := prove(); code != 1 || !strings.Contains(stdout, "not shown public.picky") {
		t.Errorf("a table of which nothing is shown ends with %d:\n%s", code, stdout)
	}
	if stdout, code := prove("-ignore", "proof:public.pick*"); code != 0 || !strings.Contains(stdout, "ignored: not shown public.picky") {
		t.Errorf("with that ignored it ends with %d:\n%s", code, stdout)
	}
	if stdout, code := prove("-ignore", "proof:public.sound"); code != 1 || !strings.Contains(stdout, "stale: proof:public.sound") {
		t.Errorf("with something else ignored it ends with %d:\n%s", code, stdout)
	}
	p.run("RESET ROLE; REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {app}")
	if stdout, code := prove(); code != 1 || !strings.Contains(stdout, "the proof has tried nothing") {
		t.Errorf("a proof of no table ends with %d:\n%s", code, stdout)
	}
}

// TestAnAuditThatExaminesNothingFails looks for a column that no table has: the
// rules that need none still run, and every form of the report has the error.
func TestAnAuditThatExaminesNothingFails(t *testing.T) {
	p := newAuditPlace(t, sharedPostgres(t), "audit_nothing")
	p.run("RESET ROLE; ALTER ROLE {app} CREATEDB")
	run := func(args ...string) (string, int) {
		stdout, _, code := auditCommand(t, append([]string{"-dsn", p.pg.superDSN(p.database), "-app-role", p.app}, args...)...)
		return stdout, code
	}
	for _, format := range []string{"text", "json", "sarif"} {
		stdout, code := run("-format", format, "-tenant-column", "org")
		if code != 1 || !strings.Contains(stdout, "TG048") || !strings.Contains(stdout, "no table has a column org, and policies compare") || !strings.Contains(stdout, "it may make databases") && !strings.Contains(stdout, "CREATEDB") {
			t.Errorf("%s: it ends with %d:\n%s", format, code, stdout)
		}
	}
	if stdout, code := run("-tenant-column", "org", "-ignore", "TG048:"+p.database); code != 0 {
		t.Errorf("when that is accepted it ends with %d:\n%s", code, stdout)
	}
	if stdout, code := run(); code != 0 || strings.Contains(stdout, "TG048") || strings.Contains(stdout, "policies compare") {
		t.Errorf("with the right column it ends with %d:\n%s", code, stdout)
	}
	if stdout, _ := run("-tenant-setting", "my.tenant"); !strings.Contains(stdout, "with app.current_tenant_id and not with my.tenant") {
		t.Errorf("another setting is not said: %s", stdout)
	}
}
