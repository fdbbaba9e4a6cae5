package audit

import (
	"slices"
	"strings"
)

// Catalog is one snapshot of what the rules look at. System schemas, temporary
// objects and objects of extensions are not in it unless a field says so.
type Catalog struct {
	Options Options
	Server  Server
	App     *Role // the role that the tenants share

	roles      map[uint32]*Role
	edges      []membership
	relations  map[uint32]*relation
	order      []*relation // by name
	tenantList []*relation // what has a tenant column and row security could protect
	context    []string    // settings that carry the context
	functions  []function
	reach      []reachable
	defaults   []defaultGrant
	triggers   []eventTrigger
	settings   []storedSetting
	parameters []parameterGrant
	published  []published
	schemas    []schema
	languages  []language
	objects    int64 // large objects
	seal       seal
	unseen     []Unseen
}

// Server is what was connected to.
type Server struct {
	Version  int    `json:"version"` // as server_version_num: 150004
	Release  string `json:"release"` // as server_version
	Database string `json:"database"`
	User     string `json:"user"` // who reads the catalogue
	Super    bool   `json:"super"`
	Owner    uint32 `json:"owner"` // of the database
	Create   bool   `json:"create"`
	Temp     bool   `json:"temp"`
	TempVia  string `json:"temp_via"`
}

// Unseen is a part of the catalogue that could not be read, and the rules that
// were not run for that.
type Unseen struct {
	Part  string   `json:"part"`
	Cause string   `json:"cause"`
	Rules []string `json:"rules"`
}

// Role is a role with what it is a member of.
type Role struct {
	OID         uint32 `json:"oid"`
	Rolname     string `json:"rolname"`
	Name        string `json:"name"` // quoted
	Super       bool   `json:"super"`
	Bypass      bool   `json:"bypass"`
	Replication bool   `json:"replication"`
	CreateRole  bool   `json:"createrole"`
	CreateDB    bool   `json:"createdb"`

	inherits []uint32 // whose privileges it has, itself included, transitively
	member   []uint32 // whom it may become, itself included, transitively
}

// unbound tells whether no policy ever binds the role.
func (r *Role) unbound() bool { return r != nil && (r.Super || r.Bypass) }

// has tells whether the role has the privileges of another.
func (r *Role) has(other uint32) bool {
	return r != nil && (r.Super || slices.Contains(r.inherits, other))
}

// grant is a privilege that reaches the app role, and through whom.
type grant struct {
	grantee, privilege string
	column             string // empty: the whole relation
}

// relation is a table, partitioned table, view, materialised view, foreign
// table or sequence.
type relation struct {
	OID          uint32      `json:"oid"`
	Schema       string      `json:"schema"`
	Relname      string      `json:"relname"`
	Name         string      `json:"name"` // quoted and qualified
	Kind         string      `json:"kind"` // relkind
	Owner        uint32      `json:"owner"`
	Secured      bool        `json:"secured"` // row security is enabled
	Forced       bool        `json:"forced"`
	Rows         int64       `json:"rows"` // an estimate
	Open         bool        `json:"open"` // the app role may use the schema
	Invoker      bool        `json:"invoker"`
	Barrier      string      `json:"barrier"` // the definition of a view that is a security barrier
	Column       string      `json:"tenant"`  // the tenant column, empty without one
	ColumnType   string      `json:"tenant_type"`
	PartitionKey []string    `json:"partition_key"`
	Strategy     string      `json:"strategy"` // of partitioning: l, r, h
	Partition    bool        `json:"partition"`
	Grants       [][2]string `json:"grants"`

	grants   []grant
	policies []policy
	indexes  []index
	foreign  []foreignKey
	parents  []*relation
	children []*relation
	uses     []use // of a view: what it reads
	tenants  bool  // the table of the tenants themselves
	key      string
	keyType  string // of key
}

// use is what a view reads of another relation.
type use struct {
	View    uint32   `json:"view"`
	Target  uint32   `json:"target"`
	Columns []string `json:"columns"`

	of *relation
}

// policy is one policy of a table.
type policy struct {
	Relation   uint32   `json:"relation"`
	Name       string   `json:"name"`
	Command    string   `json:"command"` // polcmd: r, a, w, d, *
	Permissive bool     `json:"permissive"`
	Roles      []uint32 `json:"roles"`
	Using      string   `json:"using"`
	Check      string   `json:"check"`
}

// index is an index of a table with a tenant column.
type index struct {
	Relation   uint32        `json:"relation"`
	Name       string        `json:"name"`
	Unique     bool          `json:"uniq"`
	Primary    bool          `json:"prim"`
	Exclusion  bool          `json:"excl"`
	Valid      bool          `json:"valid"`
	Partial    bool          `json:"partial"`
	Method     string        `json:"method"`
	Constraint string        `json:"con"`
	Definition string        `json:"def"` // of the constraint, else of the index
	Columns    []indexColumn `json:"columns"`
}

// indexColumn is a key column of an index, or an expression.
type indexColumn struct {
	Name       string `json:"name"`
	Expression bool   `json:"expr"`
	Type       string `json:"type"`
	Generated  bool   `json:"generated"` // identity, or its default is a sequence or random
}

// foreignKey is a foreign key constraint, not one that a partition inherits.
type foreignKey struct {
	Name       string   `json:"name"`
	Relation   uint32   `json:"relation"`
	Target     uint32   `json:"target"`
	Columns    []string `json:"columns"`
	References []string `json:"refs"`
	OnDelete   string   `json:"del"`
	OnUpdate   string   `json:"upd"`
	DeleteSet  []string `json:"delset"`
	Deferrable bool     `json:"deferrable"`
	Deferred   bool     `json:"deferred"`

	to *relation
}

// tenantKey is the column that says whose a row is, with its type: the tenant
// column, in the table of the tenants their own key, else "".
func (r *relation) tenantKey() (column, columnType string) {
	if r.Column == "" && r.tenants {
		return r.key, r.keyType
	}
	return r.Column, r.ColumnType
}

// label says what kind of thing a relation is.
func (r *relation) label() string {
	switch r.Kind {
	case "v":
		return "view"
	case "m":
		return "materialised view"
	case "f":
		return "foreign table"
	case "S":
		return "sequence"
	case "p":
		return "partitioned table"
	}
	if r.Partition {
		return "partition"
	}
	return "table"
}

// table tells whether row security exists for this kind of relation.
func (r *relation) table() bool { return r.Kind == "r" || r.Kind == "p" }

// leads tells whether an index finds the rows of one tenant.
func (i *index) leads(column string) bool {
	return i.Valid && !i.Partial && (i.Method == "btree" || i.Method == "hash") &&
		len(i.Columns) > 0 && i.Columns[0].Name == column && !i.Columns[0].Expression
}

// owns tells whether the app role owns the relation, itself or through a role
// whose privileges it has.
func (c *Catalog) owns(r *relation) bool { return c.App.has(r.Owner) }

// may tells whether the app role has the privilege on the relation, or on a
// column of it, and can use its schema.
func (c *Catalog) may(r *relation, privilege string) bool {
	if c.App.Super {
		return true
	}
	return r.Open && (c.owns(r) || len(r.grantsOf(privilege)) > 0)
}

// rowCommands are the privileges that read or change rows under row security.
var rowCommands = []string{"SELECT", "INSERT", "UPDATE", "DELETE"}

// commands lists what the app role may do with the rows of the relation.
func (c *Catalog) commands(r *relation) []string {
	var may []string
	for _, p := range rowCommands {
		if c.may(r, p) {
			may = append(may, p)
		}
	}
	return may
}

// reached tells whether the app role may do anything with the rows.
func (c *Catalog) reached(r *relation) bool { return len(c.commands(r)) > 0 }

// grantsOf lists the grants of one privilege that reach the app role.
func (r *relation) grantsOf(privilege string) []grant {
	var found []grant
	for _, g := range r.grants {
		if g.privilege == privilege {
			found = append(found, g)
		}
	}
	return found
}

// ancestors lists the tables whose partition or inheritance child this is.
func (r *relation) ancestors() []*relation {
	var all []*relation
	for _, p := range r.parents {
		all = append(append(all, p), p.ancestors()...)
	}
	return all
}

// covered tells whether a parent with row security stands above the table.
func (r *relation) covered() bool {
	return slices.ContainsFunc(r.ancestors(), func(p *relation) bool { return p.Secured })
}

// applies tells whether the policy binds or admits the app role.
func (c *Catalog) applies(p policy) bool {
	return slices.ContainsFunc(p.Roles, func(role uint32) bool { return role == 0 || c.App.has(role) })
}

// bypasses tells whether row security of the table does not bind the role.
func (c *Catalog) bypasses(role uint32, r *relation) bool {
	who := c.roles[role]
	return who.unbound() || !r.Forced && who.has(r.Owner)
}

// roleName is the quoted name of a role.
func (c *Catalog) roleName(oid uint32) string {
	if r := c.roles[oid]; r != nil {
		return r.Name
	}
	return "an unknown role"
}

// grantees lists through whom the privileges reach the app role, each once.
func grantees(grants []grant) string {
	var names []string
	for _, g := range grants {
		if !slices.Contains(names, g.grantee) {
			names = append(names, g.grantee)
		}
	}
	return strings.Join(names, ", ")
}

// tenantTables lists what has a tenant column and row security could protect.
func (c *Catalog) tenantTables() []*relation { return c.tenantList }
