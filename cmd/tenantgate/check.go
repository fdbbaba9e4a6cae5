package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/tenantgate/tenantgate/proxy"
)

// checked is one line of the check command's report.
type checked struct {
	item string // a key path
	err  error  // nil: ok
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
	}
	fmt.Fprintln(stdout, "\nnote:", unsealed)
	return code
}

// examine reaches out to everything that the configuration names, all of it at
// the same time.
func (l *loaded) examine(ctx context.Context) []checked {
	var items []checked
	var tasks []func() error
	add := func(item string, task func() error) {
		items = append(items, checked{item: item})
		tasks = append(tasks, task)
	}
	if url := l.file.Auth.JWKS.URL; url != "" {
		add("auth.jwks.url", func() error { return l.verifier.Fetch(ctx) })
	}
	for _, name := range sortedKeys(l.server.Databases) {
		add("databases."+name, func() error {
			return proxy.Examine(ctx, name, l.server.Databases[name], l.server.Context)
		})
	}
	var all sync.WaitGroup
	for i, task := range tasks {
		all.Go(func() { items[i].err = task() })
	}
	all.Wait()
	return items
}
