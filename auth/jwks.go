package auth

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of a JWKS.
const (
	maxJWKS     = 1 << 20 // bytes
	maxJWKSKeys = 256
)

// jwks is where the keys of the issuer come from, by URL or by file.
type jwks struct {
	url     string // "": none
	shown   string // the URL without its query, for logs
	refresh time.Duration
	client  *http.Client
	nudge   chan struct{} // capacity one: a token named an unknown key

	file *watched // nil: none

	mu      sync.Mutex // one install at a time
	applied [sha256.Size]byte
	loaded  bool // a good set is in force
}

// openJWKS checks the configuration of the JWKS and loads its file.
func (v *Verifier) openJWKS(cfg JWKSConfig) []error {
	var problems []error
	report := func(field string, err error) {
		problems = append(problems, fmt.Errorf("auth.jwks.%s: %w", field, err))
	}
	if cfg.Refresh != 0 && cfg.Refresh < time.Second {
		report("refresh", errors.New("is shorter than a second; use e.g. 5m"))
	}
	if cfg.URL == "" && cfg.File == "" {
		return problems
	}
	source := &jwks{refresh: cfg.Refresh, nudge: make(chan struct{}, 1)}
	if source.refresh == 0 {
		source.refresh = defaultRefresh
	}
	v.jwks = source
	if cfg.URL != "" && cfg.File != "" {
		report("file", errors.New("url is set too; keep one of them"))
		return problems
	}
	if cfg.URL != "" {
		address, err := checkURL(cfg.URL)
		if err != nil {
			report("url", err)
			return problems
		}
		source.url, source.shown = cfg.URL, address.Scheme+"://"+address.Host+address.Path
		source.client = newJWKSClient()
		return problems
	}
	source.file = &watched{path: cfg.File, limit: maxJWKS}
	content, err := source.file.load()
	if err != nil {
		report("file", fmt.Errorf("%w; name a readable JWKS file", err))
	} else if err := v.installJWKS(content); err != nil {
		report("file", fmt.Errorf("%s: %w; it must be a JSON Web Key Set like {\"keys\": […]}", cfg.File, err))
	}
	return problems
}

// checkURL accepts https, and http to this machine alone: who can change the
// answer can sign tokens for any tenant.
func checkURL(text string) (*url.URL, error) {
	address, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("is not a URL; use e.g. https://issuer.example/.well-known/jwks.json")
	case address.User != nil:
		return nil, errors.New("holds a user name or password; a JWKS is public, take them out")
	case address.Hostname() == "":
		return nil, errors.New("has no host; use e.g. https://issuer.example/.well-known/jwks.json")
	case address.Scheme == "https", address.Scheme == "http" && isLoopback(address.Hostname()):
		return address, nil
	}
	return nil, errors.New("is not https; http is accepted for loopback hosts only")
}

// isLoopback reports whether a host is this machine by its name or address.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// installJWKS puts a set in force. An equal one changes nothing, so that the
// cache of verified tokens survives a refresh. An error, such as a set without
// one usable key, leaves the previous set in force.
func (v *Verifier) installJWKS(content []byte) error {
	v.jwks.mu.Lock()
	defer v.jwks.mu.Unlock()
	sum := sha256.Sum256(content)
	if v.jwks.loaded && sum == v.jwks.applied {
		return nil
	}
	keys, skipped, err := parseJWKS(content)
	if err != nil {
		return err
	}
	for _, why := range skipped {
		v.log.Warn("jwks: key skipped", "error", why)
	}
	v.jwks.applied, v.jwks.loaded = sum, true
	previous := v.ring.Load()
	all := append(v.static[:len(v.static):len(v.static)], keys...)
	v.ring.Store(&keyring{generation: previous.generation + 1, keys: all, fetched: true})
	v.cache.clear()
	v.log.Info("jwks loaded", "keys", len(keys), "skipped", len(skipped))
	return nil
}

// parseJWKS returns the usable keys of a set and why others were skipped. One
// bad or unknown key does not cost the rest (RFC 7517 §5), but a set without a
// usable key is an error.
func parseJWKS(content []byte) (keys []key, skipped []error, err error) {
	var set map[string]json.RawMessage // a map, because names of struct fields would fold case
	if err := json.Unmarshal(content, &set); err != nil {
		return nil, nil, errors.New("the key set is not a JSON object")
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(set["keys"], &entries); err != nil {
		return nil, nil, errors.New("the key set has no array \"keys\"")
	}
	if len(entries) > maxJWKSKeys {
		return nil, nil, fmt.Errorf("the key set has %d keys, at most %d are accepted", len(entries), maxJWKSKeys)
	}
	for i, entry := range entries {
		k, err := parseJWK(entry)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("keys[%d]: %w", i, err))
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		err := errors.New("the key set has no usable key")
		if len(skipped) > 0 {
			err = fmt.Errorf("%w, the first was skipped: %w", err, skipped[0])
		}
		return nil, skipped, err
	}
	return keys, skipped, nil
}

// privateMembers are the JWK members that only a secret or private key has (RFC
// 7518 §6.2.2, §6.3.2, §6.4): a published one is worthless, and `oct` would let
// a public text sign tokens.
var privateMembers = []string{"k", "d", "p", "q", "dp", "dq", "qi", "oth", "priv"}

// parseJWK reads one public signing key. Its algorithm is its `alg`, or else
// follows from its type: RSA is RS256 only, EC the one of its curve, Ed25519
// EdDSA.
func parseJWK(entry []byte) (key, error) {
	if err := checkJSON(entry); err != nil {
		return key{}, err
	}
	var members map[string]any
	if err := json.Unmarshal(entry, &members); err != nil {
		return key{}, errSyntax
	}
	for _, name := range privateMembers {
		if _, present := members[name]; present {
			return key{}, errors.New("has secret or private members")
		}
	}
	if use, present := members["use"]; present && use != "sig" {
		return key{}, errors.New("is not for signatures (use)")
	}
	if ops, present := members["key_ops"]; present {
		list, _ := ops.([]any)
		verifies := false
		for _, op := range list {
			verifies = verifies || op == "verify"
		}
		if !verifies {
			return key{}, errors.New("is not for verifying (key_ops)")
		}
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(entry); err != nil {
		return key{}, fmt.Errorf("does not parse: %w", err)
	}
	if !jwk.Valid() || !jwk.IsPublic() {
		return key{}, errors.New("is not a public key")
	}
	a := defaultAlgorithm(jwk.Key)
	if jwk.Algorithm != "" {
		a = algorithmNamed(jwk.Algorithm)
	}
	if a == nil {
		return key{}, errors.New("is bound to no supported algorithm")
	}
	if err := a.fits(jwk.Key); err != nil {
		return key{}, err
	}
	return key{algorithm: a, id: jwk.KeyID, material: seal(jwk.Key), jwks: true}, nil
}
