package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tenantgate/tenantgate/auth"
)

// tokenRequest is what the flags of the token command ask for.
type tokenRequest struct {
	tenant, subject string
	ttl             time.Duration
	claims          claimFlags
	keyFile         string // empty: a secret of the configuration
	keyID           string
	algorithm       string // of keyFile; empty: what the key is made for
}

// runToken signs a token for a tenant and prints it. A token that the
// configured verifier would refuse is not printed.
func runToken(args []string, stdout, stderr io.Writer) int {
	var r tokenRequest
	flags := newFlags("token", "-config FILE -tenant TENANT [-subject SUB] [-claim NAME=TEXT | NAME:=JSON]… [-ttl 1h]", stderr)
	path := flags.String("config", "", "configuration `FILE`")
	flags.StringVar(&r.tenant, "tenant", "", "the `TENANT` that the token is for")
	flags.StringVar(&r.subject, "subject", "", "subject, the claim `SUB`")
	flags.Var(&r.claims, "claim", "further claim, `NAME=TEXT` or NAME:=JSON; dots in NAME nest; repeatable")
	flags.DurationVar(&r.ttl, "ttl", time.Hour, "how `LONG` the token is valid")
	flags.StringVar(&r.keyFile, "key", "", "sign with the private key in `FILE` instead of a configured secret")
	flags.StringVar(&r.keyID, "key-id", "", "with -key: the token's `KID`; without: the configured secret to use")
	flags.StringVar(&r.algorithm, "algorithm", "", "with -key: `ALG` to sign with, by default what the key is made for")
	if code, ok := parseFlags(flags, args, stdout); !ok {
		return code
	}
	switch {
	case *path == "":
		return usageError(flags, "-config is required")
	case r.tenant == "":
		return usageError(flags, "-tenant is required")
	case r.ttl < time.Second:
		return usageError(flags, "-ttl must be 1s or more")
	}
	l, err := load(*path, stderr)
	if err != nil {
		return fail(stderr, err)
	}
	now := time.Now()
	token, err := r.mint(l.file, now)
	if err != nil {
		return fail(stderr, err)
	}
	if err := verifyOwn(l.verifier, token, now, stderr); err != nil {
		return fail(stderr, err)
	}
	fmt.Fprintln(stdout, token)
	return exitOK
}

// mint signs the token that is asked for.
func (r *tokenRequest) mint(c *config, now time.Time) (string, error) {
	key, err := r.signingKey(c)
	if err != nil {
		return "", err
	}
	claims := map[string]any{}
	given := append(claimFlags{{c.Auth.TenantClaim, r.tenant}}, r.claims...)
	if r.subject != "" {
		given = append(given, claim{"sub", r.subject})
	}
	if c.Auth.Issuer != "" {
		given = append(given, claim{"iss", c.Auth.Issuer})
	}
	if c.Auth.Audience != "" {
		given = append(given, claim{"aud", c.Auth.Audience})
	}
	given = append(given, claim{"iat", now.Unix()}, claim{"exp", now.Add(r.ttl).Unix()}, claim{"jti", rand.Text()})
	for _, g := range given {
		if err := setClaim(claims, g.path, g.value); err != nil {
			return "", err
		}
	}
	return auth.Mint(key, claims)
}

// signingKey returns the key to sign with: the file that was named, else the
// first configured secret, or the one with the key id that was named.
func (r *tokenRequest) signingKey(c *config) (auth.SigningKey, error) {
	if r.keyFile != "" {
		key, err := auth.LoadSigningKeyFile(r.keyFile, r.algorithm, r.keyID)
		if err != nil {
			return key, fmt.Errorf("-key: %w", err)
		}
		return key, nil
	}
	for i, k := range c.verifierConfig().Keys {
		if strings.HasPrefix(k.Algorithm, "HS") && (r.keyID == "" || r.keyID == k.KeyID) {
			key, err := auth.LoadSigningKey(k)
			if err != nil {
				return key, fmt.Errorf("auth.keys[%d].%w", i, err)
			}
			return key, nil
		}
	}
	if r.keyID != "" {
		return auth.SigningKey{}, fmt.Errorf("no secret in auth.keys has the key_id %q; name a private key with -key FILE", r.keyID)
	}
	return auth.SigningKey{}, errors.New("auth.keys holds public keys only, which cannot sign; name the private key with -key FILE")
}

// verifyOwn makes sure that the verifier takes the token. A JWKS that cannot be
// fetched leaves the question open; that is said and is no error.
func verifyOwn(verifier *auth.Verifier, token string, now time.Time, stderr io.Writer) error {
	_, err := verifier.Verify(now, token)
	var refusal *auth.Refusal
	if errors.As(err, &refusal) && refusal.Reason == auth.ReasonNoKeys {
		if err := verifier.Fetch(context.Background()); err != nil {
			fmt.Fprintf(stderr, "the token is not verified: %v\n", err)
			return nil
		}
		_, err = verifier.Verify(now, token)
	}
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal) && refusal.Unwrap() != nil:
		return fmt.Errorf("this token would be refused: %s: %w", refusal.Reason, refusal.Unwrap())
	default:
		return fmt.Errorf("this token would be refused: %w", err)
	}
}

// claim is one claim by its path, which has dots as in the configuration.
type claim struct {
	path  string
	value any
}

// claimFlags collects the values of -claim.
type claimFlags []claim

// String implements flag.Value; there is no default to show.
func (c *claimFlags) String() string { return "" }

// Set implements flag.Value.
func (c *claimFlags) Set(text string) error {
	path, value, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("want NAME=TEXT or NAME:=JSON")
	}
	name, isJSON := strings.CutSuffix(path, ":")
	if !isJSON {
		name = path
	}
	if err := auth.CheckPath(name); err != nil {
		return fmt.Errorf("the name %w", err)
	}
	if !isJSON {
		*c = append(*c, claim{name, value})
		return nil
	}
	if !json.Valid([]byte(value)) {
		return errors.New("the text behind := is not JSON")
	}
	*c = append(*c, claim{name, json.RawMessage(value)})
	return nil
}

// setClaim puts value at path. A name that begins with http is a single one,
// as the verifier reads it.
func setClaim(claims map[string]any, path string, value any) error {
	at, name := claims, path
	for !strings.HasPrefix(path, "http://") && !strings.HasPrefix(path, "https://") {
		section, rest, nested := strings.Cut(name, ".")
		if !nested {
			break
		}
		if at[section] == nil {
			at[section] = map[string]any{}
		}
		inner, ok := at[section].(map[string]any)
		if !ok {
			return fmt.Errorf("the claim %s cannot stand inside %s, which has a value of its own", path, section)
		}
		at, name = inner, rest
	}
	if _, taken := at[name]; taken {
		return fmt.Errorf("the claim %s is set already", path)
	}
	at[name] = value
	return nil
}
