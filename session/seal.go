package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strings"
	"time"
	"unique"
)

// SealVersion is the version of the SQL that this package's seals are made for.
const SealVersion = 1

// SealSQL installs or upgrades the seal in a database, for psql: it begins a
// transaction, and what is run behind it (SELECT tenantgate.configure(…), the
// key) must commit it.
func SealSQL() string { return sealSQL + "\n" + sealTablesSQL }

//go:embed seal.sql
var sealSQL string

//go:embed seal_tables.sql
var sealTablesSQL string

// Bounds of a key in bytes: less would be weaker than SHA-256, more is hashed
// down to it (RFC 2104, section 3).
const (
	sealKeyMin = 32
	sealKeyMax = sha256.BlockSize
)

// sealKeyID is what a key may be called: it stands between dots.
var sealKeyID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// SealKey makes the seals of one key. It can be compared with ==; the zero
// SealKey seals nothing. It prints without the key.
type SealKey struct {
	id  string
	key unique.Handle[[sealKeyMax]byte] // padded with zeros, which changes nothing (RFC 2104, section 2); a pointer to whoever prints it
}

// NewSealKey reads a key as GenerateSealKey writes it: hexadecimal digits of 32
// to 64 bytes. Errors hold nothing of it.
func NewSealKey(id, text string) (SealKey, error) {
	if !sealKeyID.MatchString(id) {
		return SealKey{}, fmt.Errorf("the key id %q is not 1 to 32 letters, digits, _ and -", id)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) < sealKeyMin || len(raw) > sealKeyMax {
		return SealKey{}, fmt.Errorf("the key is not %d to %d bytes in hexadecimal digits", sealKeyMin, sealKeyMax)
	}
	var padded [sealKeyMax]byte
	copy(padded[:], raw)
	return SealKey{id, unique.Make(padded)}, nil
}

// GenerateSealKey returns a new key as text.
func GenerateSealKey() string {
	var b [sealKeyMin]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return hex.EncodeToString(b[:])
}

// ID is the key's name, "" for the zero SealKey.
func (k SealKey) ID() string { return k.id }

// String names the key without showing it.
func (k SealKey) String() string { return "seal key " + k.id }

// GoString keeps the key out of %#v.
func (k SealKey) GoString() string { return k.String() }

// LogValue keeps the key out of logs.
func (k SealKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Pads returns the key as databases hold it: combined with ipad and with opad
// of RFC 2104. They are as secret as the key.
func (k SealKey) Pads() (inner, outer []byte) {
	inner, outer = make([]byte, sealKeyMax), make([]byte, sealKeyMax)
	for i, b := range k.key.Value() {
		inner[i], outer[i] = b^0x36, b^0x5c
	}
	return inner, outer
}

// backendSeal seals what is entered on one backend: a seal is good for no other
// one, and for seconds only. Times are the server's, so that its clock and ours
// need not agree.
type backendSeal struct {
	key   SealKey
	pid   int64 // of the server process, as it sees it itself
	port  int64 // our own, as the server sees it; 0: a Unix socket
	epoch int64 // start of the server, microseconds since 1970
	clock time.Time
	read  time.Time // when clock was right, by our own clock
	now   func() time.Time

	keeps bool // nothing can be latched there: what is sealed is kept in a setting
	kept  bool // such a seal was made, and its session can read it
}

// keep lets seals be made that are good where nothing can be latched.
func (s *backendSeal) keep() {
	if s != nil {
		s.keeps = true
	}
}

// Kept says that a seal was made for b which can be kept. A session that has read
// it could use it again in the place of the next one's, so b is closed where it would
// be reset. A session that b serves without a reset has the same context, until the
// same time.
func (b *Backend) Kept() bool { return b.seal != nil && b.seal.kept }

// sealTime is how long a seal can be entered with.
const sealTime = 30 * time.Second

// sealGrace is how long behind the end of its token a session is still served
// where its seal is kept: what runs when the token expires may end in peace.
const sealGrace = time.Hour

// seal is one seal: both travel as parameters of tenantgate.enter.
type seal struct {
	head string
	code []byte // HMAC-SHA256
}

// sealNever is the latest time that a head can hold.
const sealNever = 999_999_999_999

// make seals fields for this backend. until is by our own clock, and for seals
// that are kept; the zero Time is never. What can be latched is good for nothing
// else.
func (s *backendSeal) make(fields []byte, until time.Time) seal {
	now := s.now()
	server := s.clock.Add(now.Sub(s.read))
	last := int64(sealNever)
	switch {
	case !s.keeps:
		last = 0
	case !until.IsZero():
		left := min(until.Sub(now), math.MaxInt64-sealGrace) // a token may be good to the year 9999
		last = min(last, max(1, server.Add(left+sealGrace).Unix()))
	}
	s.kept = s.kept || s.keeps
	head := fmt.Sprintf("v1.%s.%012d.%012d.%s", s.key.id, server.Add(sealTime).Unix(), last, rand.Text())
	key := s.key.key.Value()
	mac := hmac.New(sha256.New, key[:])
	fmt.Fprintf(mac, "tenantgate\n%s\n%d\n%d\n%d\n", head, s.pid, s.port, s.epoch)
	mac.Write(fields)
	return seal{head, mac.Sum(nil)}
}

// sealFields frames the context for its seal: each name (lower case) and value
// in UTF-8 behind its length, so that no two contexts look the same.
func sealFields(names, values []string) []byte {
	var b []byte
	field := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	for i, name := range names {
		field(strings.ToLower(name))
		field(values[i])
	}
	return b
}

// sealCode is the SQLSTATE with which a database refuses a seal.
const sealCode = "TG001"

// unlatchedCode is the SQLSTATE with which it refuses one that it cannot latch.
const unlatchedCode = "TG002"

// sealLost are the SQLSTATEs that say that a seal is refused, or that there is no
// such function or schema any more. A missing right (42501) may be one to a
// startup parameter, and is the client's to know.
var sealLost = map[string]bool{sealCode: true, unlatchedCode: true, "42883": true, "3F000": true}

// latchSetting is the database's own note of how the context was entered. Taking
// the latch away counts as resetting it.
const latchSetting = "tenantgate.latch"

// ErrUnsealed is wrapped where a key is configured and the database does not
// accept what is sealed with it.
var ErrUnsealed = errors.New("the database does not accept the seal")
