package audit

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// change updates rows of the other tenant: to steal them where the tenant column
// may be written.
func (t *trial) change(me, other string) error {
	if !t.c.may(t.r, "UPDATE") {
		return nil
	}
	if !t.mayColumn("UPDATE", quoteIdent(t.r.Column)) {
		column := t.writable("UPDATE")
		if column == "" {
			return nil
		}
		_, n, err := t.attempt(fmt.Sprintf("update %s set %s = default where %s", t.r.Name, column, t.of(1)), other)
		return t.judge("change rows of another", n, err)
	}
	mine := fmt.Sprintf("update %s set %s = %s::%s", t.r.Name, quoteIdent(t.r.Column), quoteLiteral(me), t.r.ColumnType)
	return t.touch("change", mine, other)
}

// remove deletes rows of the other tenant.
func (t *trial) remove(_, other string) error {
	if !t.c.may(t.r, "DELETE") {
		return nil
	}
	return t.touch("delete", "delete from "+t.r.Name, other)
}

// touch runs a statement on the rows of the other tenant: by condition, and on
// all rows at once where that is not too many. What the second did is looked at
// by the role that sees everything. Neither can fail on rows of one's own while
// triggers and foreign keys rest.
func (t *trial) touch(what, statement, other string) error {
	_, n, err := t.attempt(statement+" where "+t.of(1), other)
	if err := t.judge(what+" rows of another", n, err); err != nil {
		return err
	}
	if !t.blanket || t.proof.Result == leaked {
		return nil
	}
	before, err := t.versions(other)
	if err != nil {
		return err
	}
	if err := t.run("savepoint attempt"); err != nil {
		return err
	}
	if _, _, err := t.query(statement); err != nil {
		if t.quiet || !constrained(err) {
			err = t.judge(what+" rows of another", 0, err)
		} else {
			err = nil // the application's triggers and foreign keys stop what is done to its own rows
		}
		return errors.Join(err, t.run("rollback to savepoint attempt"))
	}
	after, err := t.versions(other)
	if err != nil {
		return err
	}
	if before != after {
		t.leak("a tenant can %s rows of another that it does not see", what)
	}
	return t.run("rollback to savepoint attempt")
}

// versions tells the row versions of a tenant apart from others, as the role
// that sees everything.
func (t *trial) versions(tenant string) (string, error) {
	if err := t.run("reset role"); err != nil {
		return "", err
	}
	rows, _, err := t.query(fmt.Sprintf("select count(*)::text || ' ' || coalesce(sum(hashtext(tableoid::text || ctid::text || xmin::text)), 0)::text from %s where %s",
		t.r.Name, t.of(1)), tenant)
	if err != nil {
		return "", err
	}
	return rows[0][0], t.run("set local role " + t.c.App.Name)
}

// judge notes a leak when a statement got past the policies: it changed rows, or
// only a constraint stopped it, and policies are asked before those ("CREATE
// POLICY" in the PostgreSQL documentation). Any other failure, such as a lock that
// others hold, shows nothing either way and is the error.
func (t *trial) judge(what string, n int64, err error) error {
	if n > 0 || constrained(err) {
		t.leak("a tenant can %s (%s)", what, outcome(n, err))
		return nil
	}
	if err != nil && !denied(err) {
		return fmt.Errorf("try to %s: %w", what, err)
	}
	return nil
}

// constrained tells whether a statement violates an integrity constraint:
// SQLSTATE class 23.
func constrained(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && strings.HasPrefix(refused.Code, "23")
}

// outcome words what a statement did.
func outcome(n int64, err error) string {
	if err != nil {
		return "stopped by a constraint only: " + cause(err)
	}
	return plural(int(n), "row")
}

// writable is a column that the app role may write, quoted; not the tenant's.
func (t *trial) writable(privilege string) string {
	for _, name := range t.columns {
		if name != quoteIdent(t.r.Column) && t.mayColumn(privilege, name) {
			return name
		}
	}
	return ""
}

// mayColumn tells whether the app role has the privilege on a quoted column.
func (t *trial) mayColumn(privilege, name string) bool {
	if t.c.App.Super || t.c.owns(t.r) {
		return true
	}
	for _, g := range t.r.grantsOf(privilege) {
		if g.column == "" || quoteIdent(g.column) == name {
			return true
		}
	}
	return false
}

// insertFor inserts a row of the other tenant. No row and no error: a trigger or
// rule swallowed it.
func (t *trial) insertFor(_, other string) error {
	if !t.c.may(t.r, "INSERT") || !t.mayColumn("INSERT", quoteIdent(t.r.Column)) {
		return nil
	}
	var names []string
	for _, name := range t.columns {
		if t.mayColumn("INSERT", name) {
			names = append(names, name)
		}
	}
	list := strings.Join(names, ", ")
	_, n, err := t.attempt(fmt.Sprintf("insert into %s (%s) overriding system value select %[2]s from jsonb_populate_record(null::%[1]s, $1::jsonb)",
		t.r.Name, list), t.sample[other])
	return t.judge("insert rows for another", n, err)
}

// moveTo gives an own row to the other tenant: by condition, for which the new
// row has to satisfy the policies for SELECT, too, and where there are not too
// many rows by a statement that reads nothing, for which it has not.
func (t *trial) moveTo(me, other string) error {
	if !t.c.may(t.r, "UPDATE") || !t.mayColumn("UPDATE", quoteIdent(t.r.Column)) {
		return nil
	}
	give := fmt.Sprintf("update %s set %s = $1::%s", t.r.Name, quoteIdent(t.r.Column), t.r.ColumnType)
	_, n, err := t.attempt(give+" where "+t.of(2), other, me)
	if n == 0 && t.blanket && (err == nil || denied(err)) {
		_, n, err = t.attempt(give, other)
	}
	return t.judge("move rows to another", n, err)
}
