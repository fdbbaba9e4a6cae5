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
	item     string // a key path
	findings []audit.Finding
	err      error
}

// auditRoles runs the rules about the role and the seal in the databases of
// these names, all at the same time. It takes server_connect_timeout twice at
// most.
func (l *loaded) auditRoles(ctx context.Context, names []string) []roleAudit {
	audits := make([]roleAudit, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			audits[i].item = "databases." + name
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

// countAudits counts findings by the word for their level; all levels are there.
// Without a database that could be examined there is nothing to count: nil.
func countAudits(audits []roleAudit) map[string]int {
	if !slices.ContainsFunc(audits, func(a roleAudit) bool { return a.err == nil }) {
		return nil
	}
	counts := map[string]int{}
	for _, level := range audit.Levels {
		counts[level.String()] = 0
	}
	for _, a := range audits {
		for _, f := range a.findings {
			counts[f.Rule.Level.String()]++
		}
	}
	return counts
}

// saidElsewhere are the rules whose findings Examine reports in its own words.
var saidElsewhere = []string{"TG043", "TG044", "TG045", "TG046"}

// auditLines words the findings for the check command.
func (a *roleAudit) auditLines() []string {
	var lines []string
	for _, f := range a.findings {
		if !slices.Contains(saidElsewhere, f.Rule.ID) {
			lines = append(lines, f.Rule.ID+" "+f.Rule.Level.String()+": "+f.Rule.Title+": "+f.Kind+" "+f.Name()+": "+f.Evidence)
		}
	}
	return lines
}

// logAudits says what was found to whoever reads the log.
func logAudits(log *slog.Logger, audits []roleAudit) {
	for _, a := range audits {
		if a.err != nil {
			log.Warn("a database could not be audited", "key", a.item, "error", a.err)
		}
		for _, f := range a.findings {
			log.Warn("the audit of a database fires", "key", a.item, "rule", f.Rule.ID, "level", f.Rule.Level.String(),
				"object", f.Name(), "detail", f.Rule.Title+": "+f.Evidence)
		}
	}
}

// audit runs the rules about the role and the seal in the databases of these
// names and counts what they found in the metrics. It does not wait for that;
// the function that it returns does. An audit that is still under way is broken
// off.
func (s *serving) audit(l *loaded, names []string) (wait func()) {
	if s.endAudit != nil {
		s.endAudit()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	log := s.log
	running.Go(func() {
		audits := l.auditRoles(ctx, names)
		if ctx.Err() != nil {
			return
		}
		logAudits(log, audits)
		if counts := countAudits(audits); counts != nil {
			s.server.Audited(counts)
		}
	})
	s.endAudit = func() {
		cancel()
		running.Wait()
	}
	return running.Wait
}
