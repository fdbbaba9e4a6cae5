package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/proxy"
	"github.com/tenantgate/tenantgate/session"
)

// unsealed is said wherever an operator looks: what the proxy cannot stop.
const unsealed = "the context is not sealed: the guard is a filter, and a client that gets SQL past it can forge its tenant"

// runServe runs the proxy until it is told to stop. SIGHUP reloads the
// configuration, SIGTERM and SIGINT drain, a second one ends at once.
func runServe(args []string, stdout, stderr io.Writer) int {
	path, code, ok := parsePath("serve", args, stdout, stderr)
	if !ok {
		return code
	}
	// Before anything can take time: a signal during start-up is not lost.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	logs := newLogQueue(stderr)
	defer logs.Close()
	l, err := load(path, logs)
	if err != nil {
		return fail(stderr, err)
	}
	if err := l.refuseUnsafe(); err != nil {
		return fail(stderr, err)
	}
	server, err := proxy.New(l.server)
	if err != nil {
		return fail(stderr, fmt.Errorf("starting: %w", err))
	}
	s := &serving{server: server, path: path, logs: logs, log: l.server.Log}
	l.announce(s.log)
	s.refresh(l.verifier)
	defer func() { s.endRefresh() }() // the last one, after reloads
	s.audit(l, l.reached)()           // before anybody can look at the metrics
	defer func() { s.endAudit() }()

	over := make(chan error)
	go func() { over <- server.Serve(context.Background()) }()
	go func() {
		<-server.Listening()
		s.tell("READY=1")
	}()
	err = s.obey(signals, over)
	if err != nil {
		s.log.Error("the proxy has stopped", "error", err)
		return exitFailure
	}
	s.log.Info("the proxy has stopped")
	return exitOK
}

// serving is a running proxy and what it was started from.
type serving struct {
	server     *proxy.Server
	path       string    // of the configuration file
	logs       io.Writer // where logs go
	log        *slog.Logger
	endRefresh func() // ends what refresh began
	endAudit   func() // ends what audit began
}

// obey acts on signals until Serve has returned, which over tells.
func (s *serving) obey(signals <-chan os.Signal, over <-chan error) error {
	draining := false
	for {
		var got os.Signal
		select {
		case err := <-over:
			return err
		case got = <-signals:
		}
		switch {
		case got == syscall.SIGHUP:
			s.reload()
		case !draining:
			draining = true
			s.log.Info("draining: no new clients; a second signal ends at once", "signal", got.String())
			s.tell("STOPPING=1")
			s.server.Drain()
		default:
			s.log.Warn("ending at once", "signal", got.String())
			s.server.Close()
		}
	}
}

// reload reads the configuration again. One that does not pass leaves the
// running configuration in force.
func (s *serving) reload() {
	l, err := load(s.path, s.logs)
	if err != nil {
		s.server.ReloadFailed()
	} else {
		err = s.server.Reload(l.server)
	}
	if err != nil {
		s.log.Error("the configuration was not reloaded, the previous one stays in force", "error", err)
		return
	}
	s.log = l.server.Log
	s.log.Info("the configuration was reloaded")
	l.announce(s.log)
	s.refresh(l.verifier)
	s.audit(l, sortedKeys(l.server.Databases))
}

// refresh keeps the keys and revocations of verifier fresh, and no longer those
// of the verifier before it.
func (s *serving) refresh(verifier *auth.Verifier) {
	if s.endRefresh != nil {
		s.endRefresh()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { verifier.Run(ctx) })
	s.endRefresh = func() {
		cancel()
		running.Wait()
	}
}

// tell tells the service manager. That it cannot be told is no reason to stop.
func (s *serving) tell(state string) {
	if err := notify(state); err != nil {
		s.log.Warn("the service manager was not told", "error", err)
	}
}

// refuseUnsafe examines the role of every database that can be reached and
// returns those that row security does not bind. One that cannot be reached now
// does not hold up the others: its role is examined at every connection. Those
// that answered are in l.reached then.
func (l *loaded) refuseUnsafe() error {
	var unsafe []error
	for _, db := range l.examineDatabases(context.Background()) {
		if db.err == nil {
			l.reached = append(l.reached, strings.TrimPrefix(db.item, "databases."))
		}
		switch {
		case errors.Is(db.err, session.ErrUnsafeRole):
			unsafe = append(unsafe, db.err)
		case db.err != nil:
			l.server.Log.Warn("a database does not answer as it should, its clients will be refused", "error", db.err)
		case db.seal.Key != "":
			l.server.Log.Info("the database is sealed", "key", db.item, "version", db.seal.Version, "key_id", db.seal.Key,
				"tables", len(db.seal.Tables), "not_sealed", len(db.seal.Open()))
		}
		if db.note != "" {
			l.server.Log.Info("the guard lets hidden SQL through", "key", db.item, "detail", db.note)
		}
		for _, w := range append(db.fail, db.warn...) {
			l.server.Log.Warn("a database needs attention", "key", db.item, "detail", w)
		}
	}
	return errors.Join(unsafe...)
}

// announce logs what an operator must know about this configuration.
func (l *loaded) announce(log *slog.Logger) {
	if l.file.Context.Seal.KeyID == "" {
		log.Warn(unsealed)
	}
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
