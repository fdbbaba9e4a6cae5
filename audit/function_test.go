package audit

import "testing"

// TestDynamicSQLIsToldFromOtherUsesOfTheWord holds what is taken for text that a
// function runs as SQL.
func TestDynamicSQLIsToldFromOtherUsesOfTheWord(t *testing.T) {
	for source, want := range map[string]bool{
		"BEGIN EXECUTE text; END":                              true,
		"BEGIN execute(text); END":                             true,
		"BEGIN EXECUTE'SELECT '||text; END":                    true,
		"BEGIN/* now */EXECUTE/* it */text; END":               true,
		"BEGIN <<here>>EXECUTE text; END":                      true,
		"BEGIN -- don't\nEXECUTE text; END":                    true,
		`BEGIN x := E'it\'s'; EXECUTE text; y := ''; END`:      true,
		"BEGIN RETURN QUERY EXECUTE text; END":                 true,
		"BEGIN FOR r IN EXECUTE text LOOP NULL; END LOOP; END": true,
		"BEGIN OPEN c FOR EXECUTE text; END":                   true,
		"BEGIN GRANT EXECUTE ON FUNCTION f() TO r; END":        false,
		"CREATE TRIGGER t EXECUTE FUNCTION f()":                false,
		"BEGIN -- EXECUTE text\n NULL; END":                    false,
		"BEGIN RAISE 'EXECUTE text'; END":                      false,
		"BEGIN SELECT executed FROM execute_log; END":          false,
	} {
		if f := (function{Language: "plpgsql", Source: source}); f.dynamic() != want {
			t.Errorf("%q runs text as SQL: %v", source, !want)
		}
	}
	if f := (function{Language: "sql", Source: "EXECUTE text"}); f.dynamic() {
		t.Error("SQL has no EXECUTE of a text")
	}
}
