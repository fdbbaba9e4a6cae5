package main

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tenantgate/tenantgate/audit"
	"github.com/tenantgate/tenantgate/session"
)

// roleAudit is what the rules about the role and the seal have found in one
// database. err: it could not be examined.
type roleAudit struct {
	name     string // of the database
	findings []audit.Finding
	err      error
}

// item is the key path of the database.
func (a *roleAudit) item() string { return "databases." + a.name }

// auditRoles runs the rules about the role and the seal in the databases of
// these names, all at the same time. It takes server_connect_timeout twice at
// most.
func (l *loaded) auditRoles(ctx context.Context, names []string) []roleAudit {
	audits := make([]roleAudit, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			audits[i].name = name
			audits[i].findings, audits[i].err = auditRole(ctx, l.server.Databases[name].DialConfig, l.server.Context)
		})
	}
	all.Wait()
	return audits
}

// auditRole runs them in one database, as the role that its clients get.
func auditRole(ctx context.Context, dial session.DialConfig, spec *session.ContextSpec) ([]audit.Finding, error) {
	conn, err := connectAudit(ctx, dial)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing was changed
	ctx, cancel := context.WithTimeout(ctx, max(dial.ConnectTimeout, time.Second))
	defer cancel()
	names := lowered(spec.Names())
	catalog, err := audit.Read(ctx, conn, audit.Options{
		TenantSetting: names[0], Settings: names, SealVersion: session.SealVersion, Rules: audit.RoleRules(),
	})
	if err != nil {
		return nil, err
	}
	return audit.Run(catalog, nil).Findings, nil
}

// saidElsewhere are the rules whose findings Examine reports in its own words.
var saidElsewhere = []string{"TG043", "TG044", "TG045", "TG046"}

// unsafeRules are those that allow_unsafe_role is about: the powers of the role, its
// memberships and its tables.
var unsafeRules = []string{"TG026", "TG027", "TG028"}

// unsaid are the findings that Examine does not report.
func (a *roleAudit) unsaid() []audit.Finding {
	return slices.DeleteFunc(slices.Clone(a.findings), func(f audit.Finding) bool { return slices.Contains(saidElsewhere, f.Rule.ID) })
}

// counts are the findings by the word for their level; all levels are there.
func (a *roleAudit) counts() map[string]int {
	counts := map[string]int{}
	for _, level := range audit.Levels {
		counts[level.String()] = 0
	}
	for _, f := range a.findings {
		counts[f.Rule.Level.String()]++
	}
	return counts
}

// The pace of auditing databases that could not be audited yet: it doubles.
const (
	firstAuditPause = 2 * time.Second
	lastAuditPause  = time.Minute
)

// audit runs the rules about the role and the seal in the databases of these
// names, and then in the others and in those that did not answer, until each has
// been audited once. What they find is logged, and counted in the metrics. It does
// not wait; the function that it returns waits for the databases of these names.
// An audit that is still under way is broken off.
func (s *serving) audit(l *loaded, names []string) (wait func()) {
	if s.endAudit != nil {
		s.endAudit()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	first, log := make(chan struct{}), s.log
	running.Go(func() {
		var left []string
		for _, a := range l.auditRoles(ctx, names) {
			if a.err != nil && ctx.Err() == nil {
				log.Warn("a database could not be audited", "key", a.item(), "error", a.err)
			}
			left = append(left, s.audited(log, &a)...)
		}
		close(first)
		for _, name := range sortedKeys(l.server.Databases) {
			if !slices.Contains(names, name) {
				left = append(left, name)
			}
		}
		for pause := firstAuditPause; len(left) > 0; pause = min(2*pause, lastAuditPause) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			audits := l.auditRoles(ctx, left)
			left = nil
			for _, a := range audits {
				left = append(left, s.audited(log, &a)...)
			}
		}
	})
	s.endAudit = func() {
		cancel()
		running.Wait()
	}
	return func() { <-first }
}

// audited says what was found in a database to whoever reads the log or the
// metrics. It returns the database's name if it must be audited again.
func (s *serving) audited(log *slog.Logger, a *roleAudit) (again []string) {
	if a.err != nil {
		return []string{a.name}
	}
	for _, f := range a.findings {
		log.Warn("the audit of a database fires", "key", a.item(), "rule", f.Rule.ID, "level", f.Rule.Level.String(),
			"object", f.Name(), "detail", f.Rule.Title+": "+f.Evidence)
	}
	s.server.Audited(a.name, a.counts())
	return nil
}
