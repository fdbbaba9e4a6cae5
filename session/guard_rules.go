package session

import "strings"

// Rule is the stable name of a rule of the guard, fit for a metric label. The
// part before the first underscore names its group.
type Rule string

// The rules, by group.
const (
	RuleContextSet     Rule = "context_set"        // SET of a reserved setting
	RuleContextCall    Rule = "context_set_config" // set_config of one
	RuleContextClause  Rule = "context_set_clause" // a SET clause of ALTER ROLE, CREATE FUNCTION, …
	RuleContextUnicode Rule = "context_unicode_name"

	RuleHiddenName      Rule = "hidden_computed_name" // set_config of a name that is not a plain literal
	RuleHiddenDo        Rule = "hidden_do"
	RuleHiddenFunction  Rule = "hidden_create_function"
	RuleHiddenExtension Rule = "hidden_create_extension"
	RuleHiddenLoad      Rule = "hidden_load"
	RuleHiddenDynamic   Rule = "hidden_dynamic_sql"
	RuleHiddenStrings   Rule = "hidden_string_syntax"
	RuleHiddenEncoding  Rule = "hidden_unsafe_encoding"
	RuleHiddenSettings  Rule = "hidden_pg_settings" // UPDATE pg_settings sets by a rule of the catalogue; a view on it does so too

	RuleRoleAlter       Rule = "shared_alter_role"
	RuleRoleCreate      Rule = "shared_create_role"
	RuleRoleDrop        Rule = "shared_drop_role"
	RuleRoleDatabase    Rule = "shared_alter_database"
	RuleRoleSystem      Rule = "shared_alter_system"
	RuleRoleTwoPhase    Rule = "shared_two_phase"
	RuleRoleTerminate   Rule = "shared_terminate"
	RuleRoleSet         Rule = "shared_set_role"
	RuleRoleReplication Rule = "shared_replication_role"

	RuleChannelsListen Rule = "channels_listen"
	RuleChannelsNotify Rule = "channels_notify"
	RuleChannelsObject Rule = "channels_large_object"

	RuleUnreadable Rule = "unreadable_statement" // beyond the bounds of the lexer
)

// ruleGroup is a group of rules with one mode.
type ruleGroup uint8

const (
	groupAny ruleGroup = iota // the strictest mode of all
	groupContext
	groupHidden
	groupRole
	groupChannels
	groupCount
)

// group returns the group whose mode the rule has.
func (r Rule) group() ruleGroup {
	switch {
	case strings.HasPrefix(string(r), "context_"):
		return groupContext
	case strings.HasPrefix(string(r), "hidden_"):
		return groupHidden
	case strings.HasPrefix(string(r), "shared_"):
		return groupRole
	case strings.HasPrefix(string(r), "channels_"):
		return groupChannels
	}
	return groupAny
}

// ruleText is what a client is told.
type ruleText struct{ message, hint string }

// Hints that several rules share.
const (
	hintContext  = "The proxy sets the tenant's context from the token of this connection, so the statement can simply be dropped; with the session's own value, as a plain literal or bound to a parameter of SELECT set_config, it is accepted. To act as another tenant, connect with that tenant's token."
	hintHidden   = "Run it in a migration that does not go through the proxy, or ask the operator about context.guard.hidden_sql."
	hintRole     = "The backend's role is shared by all tenants. Run it on a connection that does not go through the proxy, or ask the operator about context.guard.shared_role."
	hintChannels = "Notifications and large objects know no tenant. Ask the operator about context.guard.channels."
)

// ruleTexts holds the texts of every rule.
var ruleTexts = map[Rule]ruleText{
	RuleContextSet:     {"a setting of the tenant's context cannot be set", hintContext},
	RuleContextCall:    {"a setting of the tenant's context cannot be set by a function", hintContext},
	RuleContextClause:  {"a setting of the tenant's context cannot stand in a SET clause", hintContext},
	RuleContextUnicode: {"a U&\"…\" or overlong name is not allowed for a setting, a function, a field or a view", "Write it without Unicode escapes, at most 63 bytes long."},

	RuleHiddenName:      {"set_config needs a plain literal as the name of the setting", "Write the name as a plain literal: set_config('name', …)."},
	RuleHiddenDo:        {"DO is not allowed", hintHidden},
	RuleHiddenFunction:  {"creating functions, procedures, aggregates, operators and casts is not allowed", hintHidden},
	RuleHiddenExtension: {"creating extensions and languages is not allowed", hintHidden},
	RuleHiddenLoad:      {"LOAD is not allowed", hintHidden},
	RuleHiddenDynamic:   {"functions that run SQL from a string are not allowed", hintHidden},
	RuleHiddenStrings:   {"standard_conforming_strings cannot be turned off", "Use E'…' literals where backslash escapes are needed."},
	RuleHiddenEncoding:  {"this client_encoding is not allowed", "Use an encoding whose multi-byte characters hold no ASCII bytes, such as UTF8."},
	RuleHiddenSettings:  {"pg_settings cannot be written to, nor stand in a view or a rule, and nothing else can be called so", "Use SET to change a setting; reading pg_settings is allowed."},

	RuleRoleAlter:       {"roles cannot be altered", hintRole},
	RuleRoleCreate:      {"roles cannot be created", hintRole},
	RuleRoleDrop:        {"roles, and what they own, cannot be dropped or reassigned", hintRole},
	RuleRoleDatabase:    {"databases cannot be altered", hintRole},
	RuleRoleSystem:      {"ALTER SYSTEM is not allowed", hintRole},
	RuleRoleTwoPhase:    {"two-phase commit is not allowed", hintRole},
	RuleRoleTerminate:   {"backends and the server's configuration cannot be signalled", "To cancel a statement of this session, use a cancel request. " + hintRole},
	RuleRoleSet:         {"the role of the session cannot be changed", hintRole},
	RuleRoleReplication: {"session_replication_role cannot be changed", hintRole},

	RuleChannelsListen: {"LISTEN and UNLISTEN are not allowed", hintChannels},
	RuleChannelsNotify: {"NOTIFY is not allowed", hintChannels},
	RuleChannelsObject: {"large objects are not allowed", hintChannels},

	RuleUnreadable: {"the statement cannot be examined", "Use dollar-quote tags of at most 256 bytes."},
}

// Message returns the text for a client, without anything of its statement.
func (r Rule) Message() string { return ruleTexts[r].message }

// Hint returns the way out, for the hint of the same error.
func (r Rule) Hint() string { return ruleTexts[r].hint }
