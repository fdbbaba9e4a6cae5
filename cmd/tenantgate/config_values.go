package main

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// redacted stands wherever a secret would be printed.
const redacted = "[redacted]"

// filePath is the path of a file. The loader makes it absolute, from the
// directory of the configuration file.
type filePath string

// in returns the path as seen from directory dir; an empty path stays empty.
func (p filePath) in(dir string) filePath {
	if p == "" || filepath.IsAbs(string(p)) {
		return p
	}
	return filePath(filepath.Join(dir, string(p)))
}

// size is a number of bytes, written as 1MiB, 64KiB or a plain number.
type size int

// sizeUnits are the units of a size, largest first.
var sizeUnits = []struct {
	name  string
	bytes size
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// parseSize reads a size; a number without a unit counts bytes.
func parseSize(text string) (size, error) {
	number, unit := text, size(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil || size(n) > 1<<31/unit {
		return 0, errors.New("want a size such as 1MiB, 64KiB or 65536 (bytes)")
	}
	return size(n) * unit, nil
}

// String returns the size in its largest whole unit.
func (s size) String() string {
	for _, u := range sizeUnits[:len(sizeUnits)-1] {
		if s != 0 && s%u.bytes == 0 {
			return strconv.Itoa(int(s/u.bytes)) + u.name
		}
	}
	return strconv.Itoa(int(s))
}

// MarshalYAML writes the size as String does.
func (s size) MarshalYAML() (any, error) { return s.String(), nil }

// urlText is a URL. It prints without its password and query, which may hold
// an API key.
type urlText string

// String returns the URL without what may be secret.
func (u urlText) String() string {
	parsed, err := url.Parse(string(u))
	if err != nil {
		return redacted
	}
	if _, ok := parsed.User.Password(); ok {
		parsed.User = url.UserPassword(parsed.User.Username(), "redacted")
	}
	if parsed.RawQuery != "" {
		parsed.RawQuery = "redacted"
	}
	return parsed.String()
}

// MarshalYAML writes the URL as String does.
func (u urlText) MarshalYAML() (any, error) { return u.String(), nil }

// dsnText is a connection string. It prints without its password.
type dsnText string

// dsnPassword finds the passwords of a keyword/value connection string
// (libpq-connect: "Keyword/Value Connection Strings").
var dsnPassword = regexp.MustCompile(`(?i)(password\s*=\s*)(?:'(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)*)`)

// String returns the connection string without its passwords, and nothing of
// it when it is too odd to tell where they are.
func (d dsnText) String() string {
	parsed, err := pgconn.ParseConfig(string(d))
	if err != nil {
		return redacted
	}
	text := dsnPassword.ReplaceAllString(string(d), "${1}"+redacted)
	if strings.Contains(string(d), "://") {
		// pgconn masks every password of a URI that parses, but only inside its errors.
		_, text, _ = strings.Cut(pgconn.NewParseConfigError(string(d), "", nil).Error(), "`")
		text = strings.ReplaceAll(text[:strings.LastIndexByte(text, '`')], "xxxxx", redacted)
	}
	if own := parsed.Password; own != "" && strings.Contains(string(d), own) && strings.Contains(text, own) {
		return redacted
	}
	return text
}

// hasPassword says whether the string itself gives a password, not only the
// user's .pgpass file; parsed is what the string was parsed to.
func (d dsnText) hasPassword(parsed *pgconn.Config) bool {
	return parsed.Password != "" && (d.String() == redacted || strings.Contains(d.String(), redacted))
}

// GoString keeps the password out of %#v.
func (d dsnText) GoString() string { return d.String() }

// MarshalYAML writes the connection string as String does.
func (d dsnText) MarshalYAML() (any, error) { return d.String(), nil }

// parse reads the connection string. Its errors hold nothing of the string
// itself: where it is malformed nobody can tell what in it is the password.
func (d dsnText) parse() (*pgconn.Config, error) {
	parsed, err := pgconn.ParseConfig(string(d))
	var malformed *pgconn.ParseConfigError
	switch {
	case err == nil:
		return parsed, nil
	case !errors.As(err, &malformed):
		return nil, errors.New("cannot be parsed")
	}
	prefix := pgconn.NewParseConfigError(string(d), "", nil).Error()
	text := strings.TrimPrefix(err.Error(), prefix)
	if cause := malformed.Unwrap(); cause != nil {
		text = strings.TrimSuffix(text, fmt.Sprintf(" (%s)", cause))
	}
	if text == "failed to configure TLS" {
		return nil, fmt.Errorf("%s: %w", text, malformed.Unwrap())
	}
	return nil, errors.New(text)
}
