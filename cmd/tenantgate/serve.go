package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/tenantgate/tenantgate/proxy"
)

// unsealed is said wherever an operator looks: what the proxy cannot stop.
const unsealed = "the context is not sealed: the guard is a filter, and a client that gets SQL past it can forge its tenant"

// runServe runs the proxy until it is told to stop. SIGHUP reloads the
// configuration, SIGTERM and SIGINT drain, a second one ends at once.
func runServe(args []string, stdout, stderr io.Writer) int {
	flags := newFlags("serve", "-config FILE", stderr)
	path := flags.String("config", "", "configuration `FILE`")
	if code, ok := parseFlags(flags, args, stdout); !ok {
		return code
	}
	if *path == "" {
		return usageError(flags, "-config is required")
	}
	// Before anything can take time: a signal during start-up is not lost.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	l, err := load(*path, stderr)
	if err != nil {
		return fail(stderr, err)
	}
	log := l.server.Log
	server, err := proxy.New(l.server)
	if err != nil {
		return fail(stderr, fmt.Errorf("starting: %w", err))
	}
	l.announce(log)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go obey(ctx, signals, server, *path, stderr, log)
	told(log, notify("READY=1"))
	if err := server.Serve(ctx); err != nil {
		log.Error("the proxy has stopped", "error", err)
		return exitFailure
	}
	log.Info("the proxy has stopped")
	return exitOK
}

// obey acts on signals until ctx ends.
func obey(ctx context.Context, signals <-chan os.Signal, server *proxy.Server, path string, stderr io.Writer, log *slog.Logger) {
	draining := false
	for {
		var s os.Signal
		select {
		case <-ctx.Done():
			return
		case s = <-signals:
		}
		switch {
		case s == syscall.SIGHUP:
			reload(server, path, stderr, log)
		case !draining:
			draining = true
			log.Info("draining: no new clients; a second signal ends at once", "signal", s.String())
			told(log, notify("STOPPING=1"))
			server.Drain()
		default:
			log.Warn("ending at once", "signal", s.String())
			_ = server.Close() // Serve returns what matters
		}
	}
}

// reload reads the configuration again. One that does not pass leaves the
// running configuration in force.
func reload(server *proxy.Server, path string, stderr io.Writer, log *slog.Logger) {
	l, err := load(path, stderr)
	if err == nil {
		err = server.Reload(l.server)
	}
	if err != nil {
		log.Error("the configuration was not reloaded, the previous one stays in force", "error", err)
		return
	}
	log.Info("the configuration was reloaded")
	l.announce(l.server.Log)
}

// announce logs what an operator must know about this configuration.
func (l *loaded) announce(log *slog.Logger) {
	log.Warn(unsealed)
	for _, name := range sortedKeys(l.server.Databases) {
		if l.server.Databases[name].AllowUnsafeRole {
			log.Warn("allow_unsafe_role is set: nothing isolates the tenants of this database", "database", name)
		}
	}
	if l.server.Listen.AllowPlaintextPassword {
		log.Warn("allow_plaintext_password is set: tokens may cross the network in clear text")
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		log.Warn("the limit of open files is unknown", "error", err)
		return
	}
	if need := l.filesNeeded(); need > files.Max {
		log.Warn("the limit of open files is too low for max_client_conn and the pools: clients will be refused before the limit; raise LimitNOFILE or ulimit -n",
			"limit", files.Max, "needed", need)
	}
}

// spareFiles are the descriptors beside clients and backends: listeners, event
// loops, logs, metrics scrapes and cancel connections.
const spareFiles = 64

// filesNeeded is how many descriptors the configured limits can take. The Go
// runtime has raised the soft limit to the hard one at start.
func (l *loaded) filesNeeded() uint64 {
	need := l.server.Limits.MaxClientConn + l.server.Limits.MaxUnauthenticated + spareFiles
	for _, db := range l.server.Databases {
		need += db.PoolSize
	}
	return uint64(need)
}

// told logs that the service manager could not be told.
func told(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("the service manager was not told", "error", err)
	}
}
