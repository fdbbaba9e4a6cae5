package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/tenantgate/tenantgate/session"
)

// checked is one line of the check command's report.
type checked struct {
	item string // a key path
	err  error  // nil: ok
	warn string // what is no error and yet should be known
}

// runCheck prints the effective configuration with secrets redacted, then one
// line for everything that was tried: the configuration itself, the JWKS, and
// every database with its role.
func runCheck(args []string, stdout, stderr io.Writer) int {
	flags := newFlags("check", "-config FILE", stderr)
	path := flags.String("config", "", "configuration `FILE`")
	if code, ok := parseFlags(flags, args, stdout); !ok {
		return code
	}
	if *path == "" {
		return usageError(flags, "-config is required")
	}
	l, err := load(*path, stderr)
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

	code := exitOK
	for _, c := range append([]checked{{item: "configuration"}}, l.examine(context.Background())...) {
		if c.err != nil {
			code = exitFailure
			fmt.Fprintf(stdout, "FAIL %s: %s\n", c.item, strings.TrimPrefix(c.err.Error(), c.item+": "))
			continue
		}
		fmt.Fprintf(stdout, "ok   %s\n", c.item)
		if c.warn != "" {
			fmt.Fprintf(stdout, "WARN %s: %s\n", c.item, c.warn)
		}
	}
	fmt.Fprintln(stdout, "\nnote:", unsealed)
	return code
}

// examine reaches out to everything that the configuration names.
func (l *loaded) examine(ctx context.Context) []checked {
	items := l.examineDatabases(ctx)
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
			forgeable, err := session.Examine(ctx, l.server.Databases[name].DialConfig, l.server.Context)
			if err != nil {
				err = fmt.Errorf("databases.%s: %w", name, err)
			}
			items[i] = checked{"databases." + name, err, warnForgeable(forgeable)}
		})
	}
	all.Wait()
	return items
}

// warnForgeable words what it means that policies decide by settings which the
// context does not enter.
func warnForgeable(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "policies read " + strings.Join(names, ", ") + ", which tenantgate does not set: every client can set it to what it likes; " +
		"list it in context.settings"
}
