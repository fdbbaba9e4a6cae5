package audit

import (
	"cmp"
	"regexp"
	"strings"
)

// plainIdent is an identifier that needs no quotes unless it is a keyword.
var plainIdent = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// quoteIdent writes an identifier as quote_ident does, except that it leaves no
// keyword unquoted that could be read as something else.
func quoteIdent(name string) string {
	if plainIdent.MatchString(name) && !keywords[name] {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// quoteIdents writes a list of columns.
func quoteIdents(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quoteIdent(n)
	}
	return strings.Join(quoted, ", ")
}

// quoteLiteral writes a string constant, for any setting of
// standard_conforming_strings.
func quoteLiteral(text string) string {
	if strings.Contains(text, `\`) {
		return " E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

// keywords are the words that quote_ident quotes ("SQL Key Words" in the
// PostgreSQL documentation: every word but the unreserved ones).
var keywords = wordSet(`all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both
	case cast char character check coalesce collate collation column concurrently constraint create cross current_catalog current_date
	current_role current_schema current_time current_timestamp current_user dec decimal default deferrable desc distinct do else end
	except exists extract false fetch float for foreign freeze from full grant greatest group grouping having ilike in initially inner
	inout int integer intersect interval into is isnull join json json_array json_arrayagg json_exists json_object json_objectagg
	json_query json_scalar json_serialize json_table json_value lateral leading least left like limit localtime localtimestamp
	merge_action national natural nchar none normalize not notnull null nullif numeric offset on only or order out outer overlaps
	overlay placing position precision primary real references returning right row select session_user setof similar smallint some
	substring symmetric system_user table tablesample then time timestamp to trailing treat trim true union unique user using values
	varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse
	xmlpi xmlroot xmlserialize xmltable`)

// wordSet makes a set of words.
func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// compareNames orders names as people look for them: without regard to quotes.
func compareNames(a, b string) int {
	return cmp.Or(cmp.Compare(strings.ReplaceAll(a, `"`, ""), strings.ReplaceAll(b, `"`, "")), cmp.Compare(a, b))
}
