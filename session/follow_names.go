package session

import (
	"math/bits"
	"strings"

	"github.com/tenantgate/tenantgate/wire"
)

// ordinary are the settings that are followed, sorted: what any client may set, what
// means the same on every backend of the database, and what leaves nothing behind but
// its value. Not among them are
//   - those that are reserved, or only a superuser may set;
//   - the settings of a transaction (transaction_isolation), and seed;
//   - those that may name what is gone tomorrow: default_tablespace, temp_tablespaces,
//     default_table_access_method, default_text_search_config;
//   - idle_session_timeout, which would end the connections of the pool, and
//     default_transaction_deferrable, which lets every statement of the proxy's wait;
//   - temp_buffers, which cannot be changed back, and those by which a statement is
//     read when it is prepared: backslash_quote, transform_null_equals;
//   - those of extensions and applications, which have a dot in their names.
var ordinary = [...]string{
	"application_name", "array_nulls", "bytea_output", "check_function_bodies", "client_connection_check_interval",
	"client_encoding", "client_min_messages", "commit_delay", "commit_siblings", "constraint_exclusion",
	"cpu_index_tuple_cost", "cpu_operator_cost", "cpu_tuple_cost", "cursor_tuple_fraction", "datestyle",
	"default_statistics_target", "default_toast_compression", "default_transaction_isolation", "default_transaction_read_only",
	"effective_cache_size", "effective_io_concurrency",
	"enable_async_append", "enable_bitmapscan", "enable_distinct_reordering", "enable_gathermerge", "enable_group_by_reordering",
	"enable_hashagg", "enable_hashjoin", "enable_incremental_sort", "enable_indexonlyscan", "enable_indexscan",
	"enable_material", "enable_memoize", "enable_mergejoin", "enable_nestloop", "enable_parallel_append",
	"enable_parallel_hash", "enable_partition_pruning", "enable_partitionwise_aggregate", "enable_partitionwise_join",
	"enable_presorted_aggregate", "enable_self_join_elimination", "enable_seqscan", "enable_sort", "enable_tidscan",
	"escape_string_warning", "extra_float_digits", "from_collapse_limit",
	"geqo", "geqo_effort", "geqo_generations", "geqo_pool_size", "geqo_seed", "geqo_selection_bias", "geqo_threshold",
	"gin_fuzzy_search_limit", "gin_pending_list_limit", "hash_mem_multiplier", "idle_in_transaction_session_timeout", "intervalstyle",
	"jit", "jit_above_cost", "jit_inline_above_cost", "jit_optimize_above_cost", "join_collapse_limit",
	"lc_monetary", "lc_numeric", "lc_time", "lock_timeout", "maintenance_io_concurrency", "maintenance_work_mem",
	"max_parallel_maintenance_workers", "max_parallel_workers", "max_parallel_workers_per_gather",
	"min_parallel_index_scan_size", "min_parallel_table_scan_size", "parallel_leader_participation",
	"parallel_setup_cost", "parallel_tuple_cost", "plan_cache_mode", "quote_all_identifiers", "random_page_cost",
	"recursive_worktable_factor", "search_path", "seq_page_cost", "standard_conforming_strings", "statement_timeout",
	"synchronize_seqscans", "synchronous_commit", "timezone", "timezone_abbreviations", "transaction_timeout",
	"work_mem", "xmlbinary", "xmloption",
}

// settingSet is a set of ordinary settings, by their places, with three bits more.
type settingSet [2]uint64

var (
	settingsAll   = settingSet{1: 1 << 63}                          // all that was set may be what it was
	settingsBack  = settingSet{1: 1 << 62}                          // some of them may have been reset
	settingsLocal = settingSet{1: 1 << 61}                          // one of the reading ones has another value until the transaction ends
	settingsReal  = settingSet{^uint64(0), ^uint64(0) &^ (7 << 61)} // the settings themselves
)

// reading are the settings by which PostgreSQL reads the text of a statement and its
// constants when it is prepared, and those that functions read which it evaluates when
// it plans. search_path is none of them: when it changes a prepared
// statement is analysed again.
var reading = [...]string{
	"array_nulls", "bytea_output", "client_encoding", "datestyle", "extra_float_digits", "intervalstyle", "lc_monetary",
	"quote_all_identifiers", "standard_conforming_strings", "timezone", "timezone_abbreviations", "xmloption",
}

// settingsReading are those, and settingsRead what says that one of them may have
// another value than the session is entered with.
var settingsReading, settingsRead = func() (s, also settingSet) {
	for _, name := range reading {
		s = s.or(settingOf(name))
	}
	return s, s.or(settingsAll).or(settingsLocal)
}()

// readings tells how settings have PostgreSQL read statements.
func readings(settings []wire.Param) string {
	var b strings.Builder
	for _, p := range settings {
		if name := strings.ToLower(p.Name); settingOf(name).has(settingsReading) {
			b.WriteString(name + "=" + p.Value + "\x00")
		}
	}
	return b.String()
}

// ordinaryPlaces are the sets of one, by name.
var ordinaryPlaces = func() map[string]settingSet {
	places := map[string]settingSet{}
	for i, name := range ordinary {
		var s settingSet
		s[i/64] = 1 << (i % 64)
		places[name] = s
	}
	return places
}()

// settingOf is the set of that setting (lower case): empty if it is not an ordinary one.
func settingOf(name string) settingSet { return ordinaryPlaces[name] }

func (s settingSet) none() bool                  { return s == settingSet{} }
func (s settingSet) or(o settingSet) settingSet  { return settingSet{s[0] | o[0], s[1] | o[1]} }
func (s settingSet) and(o settingSet) settingSet { return settingSet{s[0] & o[0], s[1] & o[1]} }

// has says that s holds some of o.
func (s settingSet) has(o settingSet) bool { return !s.and(o).none() }

// names lists the settings, sorted.
func (s settingSet) names() (names []string) {
	s = s.and(settingsReal)
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			names = append(names, ordinary[64*i+bits.TrailingZeros64(w)])
		}
	}
	return names
}
