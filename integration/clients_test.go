//go:build clients

package integration

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// mapper is a program in clients/orm that does an application's ordinary work.
type mapper struct {
	name     string
	command  []string
	migrates bool
}

// mappers are those that take long to install, so that only `make clients` runs them.
var mappers = []mapper{
	{"sqlalchemy", []string{"/usr/bin/python3", "sqlalchemy_app.py"}, true},
	{"django", []string{"/usr/bin/python3", "django_app.py"}, true},
	{"activerecord", []string{"ruby", "rails.rb"}, true},
	{"node-postgres", []string{"node", "mappers.js", "pg"}, false},
	{"postgres.js", []string{"node", "mappers.js", "postgresjs"}, false},
	{"knex", []string{"node", "mappers.js", "knex"}, true},
	{"sequelize", []string{"node", "mappers.js", "sequelize"}, true},
	{"typeorm", []string{"node", "mappers.js", "typeorm"}, true},
	{"drizzle", []string{"node", "mappers.js", "drizzle"}, false},
	{"kysely", []string{"node", "mappers.js", "kysely"}, false},
	{"prisma", []string{"node", "mappers.js", "prisma"}, false},
	{"hibernate", []string{"java", "-cp", hibernatePath, "Hibernate.java"}, false},
}

// hibernatePath is where Debian keeps what Hibernate needs.
var hibernatePath = func() string {
	var jars []string
	for _, name := range strings.Fields(`postgresql hibernate3 hibernate-core hibernate-commons-annotations geronimo-jpa_2.0_spec
		geronimo-jta-1.2-spec slf4j-api slf4j-nop dom4j antlr commons-collections3`) {
		jars = append(jars, "/usr/share/java/"+name+".jar")
	}
	return strings.Join(jars, ":")
}()

// TestObjectMappersWorkWithTheGuard: nothing that they send is refused with the guard's defaults, but the
// other tenant that each of them tries to be.
func TestObjectMappersWorkWithTheGuard(t *testing.T) {
	pg := sharedPostgres(t)
	playMappers(t, startProxy(t, pg, migrating("app")))
}

// TestObjectMappersWorkWithTheSeal: the same in a database that is sealed whole, where they may use
// functions and DO of their own as well.
func TestObjectMappersWorkWithTheSeal(t *testing.T) {
	pg := sharedPostgres(t)
	database := newSealable(t, pg)
	p := newProxy(t, pg, sealWith("k1"), with("databases", map[string]any{}), func(p *proxy) { p.database("app", database, "session", 8) }, migrating(database))
	p.seal(t, database)
	pg.exec(t, database, "SELECT tenantgate.protect('tenants', 'id')")
	p.start(t)
	t.Cleanup(func() { p.finish(t) })
	playMappers(t, p, "SEALED=1")
}

// migrating adds an entry of the owner of that database for those who may migrate.
func migrating(database string) option {
	return func(p *proxy) {
		p.set("databases/migrate", map[string]any{
			"dsn":           strings.Replace(p.pg.backendDSN(database), "user=app_user", "user=app_owner", 1),
			"password_file": filepath.Join(p.dir, "app_password"),
			"require":       map[string]any{"role": "migrator"}, "allow_unsafe_role": true,
		})
	}
}

// moreTakers are drivers that are installed with the object mappers.
var moreTakers = []taker{
	{"psycopg", program("python", "/usr/bin/python3", "psycopg_turns.py")},
	{"node-postgres", program("orm", "node", "turns.js", "pg")},
	{"postgres.js", program("orm", "node", "turns.js", "postgresjs")},
	{"prisma", program("orm", "node", "turns.js", "prisma")},
	{"activerecord", program("orm", "ruby", "rails_turns.rb")},
}

// TestMoreDriversTakeTurnsOnFewBackends is TestDriversTakeTurnsOnFewBackends with them.
func TestMoreDriversTakeTurnsOnFewBackends(t *testing.T) {
	takeTurns(t, moreTakers)
}

// TestObjectMappersTakeTurnsOnFewBackends holds that the ordinary work of an application
// needs no other settings in transaction mode: three programs of each tenant at once,
// on two backends.
func TestObjectMappersTakeTurnsOnFewBackends(t *testing.T) {
	pg := sharedPostgres(t)
	for _, m := range mappers {
		t.Run(m.name, func(t *testing.T) {
			p := inTransactions(t, pg, turnsBackends)
			run := program("orm", m.command...)
			var all sync.WaitGroup
			for n := range 6 {
				all.Go(func() { run(t, p.as(tenants[n%2])) })
			}
			all.Wait()
			// Django's iterator() reads through a cursor WITH HOLD.
			m := p.metrics(t)
			if pins := m.sum("client_pins_total") - m.sum("client_pins_total", `kind="cursor_with_hold"`); pins > 0 {
				t.Errorf("%v clients kept a backend: %v", pins, m.of("client_pins_total"))
			}
		})
	}
}

// playMappers runs every program as both tenants, and its migrations.
func playMappers(t *testing.T, p *proxy, env ...string) {
	for _, m := range mappers {
		run := program("orm", m.command...)
		t.Run(m.name, func(t *testing.T) {
			for _, x := range tenants {
				run(t, p.as(x), env...)
			}
		})
		if m.migrates {
			t.Run(m.name+" migrations", func(t *testing.T) {
				run(t, p.as(tenantA, claims{"role": "migrator"}).in("migrate"), append(env, "MIGRATE=1")...)
			})
		}
	}
}
