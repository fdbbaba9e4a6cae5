package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/tenantgate/tenantgate/audit"
	"github.com/tenantgate/tenantgate/session"
)

// checked is one line of the check command's report.
type checked struct {
	item string   // a key path
	err  error    // nil: it answers as it should
	fail []string // errors that the audit's rules find in a database that answers
	warn []string // what is no error and yet should be known
	note string   // what follows from how things stand
	seal session.SealState
}

// runCheck prints the effective configuration with secrets redacted, then one
// line for everything that was tried: the configuration itself, the JWKS, and
// every database with its role.
func runCheck(args []string, stdout, stderr io.Writer) int {
	path, code, ok := parsePath("check", args, stdout, stderr)
	if !ok {
		return code
	}
	l, err := load(path, stderr)
	if err != nil {
		fmt.Fprintln(stdout, "FAIL configuration")
		return fail(stderr, err)
	}
	effective := yaml.NewEncoder(stdout)
	effective.SetIndent(2)
	if err := effective.Encode(l.file); err != nil {
		return fail(stderr, err)
	}
	fmt.Fprintln(stdout)

	for _, c := range append([]checked{{item: "configuration"}}, l.examine(context.Background())...) {
		if c.err != nil {
			code = exitFailure
			fmt.Fprintf(stdout, "FAIL %s: %s\n", c.item, strings.TrimPrefix(c.err.Error(), c.item+": "))
			continue
		}
		for _, f := range c.fail {
			code = exitFailure
			fmt.Fprintf(stdout, "FAIL %s: %s\n", c.item, f)
		}
		if len(c.fail) == 0 {
			fmt.Fprintf(stdout, "ok   %s\n", c.item)
		}
		for _, w := range c.warn {
			fmt.Fprintf(stdout, "WARN %s: %s\n", c.item, w)
		}
		if c.note != "" {
			fmt.Fprintf(stdout, "note %s: %s\n", c.item, c.note)
		}
	}
	if l.file.Context.Seal.KeyID == "" {
		fmt.Fprintln(stdout, "\nnote:", unsealed)
	}
	if code == exitOK {
		fmt.Fprintln(stdout, "\nThe tables and policies are examined by `tenantgate audit`.")
	}
	return code
}

// examine reaches out to everything that the configuration names.
func (l *loaded) examine(ctx context.Context) []checked {
	items := l.examineDatabases(ctx)
	l.examineSchema(ctx, items)
	if l.file.Auth.JWKS.URL != "" {
		items = append([]checked{{item: "auth.jwks.url", err: l.verifier.Fetch(ctx)}}, items...)
	}
	return items
}

// examineDatabases connects to every database, all at the same time, and
// examines the role there. It takes server_connect_timeout at most.
func (l *loaded) examineDatabases(ctx context.Context) []checked {
	names := sortedKeys(l.server.Databases)
	items := make([]checked, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			found, err := session.Examine(ctx, l.server.Databases[name].DialConfig, l.server.Context)
			if err != nil {
				err = fmt.Errorf("databases.%s: %w", name, err)
			}
			items[i] = checked{item: "databases." + name, err: err, seal: found.Seal}
			if err == nil {
				items[i].sayForgeable(&found)
				items[i].saySeal(&found.Seal)
				if found.Seal.Whole() && l.server.Guard.HiddenSealed == session.GuardOff {
					items[i].note = hiddenOff
				}
			}
		})
	}
	all.Wait()
	return items
}

// examineSchema adds what the audit's rules about the role and the seal find in
// every database that answers.
func (l *loaded) examineSchema(ctx context.Context, items []checked) {
	var names []string
	for _, i := range items {
		if i.err == nil {
			names = append(names, strings.TrimPrefix(i.item, "databases."))
		}
	}
	for _, a := range l.auditRoles(ctx, names) {
		for i := range items {
			if items[i].item != a.item() {
				continue
			}
			for _, f := range a.unsaid() {
				line := f.Rule.ID + " " + f.Rule.Level.String() + ": " + f.Rule.Title + ": " + f.Kind + " " + f.Name() + ": " + f.Evidence
				insisted := l.server.Databases[a.name].AllowUnsafeRole && slices.Contains(unsafeRules, f.Rule.ID)
				if f.Rule.Level == audit.LevelError && !insisted {
					items[i].fail = append(items[i].fail, line)
				} else {
					items[i].warn = append(items[i].warn, line)
				}
			}
			if a.err != nil {
				items[i].warn = append(items[i].warn, "it could not be audited: "+a.err.Error())
			}
		}
	}
}

// sayForgeable words what it means that policies decide by settings which the
// context does not enter. In a database that is sealed whole they reach no other
// tenant, and that is no error.
func (c *checked) sayForgeable(found *session.Findings) {
	if len(found.Forgeable) == 0 {
		return
	}
	what := "policies read " + strings.Join(found.Forgeable, ", ") + ", which tenantgate does not set: every client can set it to what it likes"
	const mend = "; list it in context.settings"
	if found.Seal.Whole() {
		c.warn = append(c.warn, what+", though within its tenant only"+mend)
	} else {
		c.fail = append(c.fail, what+mend)
	}
}

// hiddenOff says what a client may do where hidden_sql is off because the
// database is sealed whole.
const hiddenOff = "sealed whole, so context.guard.hidden_sql is off: DO and functions of a client's own forge no tenant, " +
	"but by them any client can run what shared_role refuses, ALTER ROLE CURRENT_USER for one, and lock every tenant out until a DBA undoes it; " +
	"with clients that write their own SQL set hidden_sql: enforce"

// saySeal words what keeps a database from being sealed whole.
func (c *checked) saySeal(s *session.SealState) {
	switch {
	case s.Version == 0:
		return
	case s.Key == "":
		c.warn = append(c.warn, "the database is sealed and context.seal names no key: its sealed tables show no rows")
		return
	}
	if len(s.Tables) == 0 {
		c.warn = append(c.warn, "the database is sealed and no table has row security: the seal protects nothing")
	}
	if open := s.Open(); len(open) > 0 {
		c.warn = append(c.warn, "not sealed, so that a client with SQL access can forge its tenant there: "+strings.Join(open, ", ")+
			"; see tenantgate seal status")
	}
	if len(s.Creates) > 0 {
		c.warn = append(c.warn, "not sealed whole: the backend role may create functions that the sessions of other tenants call, in the "+
			strings.Join(s.Creates, ", the ")+"; "+revokeCreate(s.Creates[0]))
	}
	if len(s.Excess) > 0 {
		c.fail = append(c.fail, "somebody can get at the seal itself: "+strings.Join(s.Excess, ", ")+"; run tenantgate seal sql again")
	}
}
