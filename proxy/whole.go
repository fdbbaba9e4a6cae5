package proxy

import (
	"time"

	"github.com/tenantgate/tenantgate/session"
)

// wholePause is how long it is trusted that a database is sealed whole, or is
// not: a migration may add a table that nothing sealed restricts.
const wholePause = 15 * time.Second

// watchWhole looks from time to time whether a database is still sealed whole,
// where the guard depends on it. When that has changed, or cannot be told, no
// backend that is open now serves another client: a new one looks for itself.
func (d *database) watchWhole() {
	guard := &d.server.config.Load().Guard
	cfg := d.config.Load()
	if cfg.Seal == (session.SealKey{}) || guard.HiddenSealed == guard.HiddenSQL {
		return
	}
	d.mu.Lock()
	due := len(d.open) > 0 && !d.looking && time.Since(d.looked) >= wholePause
	d.looking = d.looking || due
	d.mu.Unlock()
	if !due {
		return
	}
	go func() {
		found, err := session.Examine(d.server.dialing, cfg.DialConfig, d.spec)
		is := wholeUnknown
		switch {
		case err == nil && found.Seal.Whole():
			is = wholeYes
		case err == nil:
			is = wholeNo
		}
		d.decide(func(now time.Time) []session.Action {
			was := d.whole
			d.whole, d.looked, d.looking = is, now, false
			if was == is || was == wholeUnasked && is == wholeYes {
				return nil // what is open found it so, or less
			}
			return d.pool.Renew(now)
		})
	}()
}

// wholeness is what was last seen of a database.
type wholeness uint8

// The kinds of wholeness.
const (
	wholeUnasked wholeness = iota
	wholeUnknown           // it could not be examined
	wholeNo
	wholeYes
)
