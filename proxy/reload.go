package proxy

import (
	"errors"
	"reflect"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tenantgate/tenantgate/session"
)

// Reload puts a new configuration in force: for logins from now on, and for the
// pools and timeouts of sessions that go on. What cannot change while the
// process runs is an error, and everything stays as it was.
func (s *Server) Reload(cfg Config) error {
	old := s.config.Load()
	if err := changeable(old, &cfg); err != nil {
		s.metrics.reloaded(false)
		return err
	}
	s.config.Store(&cfg)
	s.logger.Store(cfg.Log)
	s.mu.Lock()
	var changed, gone []*database
	for name, db := range cfg.Databases {
		d := s.databases[name]
		if d == nil {
			s.databases[name] = s.build(newDatabase(s, name, db))
			continue
		}
		changed = append(changed, s.build(d))
	}
	for name, d := range s.databases {
		if _, ok := cfg.Databases[name]; !ok {
			delete(s.databases, name)
			s.retired = append(s.retired, d)
			gone = append(gone, d)
			s.metrics.audited.DeletePartialMatch(prometheus.Labels{"database": name})
		}
	}
	s.mu.Unlock()
	for _, d := range changed {
		d.reconfigure(cfg.Databases[d.name])
	}
	for _, d := range gone {
		d.decide(d.pool.Retire)
	}
	verifier := cfg.Verifier
	s.everyClient(func(c *client) {
		if verifier.Revoked(c.id) {
			c.revoked()
			return
		}
		c.arm()
	})
	s.metrics.reloaded(true)
	return nil
}

// ReloadFailed notes that a new configuration could not even be read.
func (s *Server) ReloadFailed() { s.metrics.reloaded(false) }

// changeable says what of a new configuration needs a restart.
func changeable(old, cfg *Config) error {
	var errs []error
	keep := func(key string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			errs = append(errs, errors.New(key+": a change of it needs a restart"))
		}
	}
	keep("listen", old.Listen, cfg.Listen)
	keep("http.address", old.HTTP, cfg.HTTP)
	keep("context.tenant_setting, context.settings", old.Context, cfg.Context)
	return errors.Join(errs...)
}

// reconfigure puts new bounds in force and, where the way to the database has
// changed, lets no open backend be used for another client.
func (d *database) reconfigure(cfg Database) {
	old := d.config.Swap(&cfg)
	limits := &d.server.config.Load().Limits
	d.decide(func(now time.Time) []session.Action {
		d.pool.Rebound(func(w *session.Waiter) int { return limits.bounds(w.Handle.(*client).id).MaxServerConn })
		actions := d.pool.Configure(now, d.server.poolConfig(cfg))
		if old.DialConfig != cfg.DialConfig {
			actions = append(actions, d.pool.Renew(now)...)
		}
		return actions
	})
}

// gone says that a retired database has no backend left.
func (d *database) gone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open) == 0
}

// Audited tells the metrics how many findings of each level the last audit of a
// database has. What is no database of the configuration any more is not noted.
func (s *Server) Audited(database string, findings map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.databases[database] == nil {
		return
	}
	for level, n := range findings {
		s.metrics.audited.WithLabelValues(database, level).Set(float64(n))
	}
}
