package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Proof is what acting as two tenants has shown of one table.
type Proof struct {
	Table  string   `json:"table"`
	Result string   `json:"result"` // isolated, leaks, or not shown
	Detail []string `json:"detail"` // what leaked, why it could not be shown, or what was left out
	Rows   string   `json:"rows"`   // whose rows it was shown with: theirs, or made for the proof

	Ignored bool   `json:"ignored,omitempty"` // the operator has accepted it
	Reason  string `json:"ignored_because,omitempty"`
}

// The results of a proof.
const (
	proved   = "isolated"
	leaked   = "leaks"
	unproved = "not shown"
)

// ErrCannotProve is wrapped when the role of the connection cannot act as the
// tenants would.
var ErrCannotProve = errors.New("cannot act as the application's role")

// prover acts as tenants on one connection.
type prover struct {
	ctx  context.Context
	conn *pgconn.PgConn
	c    *Catalog
	// quiet: triggers, rules and foreign keys rest, so that nothing of what is
	// tried has an effect outside of the transaction.
	quiet bool
}

// Prove acts as two tenants on every table with a tenant column that the app
// role reaches, in transactions that are rolled back, one for each table so that
// locks are held briefly: neither must see, change, remove, insert for, or move
// rows to the other. The connection should be a superuser's, whom row security
// does not bind: what is there has to be known first. No context may have been
// set on it. tenants are two to act as where a table does not hold rows of two;
// they may be empty.
func Prove(ctx context.Context, conn *pgconn.PgConn, c *Catalog, tenants [2]string) ([]Proof, error) {
	p := &prover{ctx: ctx, conn: conn, c: c, quiet: c.Server.Super}
	var proofs []Proof
	// Without a context first: once a setting was set in a session it is never
	// unset there again, only empty.
	bare := map[*relation]bool{}
	for _, r := range p.tables() {
		open, err := p.apart(func() Proof { return p.bare(r, tenants) })
		if err != nil {
			return nil, err
		}
		bare[r] = open.Result == leaked
	}
	for _, r := range p.tables() {
		c.Options.Progress("proof of "+r.Name, len(proofs))
		proof, err := p.apart(func() Proof { return p.table(r, tenants, bare[r]) })
		if err != nil {
			return nil, err
		}
		proofs = append(proofs, proof)
	}
	return proofs, nil
}

// tables lists what is tried: every table with a tenant column that the app role
// reaches, but for partitions, which are tried through their parents.
func (p *prover) tables() []*relation {
	return slices.DeleteFunc(slices.Clone(p.c.tenantTables()), func(r *relation) bool {
		return !p.c.reached(r) || len(r.parents) > 0 && r.covered()
	})
}

// apart runs one trial in a transaction of its own and rolls it back.
func (p *prover) apart(trial func() Proof) (Proof, error) {
	if err := p.begin(); err != nil {
		return Proof{}, err
	}
	proof := trial()
	return proof, p.run("rollback")
}

// begin opens the transaction and makes sure that the app role can be acted as.
func (p *prover) begin() error {
	sql := "begin; set local lock_timeout = '2s'; set local statement_timeout = '30s'; set local search_path = pg_catalog; "
	if p.quiet {
		sql += "set local session_replication_role = replica; "
	}
	if err := p.run(sql + "set local role " + p.c.App.Name + "; reset role"); err != nil {
		return errors.Join(fmt.Errorf("%w %s: %w", ErrCannotProve, p.c.App.Name, err), p.run("rollback"))
	}
	return nil
}

// run runs statements without rows.
func (p *prover) run(sql string) error {
	_, err := p.conn.Exec(p.ctx, sql).ReadAll()
	return err
}

// query runs one statement with parameters and returns its rows, NULL as "",
// and how many rows it says to have changed.
func (p *prover) query(sql string, args ...string) ([][]string, int64, error) {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	result := p.conn.ExecParams(p.ctx, sql, values, nil, nil, nil).Read()
	var rows [][]string
	for _, row := range result.Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = string(cell)
		}
		rows = append(rows, cells)
	}
	return rows, result.CommandTag.RowsAffected(), result.Err
}

// enter makes the session the tenant's, as the proxy would.
func (p *prover) enter(tenant string) error {
	sql := "select set_config(" + quoteLiteral(p.c.Options.TenantSetting) + ", $1, false)"
	for _, name := range p.c.context {
		if name != p.c.Options.TenantSetting {
			sql += ", set_config(" + quoteLiteral(name) + ", " + otherValue(name) + ", false)"
		}
	}
	if p.c.seal.installed {
		sql = enterSealed
		if err := p.run("discard sequences"); err != nil { // the latch of the tenant before
			return err
		}
	}
	if _, _, err := p.query(sql, tenant); err != nil {
		return fmt.Errorf("enter the tenant: %w", err)
	}
	return p.run("set local role " + p.c.App.Name)
}

// leave makes the session nobody's.
func (p *prover) leave() error {
	sql := "select true"
	for _, name := range p.c.context {
		sql += ", set_config(" + quoteLiteral(name) + ", '', false)"
	}
	if p.c.seal.installed {
		sql += ", set_config('tenantgate.latch', '', false), set_config('tenantgate.seal', '', false)"
	}
	if _, _, err := p.query(sql); err != nil {
		return err
	}
	return p.run("set local role " + p.c.App.Name)
}

// otherValue is what a setting beside the tenant's is given: nobody is an
// administrator here.
func otherValue(name string) string {
	if last := name[strings.LastIndexByte(name, '.')+1:]; strings.HasPrefix(last, "is_") {
		return "'false'"
	}
	return "''"
}

// enterSealed enters a context with a seal of the database's own key, as only
// who may read that key can.
const enterSealed = `with named as (
  select n, i, convert_to(n, 'UTF8') as name, convert_to(case when i = 1 then $1
    when n = tenantgate.admin_setting() then 'false' else '' end, 'UTF8') as value
  from unnest(tenantgate.settings()) with ordinality u(n, i)),
context as (
  select string_agg(int4send(octet_length(name)) || name || int4send(octet_length(value)) || value, ''::bytea order by i) as fields,
    (select array_agg(x order by i, k) from named, lateral (values (1, name), (2, value)) v(k, x)) as pairs from named),
head as (
  select k.ipad, k.opad, format('v1.%s.%s.000000000000.%s', k.kid,
    lpad((extract(epoch from clock_timestamp())::bigint + 30)::text, 12, '0'), replace(gen_random_uuid()::text, '-', '')) as head
  from tenantgate.key k order by k.created desc limit 1)
select tenantgate.enter(head, sha256(opad || sha256(ipad || convert_to(concat_ws(chr(10), 'tenantgate', head, pg_backend_pid(),
  tenantgate.port(), tenantgate.epoch(), ''), 'UTF8') || fields)), pairs) from head, context`
