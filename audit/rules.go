package audit

import (
	"cmp"
	"slices"
)

// Rules lists every rule by its id. An id keeps its meaning for ever: scripts
// and ignore files name it.
var Rules = joinRules(tableRules, policyRules, keyRules, relationRules, functionRules, roleRules, grantRules, reachRules, contextRules)

// joinRules makes one list of the families.
func joinRules(families ...[]Rule) []*Rule {
	var all []*Rule
	for _, family := range families {
		for i := range family {
			all = append(all, &family[i])
		}
	}
	slices.SortFunc(all, func(a, b *Rule) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// RuleByID returns a rule, nil when there is none of that id.
func RuleByID(id string) *Rule {
	for _, r := range Rules {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// RoleRules lists the rules about the app role, the context and the seal: what
// can change without a migration, and is cheap to look at.
func RoleRules() []*Rule {
	var some []*Rule
	for _, r := range Rules {
		if r.Role {
			some = append(some, r)
		}
	}
	return some
}

var tableRules = []Rule{
	{
		ID: "TG001", Level: LevelError, Title: "tenant column without row security", check: openTables,
		needs: []part{partColumns, partPolicies, partInheritance},
		Why:   "Every row of the table is there for every tenant, whatever the context says. A policy does nothing before row security is enabled.",
	},
	{
		ID: "TG002", Level: LevelError, Title: "row security does not bind the owner, which the app role is", check: unforced, needs: []part{partPolicies},
		Why: "Policies are not asked of the owner of a table unless row security is forced. The application's role is the owner, so it sees every tenant.",
	},
	{
		ID: "TG003", Level: LevelWarning, Title: "row security without a policy", check: unpoliced, needs: []part{partPolicies, partInheritance, partColumns},
		Why: "Without a policy reads, updates and deletes silently find no rows, and inserts fail. Somebody will give the role more power to make it work.",
	},
	{
		ID: "TG015", Level: LevelError, Title: "rows of tenants in a table without a tenant column or row security", check: unprotectedDependents,
		needs: []part{partForeignKeys, partInheritance, partColumns},
		Why:   "The rows belong to a tenant through their parent, but nothing asks for the parent when they are read. Every tenant sees and changes all of them.",
	},
	{
		ID: "TG016", Level: LevelWarning, Title: "the table of the tenants is open", check: openTenants, needs: []part{partForeignKeys, partPolicies, partColumns},
		Why: "Every tenant can read who the others are, and change them where it may write. A tenant needs its own line only.",
	},
	{
		ID: "TG017", Level: LevelInfo, Title: "shared table that the app role may change", check: writableShared,
		needs: []part{partForeignKeys, partInheritance, partColumns},
		Why:   "What one tenant writes there, all tenants read. A shared table is usually written by migrations alone.",
	},
	{
		ID: "TG048", Level: LevelError, Title: "no table has a tenant column", check: nothingToExamine, needs: []part{partColumns},
		Why: "What says whose a row is has another name here, or this is another database. The rules about tables have then examined nothing, and their silence means nothing.",
	},
}

var policyRules = []Rule{
	{
		ID: "TG004", Level: LevelError, Title: "permissive policy that ignores the tenant", check: ignoringPolicies, needs: []part{partPolicies},
		Why: "PostgreSQL joins permissive policies with OR, so one that asks nothing opens the table whatever the others ask. Every tenant gets at every row that it covers.",
	},
	{
		ID: "TG005", Level: LevelWarning, Title: "policy that admits to the rows of other tenants", check: flagPolicies, needs: []part{partPolicies},
		Why: "The policy gives rows of every tenant to sessions with a flag, to a role that all tenants share, or to everybody. Whoever can forge the flag has all of them.",
	},
	{
		ID: "TG006", Level: LevelInfo, Title: "policy that asks for something else than the tenant", check: otherColumnPolicies, needs: []part{partPolicies},
		Why: "Rows are tied to the session by another column, so they are as separate as the values of that column are. A mistake there crosses tenants although the table knows whose a row is.",
	},
	{
		ID: "TG007", Level: LevelError, Title: "WITH CHECK that lets rows be written for any tenant", check: openChecks, needs: []part{partPolicies},
		Why: "USING does not protect what is written once there is a WITH CHECK of its own. A tenant can insert rows for another one, or move its rows there.",
	},
	{
		ID: "TG008", Level: LevelInfo, Title: "policies for only some of the granted commands", check: partialPolicies, needs: []part{partPolicies, partColumns, partInheritance},
		Why: "A command that is granted and that no policy admits finds no rows, without an error. The next policy that is added for it stands alone, without the conditions of the others.",
	},
	{
		ID: "TG009", Level: LevelWarning, Title: "policy that fails without a context", check: fragileReadings, needs: []part{partPolicies},
		Why: "current_setting raises an error where a setting was never set, and after a reset it is the empty string, which is no uuid or number. With missing_ok and nullif no context means no rows, always.",
	},
	{
		ID: "TG010", Level: LevelInfo, Title: "context read again for every row", check: perRowReadings, needs: []part{partPolicies},
		Why: "Without (SELECT …) around it the setting is read and cast for every row that is looked at. Scans took six times as long that way.",
	},
	{
		ID: "TG011", Level: LevelInfo, Title: "policies joined by OR lose the index on the tenant", check: lostIndexes, needs: []part{partPolicies, partColumns},
		Why: "With tenant = … OR … PostgreSQL scans the table for every query of every tenant, administrators or not. A role of its own for administrators, with a policy of its own, keeps the index.",
	},
	{
		ID: "TG047", Level: LevelInfo, Title: "policy casts the tenant column", check: castColumns, needs: []part{partPolicies},
		Why: "An index on the column does not fit a condition on the column cast to text, so every query reads the rows of all tenants. Cast the setting instead.",
	},
}

var keyRules = []Rule{
	{
		ID: "TG012", Level: LevelInfo, Title: "no index that begins with the tenant column", check: missingIndexes, needs: []part{partIndexes, partColumns},
		Why: "Every query has the policy's condition on the tenant. Without an index that begins with it each one reads the rows of all tenants.",
	},
	{
		ID: "TG013", Level: LevelWarning, Title: "unique key without the tenant column", check: uniqueOracles, needs: []part{partIndexes, partForeignKeys, partColumns},
		Why: "Uniqueness is checked over all rows, so the error 23505 tells a tenant that another one has the value. It also keeps two tenants from using the same one.",
	},
	{
		ID: "TG014", Level: LevelWarning, Title: "foreign key that crosses tenants", check: crossingKeys, needs: []part{partIndexes, partForeignKeys, partColumns},
		Why: "Foreign keys are checked without row security, so a row can refer to a row of another tenant. Whether that succeeds tells what the other tenant has, and cascades reach across.",
	},
}

var relationRules = []Rule{
	{
		ID: "TG018", Level: LevelError, Title: "view that reads past the policies", check: bypassingViews, needs: []part{partViews, partColumns},
		Why: "A view without security_invoker reads as its owner, and policies do not bind this owner. Whoever may read the view sees every tenant.",
	},
	{
		ID: "TG019", Level: LevelError, Title: "materialised view with the rows of tenants", check: openMaterialised, needs: []part{partViews, partColumns},
		Why: "A materialised view keeps a copy of what its owner saw, and row security does not exist for it. Whoever may read it sees every tenant.",
	},
	{
		ID: "TG020", Level: LevelError, Title: "foreign table with a tenant column", check: openForeign, needs: []part{partViews, partColumns},
		Why: "Row security does not exist for foreign tables, and the other server knows nothing of the context. Whoever may read it sees what the user mapping sees there.",
	},
	{
		ID: "TG021", Level: LevelError, Title: "partition or child that is reached around its parent's policies", check: openChildren, needs: []part{partInheritance, partColumns},
		Why: "The policies of the table that a query names are asked, and those of its parents are not. A partition that is granted itself is open although the parent is protected.",
	},
}

var functionRules = []Rule{
	{
		ID: "TG022", Level: LevelWarning, Title: "SECURITY DEFINER function that no policy binds", check: definerFunctions, needs: []part{partFunctions},
		Why: "It reads and writes with the rights of its owner, whom the policies do not bind. It keeps tenants apart only as far as its own code does.",
	},
	{
		ID: "TG023", Level: LevelError, Title: "SECURITY DEFINER function with dynamic SQL", check: dynamicDefiners, needs: []part{partFunctions},
		Why: "It runs text as SQL with power over tables of tenants. If a caller has a say in that text, it has every tenant's rows.",
	},
	{
		ID: "TG024", Level: LevelWarning, Title: "SECURITY DEFINER function without a search_path of its own", check: loosePaths, needs: []part{partFunctions},
		Why: "Names in it are looked up by the caller's search_path, temporary tables first. A caller can put a table or an operator of its own there, and the function uses it with the owner's rights.",
	},
	{
		ID: "TG025", Level: LevelInfo, Title: "function that runs text as SQL, on tables that are not sealed", check: hiddenSQL, needs: []part{partFunctions, partPolicies},
		Why: "The guard reads the statements of clients and not what a function makes of its arguments. Where a caller has a say in the text it can set the context, unless the tables are sealed.",
	},
}

var roleRules = []Rule{
	{
		ID: "TG026", Level: LevelError, Title: "app role with powers that no policy binds", check: rolePowers, Role: true,
		Why: "SUPERUSER and BYPASSRLS are never asked for policies, and REPLICATION reads everything. With such a role nothing isolates the tenants.",
	},
	{
		ID: "TG027", Level: LevelError, Title: "app role is a member of a role that no policy binds", check: memberships, Role: true,
		Why: "A member has the other role's powers, or takes them with SET ROLE. It is as unsafe as if the powers were its own.",
	},
	{
		ID: "TG028", Level: LevelError, Title: "app role owns tables of tenants", check: ownership, Role: true, needs: []part{partForeignKeys},
		Why: "An owner can drop the policies, disable row security and give the table away. FORCE does not change that.",
	},
	{
		ID: "TG029", Level: LevelWarning, Title: "app role may do more than an application needs", check: furtherPowers, Role: true, needs: []part{partSchemas},
		Why: "Each of these is a step towards the rows or the sessions of other tenants, or a way to get in theirs. An application needs SELECT, INSERT, UPDATE and DELETE.",
	},
}

var grantRules = []Rule{
	{
		ID: "TG030", Level: LevelError, Title: "TRUNCATE is granted", check: truncatable, needs: []part{partForeignKeys},
		Why: "TRUNCATE is not subject to row security. One tenant can empty the table for all.",
	},
	{
		ID: "TG031", Level: LevelWarning, Title: "TRIGGER, REFERENCES or MAINTAIN is granted", check: looseGrants, needs: []part{partColumns, partForeignKeys},
		Why: "A trigger runs in the sessions of all tenants, a reference tells whether a row exists, and maintenance locks everybody out. They come along with GRANT ALL, and no application needs them.",
	},
	{
		ID: "TG032", Level: LevelWarning, Title: "default privileges open every table to come", check: openDefaults, needs: []part{partDefaults, partTriggers},
		Why: "The next table is granted before anybody has thought of a policy. Until row security is enabled on it every tenant reads all of it.",
	},
	{
		ID: "TG033", Level: LevelInfo, Title: "nothing notices a new table without row security", check: uncaughtTables, needs: []part{partTriggers},
		Why: "PostgreSQL does not refuse writes to a table without policies: until somebody enables row security it is open. An event trigger can enable it at the moment the table is made.",
	},
	{
		ID: "TG034", Level: LevelWarning, Title: "sequence that the app role may set", check: settableSequences,
		Why: "With UPDATE a tenant can set a sequence back, and the inserts of every tenant fail. nextval needs USAGE only.",
	},
}

var reachRules = []Rule{
	{
		ID: "TG035", Level: LevelWarning, Title: "large objects are open", check: largeObjects, needs: []part{partReach, partLargeObjects},
		Why: "Large objects have an owner and no tenant, and all tenants are the same role. Whoever knows or guesses a number reads, changes and deletes the object.",
	},
	{
		ID: "TG036", Level: LevelWarning, Title: "statements of other tenants can be read", check: activity, needs: []part{partReach},
		Why: "All tenants share one role, and a role sees the statements of its own sessions. They hold other tenants' literals, addresses and habits.",
	},
	{
		ID: "TG037", Level: LevelWarning, Title: "sessions of other tenants can be ended", check: signals, needs: []part{partReach},
		Why: "A role may cancel and end the sessions of its own, and all tenants share one. One tenant can keep all others from working.",
	},
	{
		ID: "TG038", Level: LevelWarning, Title: "built-in functions run text as SQL", check: dynamicBuiltins, needs: []part{partReach, partPolicies},
		Why: "query_to_xml, ts_stat and their kin run a string, in which no guard can see that it sets the context. With the next statement the session is another tenant.",
	},
	{
		ID: "TG039", Level: LevelWarning, Title: "functions of extensions run text as SQL", check: dynamicExtensions, needs: []part{partReach},
		Why: "dblink opens connections of its own from the server, and crosstab, connectby and xpath_table run a string. Neither is seen by the guard.",
	},
	{
		ID: "TG040", Level: LevelInfo, Title: "clients may run code of their own", check: ownCode, needs: []part{partLanguages, partPolicies},
		Why: "With a language anybody can write DO blocks and temporary functions that set the context out of the guard's sight. The guard refuses DO and CREATE FUNCTION; without the privilege there is nothing to refuse.",
	},
	{
		ID: "TG041", Level: LevelInfo, Title: "publication of tables with tenants", check: publications, needs: []part{partPublications},
		Why: "Logical replication sends rows without asking policies. Whoever subscribes has every tenant's rows.",
	},
}

var contextRules = []Rule{
	{
		ID: "TG042", Level: LevelError, Title: "stored value for a setting of the context", check: storedAnywhere, Role: true,
		needs: []part{partSettings, partParameters, partFunctions, partPolicies},
		Why:   "A value that is stored for the role, the database or a function comes back behind the proxy's back, such as after every reset. Sessions then have a tenant that nobody verified.",
	},
	{
		ID: "TG043", Level: LevelError, Title: "policy reads a setting that the proxy does not set", check: unknownSettings, Role: true, needs: []part{partPolicies},
		Why: "What is not in the configuration is not set and not guarded. Every client can set it to what it likes, and the policy believes it.",
	},
	{
		ID: "TG044", Level: LevelWarning, Title: "the context is not sealed", check: unsealed, Role: true,
		needs: []part{partPolicies, partForeignKeys, partInheritance, partColumns, partSeal},
		Why:   "The context is a setting, and a client whose SQL gets past the guard can set it. The seal makes a forged context worthless, whatever the SQL.",
	},
	{
		ID: "TG045", Level: LevelError, Title: "the seal is not of this program's version", check: oldSeal, Role: true, needs: []part{partSeal},
		Why: "The proxy makes seals for the version that it knows and refuses another one. Faults of an older version are not mended in the database before it is upgraded.",
	},
	{
		ID: "TG046", Level: LevelError, Title: "somebody can get at the seal itself", check: openSeal, Role: true, needs: []part{partSeal},
		Why: "Whoever may read the key can seal any context, and whoever may set a latch needs no key. The rights are looked at as they stand, default privileges and later grants included.",
	},
}
