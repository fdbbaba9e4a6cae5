package audit

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// blanketRows is up to how many rows a table is updated and deleted as a whole:
// that asks the policies for UPDATE and DELETE alone, where a statement with a
// condition asks those for SELECT as well.
const blanketRows = 20000

// trial is the proof of one table.
type trial struct {
	*prover
	r       *relation
	columns []string // that can be written, the tenant column among them
	sample  map[string]string
	blanket bool
	proof   Proof
}

// newTrial begins the proof of one table.
func (p *prover) newTrial(r *relation) *trial {
	return &trial{prover: p, r: r, sample: map[string]string{}, proof: Proof{Table: r.Name, Result: proved, Detail: []string{}, Rows: "of two tenants"}}
}

// table runs the proof of one table; bare says that its rows were seen where no
// context was ever set.
func (p *prover) table(r *relation, given [2]string, bare bool) Proof {
	t := p.newTrial(r)
	if bare {
		t.leak(outsideLeak)
	}
	tenants, err := t.prepare(given)
	if err == nil {
		err = t.cross(tenants)
	}
	if err != nil {
		if t.proof.Result == proved {
			t.proof.Result = unproved
		}
		t.proof.Detail = append(t.proof.Detail, cause(err))
	}
	return t.proof
}

// outsideLeak is the leak that takes no tenant at all.
const outsideLeak = "without a context the rows of every tenant are there"

// bare looks at the table where no context was ever set.
func (p *prover) bare(r *relation, given [2]string) Proof {
	t := p.newTrial(r)
	if tenants, err := t.prepare(given); err == nil && t.run("set local role "+p.c.App.Name) == nil {
		t.look(tenants)
	}
	return t.proof
}

// cause words an error without the position and the statement.
func cause(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return strings.TrimSuffix(err.Error(), refused.Error()) + refused.Message + " (" + refused.Code + ")"
	}
	return err.Error()
}

// prepare finds, or makes, rows of two tenants.
func (t *trial) prepare(given [2]string) ([2]string, error) {
	var tenants [2]string
	rows, _, err := t.query(`select quote_ident(attname), attgenerated <> '' from pg_attribute
		where attrelid = $1::oid and attnum > 0 and not attisdropped order by attnum`, fmt.Sprint(t.r.OID))
	if err != nil {
		return tenants, err
	}
	for _, row := range rows {
		if row[1] == "f" {
			t.columns = append(t.columns, row[0])
		}
	}
	column := quoteIdent(t.r.Column)
	ends := fmt.Sprintf("(select %[1]s::text from %[2]s where %[1]s is not null order by %[1]s %[3]s limit 1)", column, t.r.Name, "%s")
	rows, _, err = t.query("select " + fmt.Sprintf(ends, "asc") + ", " + fmt.Sprintf(ends, "desc") +
		", (select count(*) from (select from " + t.r.Name + " limit " + fmt.Sprint(blanketRows+1) + ") x)")
	if err != nil {
		return tenants, fmt.Errorf("look for rows of two tenants: %w", err)
	}
	tenants = [2]string{rows[0][0], rows[0][1]}
	count, err := strconv.Atoi(rows[0][2])
	if err != nil {
		return tenants, fmt.Errorf("look for rows of two tenants: %w", err)
	}
	t.blanket = count <= blanketRows
	if tenants[0] == tenants[1] {
		if tenants, err = t.makeRows(tenants[0], given); err != nil {
			return tenants, err
		}
		t.proof.Rows = "made for the proof"
	}
	for _, x := range tenants {
		rows, _, err := t.query(fmt.Sprintf("select to_jsonb(x)::text from %s x where %s = $1::%s limit 1", t.r.Name, column, t.r.ColumnType), x)
		if err != nil || len(rows) == 0 {
			return tenants, errors.Join(errors.New("the row of a tenant is not there"), err)
		}
		t.sample[x] = rows[0][0]
	}
	if !t.blanket {
		t.proof.Detail = append(t.proof.Detail, fmt.Sprintf("more than %d rows: updated and deleted by condition only", blanketRows))
	}
	return tenants, nil
}

// makeRows inserts rows of two tenants into a table that has not got them: one
// is copied when there is one, else it is built from the types of the columns.
func (t *trial) makeRows(have string, given [2]string) ([2]string, error) {
	if !t.quiet {
		return given, errors.New("the table has no rows of two tenants, and only a superuser can make some without their parents")
	}
	two := sampleTenants(t.r.ColumnType)
	if given[0] != "" && given[1] != "" {
		two = given
	}
	for i, x := range two {
		if x == have {
			continue
		}
		if i == 0 && have != "" {
			two[0] = have
			continue
		}
		if err := t.run("savepoint made"); err != nil {
			return two, err
		}
		if err := t.makeRow(x, i); err != nil {
			return two, fmt.Errorf("the table has no rows of two tenants, and none could be made: %w", err)
		}
	}
	if two[0] == two[1] {
		return two, errors.New("the two tenants are the same")
	}
	return two, nil
}

// sampleTenants are two tenants of a type.
func sampleTenants(columnType string) [2]string {
	switch columnType {
	case "uuid":
		return [2]string{"00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"}
	case "bigint", "integer", "smallint", "numeric":
		return [2]string{"32001", "32002"}
	}
	return [2]string{"tenantgate-a", "tenantgate-b"}
}

// makeRow inserts one row of a tenant, with a value for every column that needs
// one. A constraint may still refuse it.
func (t *trial) makeRow(tenant string, n int) error {
	rows, _, err := t.query(`select quote_ident(a.attname), format_type(coalesce(nullif(y.typbasetype, 0), y.oid), null), y.typcategory::text,
			(select quote_literal(e.enumlabel) from pg_enum e where e.enumtypid = y.oid order by e.enumsortorder limit 1)
		from pg_attribute a join pg_type y on y.oid = a.atttypid
		where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped and a.attnotnull and not a.atthasdef and a.attidentity = ''
		and a.attname <> $2`, fmt.Sprint(t.r.OID), t.r.Column)
	if err != nil {
		return err
	}
	names, values := []string{quoteIdent(t.r.Column)}, []string{"$1::" + t.r.ColumnType}
	for _, row := range rows {
		names, values = append(names, row[0]), append(values, sampleValue(row[1], row[2], row[3], n))
	}
	_, _, err = t.query(fmt.Sprintf("insert into %s (%s) values (%s)", t.r.Name, strings.Join(names, ", "), strings.Join(values, ", ")), tenant)
	return err
}

// sampleValue is an expression for a value of a type: by name, else by category
// ("pg_type.typcategory" in the PostgreSQL documentation).
func sampleValue(name, category, label string, n int) string {
	switch {
	case name == "uuid":
		return "gen_random_uuid()"
	case name == "jsonb" || name == "json":
		return "'{}'::" + name
	case name == "bytea":
		return `'\x00'::bytea`
	case label != "":
		return label
	}
	switch category {
	case "N":
		return fmt.Sprintf("%d::%s", 32001+n, name)
	case "D":
		return "now()::" + name
	case "B":
		return "false"
	case "A":
		return "'{}'::" + name
	case "I":
		return "'127.0.0.1'::" + name
	case "T":
		return "'1 hour'::" + name
	case "R":
		return "'empty'::" + name
	}
	return fmt.Sprintf("'%c'::%s", 'a'+n, name)
}

// cross lets each tenant try the rows of the other.
func (t *trial) cross(tenants [2]string) error {
	for i, me := range tenants {
		other := tenants[1-i]
		if err := t.run("reset role; savepoint side"); err != nil {
			return err
		}
		if err := t.enter(me); err != nil {
			return err
		}
		if err := t.see(me, other); err != nil {
			return err
		}
		for _, try := range []func(me, other string) error{t.change, t.remove, t.insertFor, t.moveTo} {
			if err := try(me, other); err != nil {
				return err
			}
		}
		if err := t.run("rollback to savepoint side"); err != nil {
			return err
		}
	}
	return t.outside(tenants)
}

// outside looks at the table behind a reset: whoever has no context is no tenant.
func (t *trial) outside(tenants [2]string) error {
	if err := t.run("reset role"); err != nil {
		return err
	}
	if err := t.leave(); err != nil {
		return err
	}
	t.look(tenants)
	return nil
}

// look notes when rows of either tenant are there for a session without context.
// An error is no row.
func (t *trial) look(tenants [2]string) {
	if !t.c.may(t.r, "SELECT") {
		return
	}
	rows, _, err := t.attempt("select exists (select from "+t.r.Name+" where "+t.of(1)+" or "+t.of(2)+")", tenants[0], tenants[1])
	if err == nil && rows[0][0] == "t" {
		t.leak(outsideLeak)
	}
}

// leak notes what one tenant could do to the other.
func (t *trial) leak(format string, args ...any) {
	t.proof.Result = leaked
	if text := fmt.Sprintf(format, args...); !slices.Contains(t.proof.Detail, text) {
		t.proof.Detail = append(t.proof.Detail, text)
	}
}

// of is the condition that rows belong to the tenant of parameter n.
func (t *trial) of(n int) string {
	return fmt.Sprintf("%s = $%d::%s", quoteIdent(t.r.Column), n, t.r.ColumnType)
}

// see looks at the rows of both tenants. A tenant that does not see its own
// proves nothing by not seeing others'.
func (t *trial) see(me, other string) error {
	if !t.c.may(t.r, "SELECT") {
		return nil
	}
	rows, _, err := t.attempt("select exists (select from "+t.r.Name+" where "+t.of(1)+"), exists (select from "+t.r.Name+" where "+t.of(2)+")", me, other)
	switch {
	case denied(err):
		return nil
	case err != nil:
		return fmt.Errorf("read as a tenant: %w", err)
	case rows[0][1] == "t":
		t.leak("a tenant sees rows of another")
	case rows[0][0] != "t":
		return errors.New("a tenant does not see its own rows, so that not to see others' shows nothing")
	}
	return nil
}

// attempt runs one statement and undoes it, whatever becomes of it.
func (t *trial) attempt(sql string, args ...string) ([][]string, int64, error) {
	if err := t.run("savepoint attempt"); err != nil {
		return nil, 0, err
	}
	rows, n, err := t.query(sql, args...)
	return rows, n, errors.Join(err, t.run("rollback to savepoint attempt"))
}

// denied tells whether an attempt was refused for want of a privilege or by a
// policy: both are 42501.
func denied(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "42501"
}
