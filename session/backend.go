package session

import "time"

// DialConfig says how a backend of one database is reached.
type DialConfig struct {
	DSN             string // libpq keyword/value or URL form
	Password        string // from password_file; empty: the DSN's own or none
	ConnectTimeout  time.Duration
	AllowUnsafeRole bool // accept a role that row security does not bind
}
