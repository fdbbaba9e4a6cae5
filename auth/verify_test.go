package auth

import (
	"crypto/ecdsa"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// algorithmKeys are, for every algorithm, a key, a stranger's key and the
// configuration that binds the first.
func algorithmKeys(t testing.TB) map[string]struct {
	good, other any
	cfg         KeyConfig
} {
	t.Helper()
	all := make(map[string]struct {
		good, other any
		cfg         KeyConfig
	})
	other := strings.ToUpper(testSecret)
	for _, a := range algorithms {
		entry := all[a.name]
		entry.cfg.Algorithm = a.name
		var good, stranger pair
		switch {
		case a.family == familyHMAC:
			entry.good, entry.other, entry.cfg.Secret = []byte(testSecret), []byte(other), testSecret
			all[a.name] = entry
			continue
		case a.family == familyRSA:
			good, stranger = rsaPair(), rsaOther()
		case a.name == "ES256":
			good, stranger = p256Pair(), p256Other()
		case a.name == "ES384":
			good, stranger = p384Pair(), p384Other()
		case a.name == "ES512":
			good, stranger = p521Pair(), p521Other()
		default:
			good, stranger = edPair(), edOther()
		}
		entry.good, entry.other = good.private, stranger.private
		entry.cfg.PublicKeyFile = file(t, publicPEM(t, good.public))
		all[a.name] = entry
	}
	return all
}

func TestEveryAlgorithmAcceptsItsKeyAndRefusesAnother(t *testing.T) {
	keys := algorithmKeys(t)
	if len(keys) != 13 {
		t.Fatalf("%d algorithms", len(keys))
	}
	for name, k := range keys {
		t.Run(name, func(t *testing.T) {
			v := verifier(t, Config{Keys: []KeyConfig{k.cfg}})
			good := signed(t, name, "", k.good, goodClaims(nil))
			wantRefused(t, v, signed(t, name, "", k.other, goodClaims(nil)), ReasonSignature)
			head, rest, _ := strings.Cut(good, ".")
			_, signature, _ := strings.Cut(rest, ".")
			forged := head + "." + b64(strings.Replace(payload(""), "1a", "2b", 1)) + "." + signature
			wantRefused(t, v, forged, ReasonSignature)
			wantRefused(t, v, good[:strings.LastIndex(good, ".")+1], ReasonSignature)
			wantAccepted(t, v, good)
		})
	}
}

func TestNoTokenChoosesAnotherAlgorithmThanItsKeys(t *testing.T) {
	keys := algorithmKeys(t)
	for bound, k := range keys {
		v := verifier(t, Config{Keys: []KeyConfig{k.cfg}})
		for name, other := range keys {
			if name == bound {
				continue
			}
			wantRefused(t, v, signed(t, name, "", other.good, goodClaims(nil)), ReasonAlgorithm)
		}
	}
}

func TestPublicKeyIsNoSecret(t *testing.T) {
	public := publicPEM(t, rsaPair().public)
	path := file(t, public)
	for _, secret := range [][]byte{public, []byte(strings.TrimSpace(string(public)))} {
		confused := macToken(hsHeader, payload(""), secret)
		wantRefused(t, verifier(t, Config{Keys: []KeyConfig{{Algorithm: "RS256", PublicKeyFile: path}}}), confused, ReasonAlgorithm)
		both := Config{Keys: []KeyConfig{{Algorithm: "RS256", PublicKeyFile: path}, hsKey}}
		wantRefused(t, verifier(t, both), confused, ReasonSignature)
	}
	_, err := New(Config{Keys: []KeyConfig{{Algorithm: "HS256", SecretFile: path}}}, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "auth.keys[0].secret_file: is a PEM key") {
		t.Fatalf("a public key was taken as a secret: %v", err)
	}
}

// hostile is a token that must be refused.
type hostile struct {
	name, token string
	reason      Reason
}

// hostileTexts are broken as text or in their signature.
func hostileTexts(t *testing.T) []hostile {
	t.Helper()
	good := hs(t, nil)
	parts := strings.Split(good, ".")
	flipped := func() string { // other spare bits in the last character of the signature
		last := good[len(good)-1]
		alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		i := strings.IndexByte(alphabet, last)
		return good[:len(good)-1] + string(alphabet[i^1])
	}()
	with := func(name, value string) string { return payload(`"` + name + `":` + value) }
	return []hostile{
		{"empty", "", ReasonMalformed},
		{"one part", "abc", ReasonMalformed},
		{"two parts", parts[0] + "." + parts[1], ReasonMalformed},
		{"four parts", good + ".e30", ReasonMalformed},
		{"five parts, as a JWE has", good + ".e30.e30", ReasonMalformed},
		{"dots only", "..", ReasonMalformed},
		{"trailing dot", good + ".", ReasonMalformed},
		{"longer than 64 KiB", rawToken(hsHeader, with("pad", `"`+strings.Repeat("x", 64<<10)+`"`)), ReasonMalformed},
		{"NUL behind", good + "\x00", ReasonMalformed},
		{"NUL and tail", good + "\x00tail", ReasonMalformed},
		{"newline behind", good + "\n", ReasonMalformed},
		{"newline inside", good[:20] + "\r\n" + good[20:], ReasonMalformed},
		{"blank before", " " + good, ReasonMalformed},
		{"Bearer", "Bearer " + good, ReasonMalformed},
		{"padding", good + "=", ReasonMalformed},
		{"standard alphabet", parts[0] + "." + parts[1] + ".+/+/", ReasonMalformed},
		{"spare bits of the signature", flipped, ReasonMalformed},
		{"signature empty", parts[0] + "." + parts[1] + ".", ReasonSignature},
		{"signature cut", good[:len(good)-3], ReasonSignature},
		{"wrong secret", macToken(hsHeader, payload(""), []byte("secret")), ReasonSignature},
		{"empty secret", macToken(hsHeader, payload(""), nil), ReasonSignature},
	}
}

// hostileHeaders are signed properly under a bad header.
func hostileHeaders(t *testing.T) []hostile {
	t.Helper()
	parts := strings.Split(hs(t, nil), ".")
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	return []hostile{
		{"header is no base64", "A" + parts[0] + "." + parts[1] + "." + parts[2], ReasonMalformed},
		{"header is text", rawToken(`hello`, payload("")), ReasonMalformed},
		{"header is a list", rawToken(`[{"alg":"HS256"}]`, payload("")), ReasonMalformed},
		{"header is null", rawToken(`null`, payload("")), ReasonMalformed},
		{"header is empty", rawToken(``, payload("")), ReasonMalformed},
		{"header with a tail", rawToken(hsHeader+`{}`, payload("")), ReasonMalformed},
		{"header with alg twice", rawToken(`{"alg":"none","alg":"HS256"}`, payload("")), ReasonMalformed},
		{"header with alg twice, escaped", rawToken(`{"alg":"HS256","\u0061lg":"none"}`, payload("")), ReasonMalformed},
		{"header deep", rawToken(`{"alg":"HS256","x":`+deep+`}`, payload("")), ReasonMalformed},
		{"no alg", rawToken(`{"typ":"JWT"}`, payload("")), ReasonAlgorithm},
		{"alg folded", rawToken(`{"ALG":"HS256"}`, payload("")), ReasonAlgorithm},
		{"alg in lower case", rawToken(`{"alg":"hs256"}`, payload("")), ReasonAlgorithm},
		{"alg is a list", rawToken(`{"alg":["HS256"]}`, payload("")), ReasonAlgorithm},
		{"alg none", b64(`{"alg":"none"}`) + "." + b64(payload("")) + ".", ReasonAlgorithm},
		{"alg None", b64(`{"alg":"None"}`) + "." + b64(payload("")) + ".", ReasonAlgorithm},
		{"alg empty", b64(`{"alg":""}`) + "." + b64(payload("")) + ".", ReasonAlgorithm},
		{"alg none with a signature", rawToken(`{"alg":"none"}`, payload("")), ReasonAlgorithm},
		{"other HMAC", signed(t, "HS512", "", []byte(testSecret), goodClaims(nil)), ReasonAlgorithm},
		{"crit", rawToken(`{"alg":"HS256","crit":["b64"]}`, payload("")), ReasonHeader},
		{"crit empty", rawToken(`{"alg":"HS256","crit":[]}`, payload("")), ReasonHeader},
		{"crit null", rawToken(`{"alg":"HS256","crit":null}`, payload("")), ReasonHeader},
		{"b64 false", rawToken(`{"alg":"HS256","b64":false}`, payload("")), ReasonHeader},
		{"kid is a number", rawToken(`{"alg":"HS256","kid":1}`, payload("")), ReasonHeader},
		{"kid is null", rawToken(`{"alg":"HS256","kid":null}`, payload("")), ReasonHeader},
	}
}

// hostilePayloads are signed properly over a payload that is not strict JSON.
func hostilePayloads(t *testing.T) []hostile {
	t.Helper()
	parts := strings.Split(hs(t, nil), ".")
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	deepList := strings.Repeat(`[`, 9000) + strings.Repeat("]", 9000)
	with := func(name, value string) string { return payload(`"` + name + `":` + value) }
	return []hostile{
		{"payload is no base64", parts[0] + ".A." + parts[2], ReasonMalformed},
		{"payload is a list", rawToken(hsHeader, `[1]`), ReasonMalformed},
		{"payload is a string", rawToken(hsHeader, `"x"`), ReasonMalformed},
		{"payload is null", rawToken(hsHeader, `null`), ReasonMalformed},
		{"payload with a tail", rawToken(hsHeader, payload("")+`{"tenant_id":"x"}`), ReasonMalformed},
		{"payload with a brace behind", rawToken(hsHeader, payload("")+`}`), ReasonMalformed},
		{"payload with a BOM", rawToken(hsHeader, "\ufeff"+payload("")), ReasonMalformed},
		{"payload with a comment", rawToken(hsHeader, `/**/`+payload("")), ReasonMalformed},
		{"payload with NaN", rawToken(hsHeader, with("x", "NaN")), ReasonMalformed},
		{"tenant twice", rawToken(hsHeader, with("tenant_id", `"x"`)), ReasonMalformed},
		{"tenant twice, escaped", rawToken(hsHeader, with(`tenant\u005fid`, `"x"`)), ReasonMalformed},
		{"duplicate deep inside", rawToken(hsHeader, with("x", `[{"y":{"a":1,"a":1}}]`)), ReasonMalformed},
		{"objects nested deep", rawToken(hsHeader, with("x", deep)), ReasonMalformed},
		{"lists nested deep", rawToken(hsHeader, with("x", deepList)), ReasonMalformed},
		{"invalid UTF-8", rawToken(hsHeader, with("x", "\"\xff\"")), ReasonClaims},
		{"NUL in a string", rawToken(hsHeader, with("x", `"a\u0000b"`)), ReasonClaims},
		{"NUL in a name", rawToken(hsHeader, with(`a\u0000`, `1`)), ReasonClaims},
		{"half a surrogate pair", rawToken(hsHeader, with("x", `"\ud800"`)), ReasonClaims},
		{"half a pair and text", rawToken(hsHeader, with("x", `"\ud800\n12345"`)), ReasonClaims},
		{"half a pair twice", rawToken(hsHeader, with("x", `"\ud800\ud800"`)), ReasonClaims},
		{"low surrogate", rawToken(hsHeader, with("x", `"\udc00"`)), ReasonClaims},
	}
}

// hostileClaims are signed properly over claims that must not be accepted.
func hostileClaims(t *testing.T) []hostile {
	t.Helper()
	exp := func(value string) string { return fmt.Sprintf(`{"tenant_id":%q,"exp":%s}`, tenantA, value) }
	with := func(name, value string) string { return payload(`"` + name + `":` + value) }
	return []hostile{
		{"exp missing", hs(t, map[string]any{"exp": nil}), ReasonClaims},
		{"exp is a string", rawToken(hsHeader, exp(`"9999999999"`)), ReasonClaims},
		{"exp is null", rawToken(hsHeader, exp(`null`)), ReasonClaims},
		{"exp is true", rawToken(hsHeader, exp(`true`)), ReasonClaims},
		{"exp is a list", rawToken(hsHeader, exp(`[9999999999]`)), ReasonClaims},
		{"exp is infinite", rawToken(hsHeader, exp(`1e400`)), ReasonClaims},
		{"exp overflows", rawToken(hsHeader, exp(`1e30`)), ReasonClaims},
		{"exp in milliseconds", rawToken(hsHeader, exp(`1800000600000`)), ReasonClaims},
		{"exp negative", rawToken(hsHeader, exp(`-1`)), ReasonClaims},
		{"Exp folded", rawToken(hsHeader, fmt.Sprintf(`{"tenant_id":%q,"Exp":9999999999}`, tenantA)), ReasonClaims},
		{"exp zero", rawToken(hsHeader, exp(`0`)), ReasonExpired},
		{"exp passed", hs(t, map[string]any{"exp": testNow.Unix() - 1}), ReasonExpired},
		{"exp is now", hs(t, map[string]any{"exp": testNow.Unix()}), ReasonExpired},
		{"nbf is a string", rawToken(hsHeader, with("nbf", `"1"`)), ReasonClaims},
		{"nbf infinite", rawToken(hsHeader, with("nbf", `-1e999`)), ReasonClaims},
		{"nbf in the future", hs(t, map[string]any{"nbf": testNow.Unix() + 1}), ReasonNotYetValid},
		{"iat is a string", rawToken(hsHeader, with("iat", `"1"`)), ReasonClaims},
		{"iat in the future", hs(t, map[string]any{"iat": testNow.Unix() + 1}), ReasonIssuedInFuture},
		{"sub is a number", rawToken(hsHeader, fmt.Sprintf(`{"tenant_id":%q,"sub":1,"exp":9999999999}`, tenantA)), ReasonClaims},
		{"jti is a list", rawToken(hsHeader, with("jti", `["a"]`)), ReasonClaims},
	}
}

func TestHostileTokensAreRefused(t *testing.T) {
	v := verifier(t, Config{})
	wantAccepted(t, v, rawToken(hsHeader, payload(`"ok":"\ud83d\ude00\\u0000"`)))
	for _, c := range slices.Concat(hostileTexts(t), hostileHeaders(t), hostilePayloads(t), hostileClaims(t)) {
		t.Run(c.name, func(t *testing.T) {
			wantRefused(t, v, c.token, c.reason)
			wantRefused(t, v, c.token, c.reason) // and not from a cache the second time
		})
	}
}

func TestKidOnlyEverSelectsAmongConfiguredKeys(t *testing.T) {
	second := strings.Repeat("second secret ", 4)
	v := verifier(t, Config{Keys: []KeyConfig{
		{Algorithm: "HS256", KeyID: "one", Secret: testSecret},
		{Algorithm: "HS256", KeyID: "two", Secret: Secret(second)},
	}})
	token := func(kid, secret string) string {
		return macToken(fmt.Sprintf(`{"alg":"HS256","kid":%q}`, kid), payload(""), []byte(secret))
	}
	wantAccepted(t, v, token("one", testSecret))
	wantAccepted(t, v, token("two", second))
	wantAccepted(t, v, macToken(hsHeader, payload(""), []byte(second))) // no kid: every key of the algorithm
	wantRefused(t, v, token("two", testSecret), ReasonSignature)
	for _, kid := range []string{
		"ONE", "one ", "three", "../../../../dev/null", "/proc/sys/kernel/randomize_va_space",
		"' UNION SELECT 'AA", "http://127.0.0.1/key", "file:///dev/null", strings.Repeat("k", 10_000),
	} {
		wantRefused(t, v, token(kid, testSecret), ReasonUnknownKey)
		wantRefused(t, v, token(kid, ""), ReasonUnknownKey)
	}
	jku := `{"alg":"HS256","kid":"one","jku":"http://127.0.0.1:1/","jwk":{"kty":"oct","k":"c2VjcmV0"},"x5u":"http://127.0.0.1:1/"}`
	wantRefused(t, v, macToken(jku, payload(""), []byte("secret")), ReasonSignature)
	unnamed := verifier(t, Config{})
	wantAccepted(t, unnamed, token("any", testSecret)) // a key without key_id answers to every kid
}

func TestIssuerAndAudienceAreRequiredWhenConfigured(t *testing.T) {
	v := verifier(t, Config{Issuer: "https://issuer.example", Audience: "tenantgate"})
	edit := func(iss, aud any) string { return hs(t, map[string]any{"iss": iss, "aud": aud}) }
	wantAccepted(t, v, edit("https://issuer.example", "tenantgate"))
	wantAccepted(t, v, edit("https://issuer.example", []string{"other", "tenantgate"}))
	for _, iss := range []any{nil, "", "https://issuer.example/", "HTTPS://issuer.example", 1, []string{"https://issuer.example"}} {
		wantRefused(t, v, edit(iss, "tenantgate"), ReasonIssuer)
	}
	for _, aud := range []any{nil, "", "other", []string{}, []any{"tenantgate", 1}, map[string]any{"tenantgate": true}, 7} {
		wantRefused(t, v, edit("https://issuer.example", aud), ReasonAudience)
	}
	onlyAudience := verifier(t, Config{Audience: "tenantgate"})
	wantRefused(t, onlyAudience, edit(nil, nil), ReasonAudience)
	wantAccepted(t, verifier(t, Config{}), edit(nil, nil))
}

func TestLifetimeIsBoundedByTheClaimsAlone(t *testing.T) {
	v := verifier(t, Config{MaxLifetime: time.Hour})
	at := func(iat, exp int64) string {
		return hs(t, map[string]any{"iat": testNow.Unix() + iat, "exp": testNow.Unix() + exp})
	}
	wantAccepted(t, v, at(-600, 3000))
	wantRefused(t, v, at(-600, 3001), ReasonLifetime)
	wantRefused(t, v, at(-86400, 60), ReasonLifetime)
	wantRefused(t, v, hs(t, map[string]any{"iat": nil}), ReasonLifetime)
	wantAccepted(t, verifier(t, Config{}), hs(t, map[string]any{"iat": nil}))
}

func TestLeewayIsTheSameColdAndCached(t *testing.T) {
	const leeway = 30 * time.Second
	token := hs(t, map[string]any{"exp": testNow.Unix() + 600, "nbf": testNow.Unix() - 10, "iat": testNow.Unix()})
	warm := verifier(t, Config{Leeway: leeway})
	for second := -60; second <= 660; second++ {
		for _, fraction := range []time.Duration{0, time.Nanosecond, time.Second - 1} {
			now := testNow.Add(time.Duration(second)*time.Second + fraction)
			wantAccepted(t, warm, token) // puts it into the cache again
			_, cold := verifier(t, Config{Leeway: leeway}).Verify(now, token)
			_, hit := warm.Verify(now, token)
			if fmt.Sprint(cold) != fmt.Sprint(hit) {
				t.Fatalf("at %+d s: cold %v, cached %v", second, cold, hit)
			}
			if accepted := second >= -30 && second < 630; accepted != (cold == nil) {
				t.Fatalf("at %+d s: %v", second, cold)
			}
		}
	}
	id := wantAccepted(t, warm, token)
	if want := testNow.Add(630 * time.Second); !id.ExpiresAt().Equal(want) {
		t.Fatalf("expires at %v, refused from %v", id.ExpiresAt(), want)
	}
}

func TestMalleatedSignatureDoesNotEvadeRevocation(t *testing.T) {
	path := file(t, publicPEM(t, p256Pair().public))
	v := verifier(t, Config{Keys: []KeyConfig{{Algorithm: "ES256", PublicKeyFile: path}}, RevokedFile: file(t, []byte("jti=token-1\n"))})
	token := signed(t, "ES256", "", p256Pair().private, goodClaims(nil))
	cut := strings.LastIndex(token, ".")
	signature, err := jwt.NewParser().DecodeSegment(token[cut+1:])
	if err != nil {
		t.Fatal(err)
	}
	order := p256Pair().public.(*ecdsa.PublicKey).Params().N
	s := new(big.Int).SetBytes(signature[32:])
	new(big.Int).Sub(order, s).FillBytes(signature[32:])
	wantRefused(t, v, token, ReasonRevoked)
	wantRefused(t, v, token[:cut+1]+b64(string(signature)), ReasonRevoked)
}

func TestReasonsAreAClosedSetOfMetricLabels(t *testing.T) {
	seen := make(map[Reason]bool)
	for _, reason := range Reasons() {
		if seen[reason] || strings.Trim(string(reason), "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("%q is there twice or no label", reason)
		}
		seen[reason] = true
	}
	Reasons()[0] = "changed"
	if Reasons()[0] == "changed" {
		t.Error("a caller can change the set")
	}
}
