package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tenantgate/tenantgate/session"
)

// sealCommands are the subcommands of seal.
var sealCommands = []command{
	{"keygen", "print a new key", runSealKeygen},
	{"sql", "print the SQL that seals the database, for psql", runSealSQL},
	{"status", "say whether the databases are sealed", runSealStatus},
}

// runSeal dispatches to a subcommand of seal.
func runSeal(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		for _, c := range sealCommands {
			if c.name == args[0] {
				return c.run(args[1:], stdout, stderr)
			}
		}
	}
	out, code := stderr, exitUsage
	if len(args) > 0 && slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		out, code = stdout, exitOK
	}
	fmt.Fprint(out, "usage: tenantgate seal COMMAND [flags]\n\n")
	for _, c := range sealCommands {
		fmt.Fprintf(out, "  %-9s %s\n", c.name, c.summary)
	}
	return code
}

// runSealKeygen prints a new key.
func runSealKeygen(args []string, stdout, stderr io.Writer) int {
	flags := newFlags("seal keygen", "> KEY_FILE", stderr)
	if code, ok := parseFlags(flags, args, stdout); !ok {
		return code
	}
	fmt.Fprintln(stdout, session.GenerateSealKey())
	return exitOK
}

// sealRequest is what the flags of seal sql ask for.
type sealRequest struct {
	column string // of the tenant
	admin  string // setting; empty: the one that is called so
	keys   bool   // the key only: no table is protected
	remove bool
}

// runSealSQL prints the script that installs, upgrades or removes the seal.
func runSealSQL(args []string, stdout, stderr io.Writer) int {
	var r sealRequest
	flags := newFlags("seal sql", "-config FILE [-tenant-column NAME] [-admin-setting NAME] [-keys-only | -remove] | psql …", stderr)
	path := flags.String("config", "", "configuration `FILE`")
	flags.StringVar(&r.column, "tenant-column", "tenant_id", "`NAME` of the column that holds the tenant; tables without it are left alone")
	flags.StringVar(&r.admin, "admin-setting", "", "the context's setting `NAME` that is 'true' for administrators, or none (default: the one that is called ….is_admin)")
	flags.BoolVar(&r.keys, "keys-only", false, "bring in the schema and the key and protect no table yet: for proxies that are running")
	flags.BoolVar(&r.remove, "remove", false, "print the SQL that takes the seal away")
	if code, ok := parseFlags(flags, args, stdout); !ok {
		return code
	}
	switch {
	case *path == "":
		return usageError(flags, "-config is required")
	case r.keys && r.remove:
		return usageError(flags, "-keys-only and -remove exclude each other")
	}
	l, err := load(*path, stderr)
	if err != nil {
		return fail(stderr, err)
	}
	script, err := r.script(l)
	if err != nil {
		return fail(stderr, err)
	}
	if _, err := io.WriteString(stdout, script); err != nil {
		return fail(stderr, err)
	}
	return exitOK
}

// script is the whole text for psql. It holds the key: COPY is how it gets in,
// because neither logs nor pg_stat_statements show the rows of a COPY.
func (r *sealRequest) script(l *loaded) (string, error) {
	if r.remove {
		return sealRemoval, nil
	}
	key := l.file.Context.Seal.key
	if key == (session.SealKey{}) {
		return "", errors.New("context.seal: no key is configured; make one with `tenantgate seal keygen > FILE` and set key_id and key_file")
	}
	admin, err := r.adminSetting(l.server.Context)
	if err != nil {
		return "", err
	}
	var names []string
	for _, n := range l.server.Context.Names() {
		names = append(names, literal(n))
	}
	inner, outer := key.Pads()
	script := session.SealSQL() + fmt.Sprintf(sealConfiguration, strings.Join(names, ", "), admin, key.ID(), inner, outer)
	if !r.keys {
		script += fmt.Sprintf(sealTables, literal(r.column))
	}
	return script, nil
}

// adminSetting is the setting that tells administrators, as an SQL literal.
func (r *sealRequest) adminSetting(spec *session.ContextSpec) (string, error) {
	for _, s := range spec.Settings {
		name := strings.ToLower(s.Name)
		if name == strings.ToLower(r.admin) || r.admin == "" && strings.HasSuffix(name, ".is_admin") {
			return literal(name), nil
		}
	}
	if r.admin == "" || r.admin == "none" {
		return "NULL", nil
	}
	return "", fmt.Errorf("-admin-setting: %q is not in context.settings", r.admin)
}

// literal quotes text for SQL with standard_conforming_strings on.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// sealConfiguration follows the installation: the settings and the key.
const sealConfiguration = `
-- 12. The configuration: the settings, and the key.
DO $$ BEGIN PERFORM tenantgate.configure(ARRAY[%[1]s], %[2]s); END $$;
CREATE TABLE tenantgate.new_key (kid text, ipad bytea, opad bytea);
REVOKE ALL ON tenantgate.new_key FROM PUBLIC;
COPY tenantgate.new_key FROM stdin;
%[3]s	\\x%[4]x	\\x%[5]x
\.
DO $$ BEGIN PERFORM tenantgate.add_key_pads(kid, ipad, opad) FROM tenantgate.new_key; END $$;
DROP TABLE tenantgate.new_key;
COMMIT;
`

// sealTables comes last: one short transaction for each table that is not
// protected yet.
const sealTables = `
-- 13. The tables, each in a transaction of its own, so that no lock is held for long.
\pset tuples_only on
\pset format unaligned
SET standard_conforming_strings = on;
SET lock_timeout = '10s';
SELECT format('SELECT tenantgate.protect(%%L, %%L)', r, %[1]s) FROM tenantgate.protectable(%[1]s) r \gexec
SELECT item || ': ' || detail FROM tenantgate.status() WHERE NOT ok;
`

// sealRemoval takes the seal away. What else was built on the readers is named
// and stops it: a policy that goes away silently may have been all there was.
const sealRemoval = `-- Takes the seal of tenantgate away. From then on the other policies decide alone, by settings that can be forged.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SET LOCAL client_min_messages = warning;
DO $$
DECLARE
  users text;
  r regclass;
BEGIN
  IF to_regnamespace('tenantgate') IS NULL THEN
    RETURN; -- taken away already
  END IF;
  SELECT string_agg(DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), ', ') INTO users
    FROM pg_depend d JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
    WHERE p.pronamespace = to_regnamespace('tenantgate')
      AND NOT (d.classid = 'pg_proc'::regclass AND EXISTS (SELECT FROM pg_proc q WHERE q.oid = d.objid AND q.pronamespace = p.pronamespace))
      AND NOT (d.classid = 'pg_policy'::regclass AND EXISTS (SELECT FROM pg_policy q WHERE q.oid = d.objid AND q.polname = 'tenantgate_seal'));
  IF users IS NOT NULL THEN
    RAISE EXCEPTION 'tenantgate: still in use by %', users;
  END IF;
  FOR r IN SELECT p.polrelid FROM pg_policy p WHERE p.polname = 'tenantgate_seal' LOOP
    PERFORM tenantgate.unprotect(r);
  END LOOP;
  DROP SCHEMA tenantgate CASCADE;
  IF EXISTS (SELECT FROM pg_language l, aclexplode(l.lanacl) a, pg_roles o WHERE a.grantee = o.oid AND o.rolname = 'tenantgate_owner') THEN
    BEGIN
      REVOKE ALL ON LANGUAGE sql, plpgsql FROM tenantgate_owner;
    EXCEPTION WHEN insufficient_privilege THEN
      NULL; -- a superuser has granted it, and the role stays
    END;
  END IF;
  BEGIN
    DROP ROLE tenantgate_owner;
  EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
    NULL; -- another database of this server is sealed
  END;
END $$;
COMMIT;
`

// runSealStatus examines every database.
func runSealStatus(args []string, stdout, stderr io.Writer) int {
	path, code, ok := parsePath("seal status", args, stdout, stderr)
	if !ok {
		return code
	}
	l, err := load(path, stderr)
	if err != nil {
		return fail(stderr, err)
	}
	for _, c := range l.examineDatabases(context.Background()) {
		c.printSeal(stdout)
		if c.err != nil || !c.seal.Whole() {
			code = exitFailure
		}
	}
	return code
}

// printSeal says of one database whether it is sealed, and what to do.
func (c *checked) printSeal(w io.Writer) {
	s := &c.seal
	switch {
	case c.err != nil:
		fmt.Fprintf(w, "%s: %v\n", c.item, strings.TrimPrefix(c.err.Error(), c.item+": "))
	case s.Version == 0:
		fmt.Fprintf(w, "%s: not sealed; run tenantgate seal sql\n", c.item)
	case s.Key == "":
		fmt.Fprintf(w, "%s: sealed, and context.seal names no key\n", c.item)
	case len(s.Tables) == 0:
		fmt.Fprintf(w, "%s: sealed, and no table has row security\n", c.item)
	case s.Whole():
		fmt.Fprintf(w, "%s: sealed\n", c.item)
	default:
		fmt.Fprintf(w, "%s: sealed in part\n", c.item)
	}
	if s.Version == 0 {
		return
	}
	fmt.Fprintf(w, "  version   %d\n  keys      %s\n  settings  %s\n", s.Version, marked(s.Keys, s.Key), strings.Join(s.Settings, ", "))
	for _, t := range s.Tables {
		fmt.Fprintf(w, "  %-12s  %s\n", t.State, t.Name)
		if t.State == "open" {
			fmt.Fprintf(w, "                as the owner: SELECT tenantgate.protect(%s, 'COLUMN OF THE TENANT');\n", literal(t.Name))
		}
		if t.State == "open child" {
			fmt.Fprintf(w, "                as the owner: REVOKE ALL ON %s FROM the backend role and PUBLIC, or give it row security and protect it too\n", t.Name)
		}
	}
	for _, e := range s.Excess {
		fmt.Fprintf(w, "  rights    %s; run tenantgate seal sql again\n", e)
	}
	for _, o := range s.Creates {
		fmt.Fprintf(w, "  rights    the backend role may create functions for others in the %s; %s\n", o, revokeCreate(o))
	}
}

// revokeCreate is the way out where the backend role may create objects.
func revokeCreate(in string) string {
	kind, name, _ := strings.Cut(in, " ")
	return "REVOKE CREATE ON " + strings.ToUpper(kind) + " " + name + " FROM PUBLIC, and from the role"
}

// marked lists the keys and marks the configured one.
func marked(keys []string, own string) string {
	var all []string
	for _, k := range keys {
		if k == own {
			k += " (configured)"
		}
		all = append(all, k)
	}
	return strings.Join(all, ", ")
}
