package audit

// function is a routine that may matter: it is SECURITY DEFINER, carries
// settings of its own, or runs text as SQL.
type function struct {
	OID      uint32   `json:"oid"`
	Name     string   `json:"name"` // with its argument types, quoted and qualified
	Schema   string   `json:"schema"`
	Kind     string   `json:"kind"` // prokind
	Language string   `json:"language"`
	Definer  bool     `json:"definer"`
	Owner    uint32   `json:"owner"`
	Config   []string `json:"config"`
	Trigger  bool     `json:"trigger"`
	Source   string   `json:"source"`
	Atomic   bool     `json:"atomic"` // parsed when it was created
	Callable bool     `json:"callable"`
	Policy   bool     `json:"policy"` // a policy calls it
}

// reachable is something of the system or of an extension that the app role may
// use by default or by grant.
type reachable struct {
	Group    string   `json:"grp"` // which rule looks at it
	Name     string   `json:"name"`
	View     bool     `json:"view"`
	Grantees []string `json:"grantees"`
}

// defaultGrant is what ALTER DEFAULT PRIVILEGES gives the app role on objects
// that an owner will create.
type defaultGrant struct {
	Owner      string   `json:"owner"`
	Schema     string   `json:"schema"` // empty: in every schema
	Type       string   `json:"type"`   // defaclobjtype
	Grantee    string   `json:"grantee"`
	Privileges []string `json:"privileges"`
}

// eventTrigger is an enabled event trigger with the code of its function.
type eventTrigger struct {
	Name   string `json:"name"`
	Event  string `json:"event"`
	Source string `json:"source"`
}

// storedSetting is one setting of ALTER ROLE … SET or ALTER DATABASE … SET that
// holds for the app role here.
type storedSetting struct {
	Role     string `json:"role"`     // empty: every role
	Database string `json:"database"` // empty: every database
	Name     string `json:"name"`
}

// parameterGrant is a grant of SET or ALTER SYSTEM on a parameter.
type parameterGrant struct {
	Name      string `json:"name"`
	Grantee   string `json:"grantee"`
	Privilege string `json:"privilege"`
}

// published is a relation that a publication sends out.
type published struct {
	Publication string `json:"publication"`
	All         bool   `json:"all"`
	BySchema    bool   `json:"by_schema"`
	Relation    uint32 `json:"relation"`
	Filtered    bool   `json:"filtered"`
}

// schema is a schema with what the app role may do there.
type schema struct {
	Name     string   `json:"name"` // quoted
	Owner    uint32   `json:"owner"`
	Create   bool     `json:"create"`
	Grantees []string `json:"grantees"` // through whom it may create
}

// language is a procedural language that the app role may use.
type language struct {
	Name     string   `json:"name"`
	Grantees []string `json:"grantees"`
}

// seal is what is installed of the seal.
type seal struct {
	installed bool
	version   int
	excess    []string // rights on its objects that nobody should have
}
