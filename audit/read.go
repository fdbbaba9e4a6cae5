package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// oldest is the oldest release that is examined: security_invoker, row filters
// of publications and grants on parameters are younger than 14.
const oldest = 150000

// ErrNoRole is wrapped when the app role does not exist.
var ErrNoRole = errors.New("the role does not exist")

// Read takes the snapshot: a fixed number of queries in one read-only
// transaction, which is over when it returns. What the role of the connection
// may not read is left out and noted; other failures are errors. The connection
// stays the caller's.
func Read(ctx context.Context, conn *pgconn.PgConn, options Options) (*Catalog, error) {
	r := &reader{ctx: ctx, conn: conn, catalog: &Catalog{Options: options.withDefaults()}}
	// With this search_path every name that the server prints is qualified.
	err := r.exec("begin isolation level repeatable read read only; set local search_path = pg_catalog; " +
		"set local quote_all_identifiers = off; set local client_encoding = 'UTF8'; savepoint audit")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(r.read(), r.exec("rollback")); err != nil {
		return nil, err
	}
	r.catalog.link()
	return r.catalog, nil
}

// part names a part of the catalogue in progress and in what was not seen.
type part string

// The parts of the catalogue.
const (
	partServer       part = "server"
	partRoles        part = "roles"
	partMemberships  part = "memberships"
	partRelations    part = "relations"
	partColumns      part = "column privileges"
	partPolicies     part = "policies"
	partIndexes      part = "indexes"
	partForeignKeys  part = "foreign keys"
	partInheritance  part = "inheritance"
	partViews        part = "views"
	partFunctions    part = "functions"
	partReach        part = "system functions and views"
	partDefaults     part = "default privileges"
	partTriggers     part = "event triggers"
	partSettings     part = "role and database settings"
	partParameters   part = "parameter privileges"
	partPublications part = "publications"
	partSchemas      part = "schemas"
	partLanguages    part = "languages"
	partLargeObjects part = "large objects"
	partSeal         part = "seal"
)

// progressStep is how many rows pass between two calls of Progress.
const progressStep = 1000

// reader runs the queries of one snapshot.
type reader struct {
	ctx     context.Context
	conn    *pgconn.PgConn
	catalog *Catalog
	app     string   // oid of the app role
	columns string   // the tenant columns, as an array literal
	reach   []string // oids whose privileges the app role has
}

// exec runs statements that give no rows.
func (r *reader) exec(sql string) error {
	if _, err := r.conn.Exec(r.ctx, sql).ReadAll(); err != nil {
		return fmt.Errorf("read the catalogue: %w", err)
	}
	return nil
}

// always are the parts that nothing can be said without.
var always = []part{partServer, partRoles, partMemberships, partRelations}

// wanted tells whether a rule that will be run looks at the part.
func (r *reader) wanted(name part) bool {
	rules := r.catalog.Options.Rules
	return rules == nil || slices.Contains(always, name) ||
		slices.ContainsFunc(rules, func(rule *Rule) bool { return slices.Contains(rule.needs, name) })
}

// rowsOf runs one query of the snapshot and decodes every row into a T by the
// names of its columns. A part that may not be read is noted and gives no rows.
func rowsOf[T any](r *reader, name part, sql string, args ...string) ([]T, error) {
	if !r.wanted(name) {
		return nil, nil
	}
	r.catalog.Options.Progress(string(name), 0)
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	result := r.conn.ExecParams(r.ctx, "select to_jsonb(x)::text from ("+sql+") x", values, nil, nil, nil)
	var rows []T
	var broken error
	for result.NextRow() {
		var row T
		if err := json.Unmarshal(result.Values()[0], &row); err != nil && broken == nil {
			broken = fmt.Errorf("read the catalogue: %s: %w", name, err)
		}
		rows = append(rows, row)
		if len(rows)%progressStep == 0 {
			r.catalog.Options.Progress(string(name), len(rows))
		}
	}
	_, err := result.Close()
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42501" {
		r.catalog.unseen = append(r.catalog.unseen, Unseen{Part: string(name), Cause: refused.Message})
		return nil, r.exec("rollback to savepoint audit")
	}
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %s: %w", name, err)
	}
	r.catalog.Options.Progress(string(name), len(rows))
	return rows, broken
}

// into runs a query and puts its rows where they belong.
func into[T any](r *reader, to *[]T, name part, sql string, args ...string) error {
	rows, err := rowsOf[T](r, name, sql, args...)
	*to = rows
	return err
}

// read fills the catalogue, part by part.
func (r *reader) read() error {
	for _, step := range []func() error{r.readServer, r.readRoles, r.readRelations, r.readDetails, r.readRest, r.readSeal} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// readServer reads what the connection leads to.
func (r *reader) readServer() error {
	rows, err := rowsOf[Server](r, partServer, serverQuery, r.catalog.Options.AppRole)
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return fmt.Errorf("%w: %s", ErrNoRole, r.catalog.Options.AppRole)
	}
	r.catalog.Server = rows[0]
	if rows[0].Version < oldest {
		return fmt.Errorf("the server is PostgreSQL %s; audit knows 15 and newer", rows[0].Release)
	}
	return nil
}

// membership is one edge of the graph of roles.
type membership struct {
	Role    uint32 `json:"role"`
	Member  uint32 `json:"member"`
	Inherit bool   `json:"inherit"`
	Become  bool   `json:"become"` // SET or ADMIN, which can grant itself SET
}

// readRoles reads the roles and follows their memberships.
func (r *reader) readRoles() error {
	roles, err := rowsOf[Role](r, partRoles, rolesQuery)
	if err != nil {
		return err
	}
	edges, err := rowsOf[membership](r, partMemberships, membershipsQuery)
	if err != nil {
		return err
	}
	c := r.catalog
	c.roles = make(map[uint32]*Role, len(roles))
	for i := range roles {
		c.roles[roles[i].OID] = &roles[i]
	}
	c.edges = edges
	inherits, becomes := map[uint32][]uint32{}, map[uint32][]uint32{}
	for _, e := range edges {
		if e.Inherit {
			inherits[e.Member] = append(inherits[e.Member], e.Role)
		}
		if e.Become || e.Inherit {
			becomes[e.Member] = append(becomes[e.Member], e.Role)
		}
	}
	name := c.Options.AppRole
	if name == "" {
		name = c.Server.User
	}
	for oid, role := range c.roles {
		role.inherits, role.member = closure(oid, inherits), closure(oid, becomes)
		if role.Rolname == name {
			c.App = role
		}
	}
	if c.App == nil {
		return fmt.Errorf("%w: %s", ErrNoRole, name)
	}
	r.app = strconv.FormatUint(uint64(c.App.OID), 10)
	r.columns = arrayLiteral(c.Options.TenantColumns)
	r.reach = []string{"0"}
	for _, oid := range c.App.inherits {
		r.reach = append(r.reach, strconv.FormatUint(uint64(oid), 10))
	}
	return nil
}

// closure follows edges from start; start is part of it.
func closure(start uint32, edges map[uint32][]uint32) []uint32 {
	all := []uint32{start}
	for i := 0; i < len(all); i++ {
		for _, next := range edges[all[i]] {
			if !slices.Contains(all, next) {
				all = append(all, next)
			}
		}
	}
	return all
}

// arrayLiteral writes an array for the server to read.
func arrayLiteral(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return "{" + strings.Join(quoted, ",") + "}"
}

// readRelations reads every relation with the grants that reach the app role.
func (r *reader) readRelations() error {
	c := r.catalog
	rows, err := rowsOf[relation](r, partRelations, relationsQuery, r.app, r.columns, arrayLiteral(r.reach))
	if err != nil {
		return err
	}
	c.relations = make(map[uint32]*relation, len(rows))
	for i := range rows {
		c.relations[rows[i].OID] = &rows[i]
		c.order = append(c.order, &rows[i])
		for _, g := range rows[i].Grants {
			rows[i].grants = append(rows[i].grants, grant{grantee: g[0], privilege: g[1]})
		}
	}
	type columnGrant struct {
		Relation  uint32 `json:"relation"`
		Column    string `json:"column"`
		Grantee   string `json:"grantee"`
		Privilege string `json:"privilege"`
	}
	columns, err := rowsOf[columnGrant](r, partColumns, columnGrantsQuery, arrayLiteral(r.reach))
	for _, g := range columns {
		if on := c.relations[g.Relation]; on != nil {
			on.grants = append(on.grants, grant{g.Grantee, g.Privilege, g.Column})
		}
	}
	return err
}
