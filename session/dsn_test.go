package session

import (
	"testing"
)

// TestADSNSetsNothingInTheSession: what a backend is started with is what
// DISCARD ALL returns to, for every tenant.
func TestADSNSetsNothingInTheSession(t *testing.T) {
	t.Setenv("PGOPTIONS", "-c row_security=off")
	t.Setenv("PGAPPNAME", "somebody")
	t.Setenv("PGTZ", "UTC")
	for _, dsn := range []string{
		"host=127.0.0.1 dbname=app user=app_user",
		"host=127.0.0.1 dbname=app user=app_user application_name=x search_path=evil",
		"postgres://app_user@127.0.0.1/app?options=-c%20app.current_tenant_id%3DB&statement_timeout=1",
	} {
		pc, err := ParseDSN(DialConfig{DSN: dsn})
		if err != nil {
			t.Fatal(err)
		}
		if len(pc.RuntimeParams) != 1 || pc.RuntimeParams["standard_conforming_strings"] != "on" {
			t.Errorf("%s: run-time parameters %v", dsn, pc.RuntimeParams)
		}
	}
}

// TestABackendIsNeverReachedInClearTextWhereTLSIsTried: whoever stands in
// between could make the attempt with TLS fail, or simply answer the one without.
func TestABackendIsNeverReachedInClearTextWhereTLSIsTried(t *testing.T) {
	for _, c := range []struct {
		dsn      string
		attempts int  // in all
		clear    bool // the first is in clear text
	}{
		{"host=db.example dbname=app user=u sslmode=prefer", 1, false},
		{"host=db.example dbname=app user=u sslmode=allow", 1, false},
		{"host=db.example dbname=app user=u", 1, false},
		{"host=db.example dbname=app user=u sslmode=disable", 1, true},
		{"host=a.example,b.example dbname=app user=u sslmode=prefer", 2, false},
		{"host=a.example,b.example dbname=app user=u sslmode=require", 2, false},
		{"host=127.0.0.1 dbname=app user=u sslmode=prefer", 2, false},
		{"host=127.0.0.1 dbname=app user=u sslmode=allow", 2, true},
	} {
		pc, err := ParseDSN(DialConfig{DSN: c.dsn})
		if err != nil {
			t.Fatal(err)
		}
		if got := 1 + len(pc.Fallbacks); got != c.attempts || (pc.TLSConfig == nil) != c.clear {
			t.Errorf("%s: %d attempts, the first in clear text: %v", c.dsn, got, pc.TLSConfig == nil)
		}
		for _, f := range pc.Fallbacks {
			if f.TLSConfig == nil && !local(f.Host) {
				t.Errorf("%s: falls back to clear text at %s", c.dsn, f.Host)
			}
		}
	}
}
