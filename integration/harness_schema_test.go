package integration

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
)

// tenant is one of the two customers of the sample data.
type tenant struct {
	id     string // the tenant_id of its rows and the claim of its tokens
	marker string // stands in every text of its rows, and in no other row
	role   string // the role that is this tenant in a direct connection
}

// The two tenants. Neither id is a prefix of the other.
var (
	tenantA = tenant{"11111111-1111-4111-8111-aaaaaaaaaaaa", "alpha", "direct_a"}
	tenantB = tenant{"22222222-2222-4222-8222-bbbbbbbbbbbb", "bravo", "direct_b"}
)

// tenants lists both.
var tenants = []tenant{tenantA, tenantB}

// other returns the tenant whose rows must never be seen.
func (x tenant) other() tenant {
	if x == tenantA {
		return tenantB
	}
	return tenantA
}

// articleSQL is the schema with its policies as they should be written.
//
//go:embed testdata/article.sql
var articleSQL string

// literalSQL is the schema with the policies exactly as the article prints them.
//
//go:embed testdata/literal.sql
var literalSQL string

// dataSQL fills either schema for one tenant: %[1]s is its id, %[2]s its marker.
//
//go:embed testdata/data.sql
var dataSQL string

// fill makes the roles and the two databases: `app` and `literal`.
func (p *postgres) fill(t testing.TB) {
	t.Helper()
	quoted := strings.ReplaceAll(appPassword, "'", "''")
	p.exec(t, "postgres", fmt.Sprintf(`
		CREATE ROLE app_owner LOGIN PASSWORD '%[1]s';
		CREATE ROLE app_role NOLOGIN;
		CREATE ROLE app_user LOGIN PASSWORD '%[1]s' IN ROLE app_role;
		CREATE ROLE direct_login NOLOGIN`, quoted))
	for _, x := range []tenant{tenantA, tenantB, {tenantA.id, "", "direct_admin"}} {
		p.exec(t, "postgres", fmt.Sprintf(`
			CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s' IN ROLE app_role, direct_login;
			ALTER ROLE %[1]s SET app.current_tenant_id = '%[3]s';
			ALTER ROLE %[1]s SET app.is_admin = '%[4]t';
			ALTER ROLE %[1]s SET app.user_id = 'somebody'`, x.role, quoted, x.id, x.role == "direct_admin"))
	}
	for _, database := range []string{"app", "literal"} {
		p.exec(t, "postgres", "CREATE DATABASE "+database+" OWNER app_owner")
		p.exec(t, database, "GRANT ALL ON SCHEMA public TO app_owner")
		schema := articleSQL
		if database == "literal" {
			schema = literalSQL
		}
		p.exec(t, database, "SET ROLE app_owner;\n"+schema)
		for _, x := range tenants {
			p.exec(t, database, fmt.Sprintf(dataSQL, x.id, x.marker))
		}
	}
}
