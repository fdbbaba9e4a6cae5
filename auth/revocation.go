package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of the revoked file.
const (
	maxRevokedFile = 64 << 20
	// revokedPoll is how often the file is looked at; a change takes effect at
	// the second look, so within half a second.
	revokedPoll = 200 * time.Millisecond
)

// revocations is the content of a revoked file; it never changes.
type revocations struct {
	tokens, subjects, tenants map[string]struct{}
}

// parseRevocations reads lines `jti=…`, `sub=…` and `tenant=…`, the value being
// everything behind the first `=`. Blank lines and lines that begin with # are
// skipped; any other line is an error, because a line that does not say what it
// means revokes nothing.
func parseRevocations(content []byte, rule tenantRule) (*revocations, error) {
	set := &revocations{
		tokens:   make(map[string]struct{}),
		subjects: make(map[string]struct{}),
		tenants:  make(map[string]struct{}),
	}
	if !utf8.Valid(content) {
		return nil, errors.New("not valid UTF-8 text")
	}
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := set.add(line, rule); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return set, nil
}

// add notes one line.
func (s *revocations) add(line string, rule tenantRule) error {
	kind, value, ok := strings.Cut(line, "=")
	switch {
	case !ok:
		return errors.New("not jti=…, sub=… or tenant=…")
	case value == "" || strings.TrimSpace(value) != value:
		return errors.New("no value, or a blank, right behind the =")
	case strings.Contains(value, " #") || strings.Contains(value, "\t#"):
		return errors.New("a comment behind a value; give it a line of its own")
	}
	switch kind {
	case "jti":
		s.tokens[value] = struct{}{}
	case "sub":
		s.subjects[value] = struct{}{}
	case "tenant":
		tenant, err := rule.normalise(value)
		if err != nil {
			return fmt.Errorf("can match no token: %w", err)
		}
		s.tenants[tenant] = struct{}{}
	default:
		return errors.New("not jti=…, sub=… or tenant=…")
	}
	return nil
}

// names reports whether the set revokes a token. It holds no empty value, so a
// token without `sub` or `jti` is not caught by those.
func (s *revocations) names(c *claims) bool {
	if _, ok := s.tenants[c.tenant]; ok {
		return true
	}
	if _, ok := s.subjects[c.subject]; ok {
		return true
	}
	_, ok := s.tokens[c.tokenID]
	return ok
}

// Revoked reports whether the revoked file names the Identity's token, subject
// or tenant; the zero Identity always is. It takes no lock.
func (v *Verifier) Revoked(id Identity) bool {
	if id.claims == nil {
		return true
	}
	set := v.revoked.Load()
	return set != nil && set.names(id.claims)
}

// Revocations returns a number that grows whenever the revocations changed. A
// caller with live sessions compares it now and then and asks Revoked again only
// when it grew. Numbers of different Verifiers do not compare.
func (v *Verifier) Revocations() uint64 { return v.revision.Load() }

// watchRevocations keeps the revocations what the file says until ctx ends.
func (v *Verifier) watchRevocations(ctx context.Context) {
	v.revokedFile.follow(ctx, revokedPoll, v.revoke, func(text string) {
		v.log.Error("revoked_file does not load; the previous revocations stay in force",
			"file", v.revokedFile.path, "error", text)
	})
}

// revoke puts a new content of the revoked file in force.
func (v *Verifier) revoke(content []byte) error {
	set, err := parseRevocations(content, v.tenant)
	if err != nil {
		return err
	}
	v.revoked.Store(set)
	v.revision.Add(1)
	v.log.Info("revocations loaded", "file", v.revokedFile.path,
		"jti", len(set.tokens), "sub", len(set.subjects), "tenant", len(set.tenants))
	return nil
}
