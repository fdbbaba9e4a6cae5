// Command tenantgate is a PostgreSQL proxy that logs clients in with a tenant
// token and enters the token's tenant on the backend, so that Row-Level
// Security holds for every client. Run `tenantgate help` for its commands.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
)

// version is set when a release is linked (-ldflags "-X main.version=…").
var version = "devel"

// The exit codes of every command.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// command is one subcommand. run gets the arguments behind its name and
// returns the exit code.
type command struct {
	name, summary string
	run           func(args []string, stdout, stderr io.Writer) int
}

// commands are all subcommands, in the order of the help text.
var commands = []command{
	{"serve", "run the proxy", runServe},
	{"check", "check the configuration, the keys and every database", runCheck},
	{"token", "sign a token for a tenant", runToken},
	{"audit", "examine a schema: what does not keep tenants apart, and the SQL that mends it", runAudit},
	{"seal", "make a seal key, print the SQL that seals a database, examine it", runSeal},
	{"demo", "run a throw-away PostgreSQL with two tenants and the proxy in front", runDemo},
	{"version", "print the version", runVersion},
}

func main() {
	if err := forgetLibpqEnvironment(); err != nil {
		fmt.Fprintln(os.Stderr, "tenantgate:", err)
		os.Exit(exitFailure)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run dispatches to a subcommand and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		printHelp(stderr)
		return exitUsage
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		printHelp(stdout)
		return exitOK
	}
	names := make([]string, 0, len(commands))
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(args[1:], stdout, stderr)
		}
		names = append(names, c.name)
	}
	fmt.Fprintf(stderr, "tenantgate: there is no command %q", args[0])
	if near := closest(args[0], names); near != "" {
		fmt.Fprintf(stderr, "; did you mean %s?", near)
	}
	fmt.Fprintln(stderr, "\nRun `tenantgate help` for the commands.")
	return exitUsage
}

// printHelp lists the commands.
func printHelp(w io.Writer) {
	fmt.Fprint(w, "tenantgate: PostgreSQL, one tenant at a time\n\nusage: tenantgate COMMAND [flags]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\n`tenantgate COMMAND -h` lists the flags of a command.\n")
}

// newFlags returns the flag set of a command; synopsis shows its arguments.
func newFlags(name, synopsis string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: tenantgate %s %s\n\n", name, synopsis)
		flags.PrintDefaults()
	}
	return flags
}

// parseFlags parses args, which must be flags only. With ok false the command
// ends with code: the user asked for help, or got it wrong and has been told.
func parseFlags(flags *flag.FlagSet, args []string, stdout io.Writer) (code int, ok bool) {
	stderr := flags.Output()
	flags.SetOutput(io.Discard) // it would print the usage behind every error
	err := flags.Parse(args)
	flags.SetOutput(stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(stdout)
		flags.Usage()
		return exitOK, false
	case err != nil:
		return usageError(flags, "%v", err), false
	case flags.NArg() > 0:
		return usageError(flags, "unexpected argument %q", flags.Arg(0)), false
	}
	return exitOK, true
}

// parsePath is parseFlags for a command that takes -config and nothing else, and
// returns what that names.
func parsePath(name string, args []string, stdout, stderr io.Writer) (path string, code int, ok bool) {
	flags := newFlags(name, "-config FILE", stderr)
	flags.StringVar(&path, "config", "", "configuration `FILE`")
	if code, ok := parseFlags(flags, args, stdout); !ok {
		return "", code, false
	}
	if path == "" {
		return "", usageError(flags, "-config is required"), false
	}
	return path, exitOK, true
}

// usageError says what is wrong with the arguments, and where it stands how they
// go.
func usageError(flags *flag.FlagSet, format string, args ...any) int {
	fmt.Fprintf(flags.Output(), format+"\n", args...)
	fmt.Fprintf(flags.Output(), "See `tenantgate %s -h`.\n", flags.Name())
	return exitUsage
}

// fail prints why a command failed.
func fail(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, err)
	return exitFailure
}

// runVersion prints the version and what it was built with.
func runVersion(args []string, stdout, stderr io.Writer) int {
	flags := newFlags("version", "", stderr)
	if code, ok := parseFlags(flags, args, stdout); !ok {
		return code
	}
	fmt.Fprintf(stdout, "tenantgate %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitOK
}
