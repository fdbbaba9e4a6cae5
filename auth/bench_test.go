package auth

import (
	"net/netip"
	"testing"
)

// BenchmarkVerify measures a login with a token that is seen for the first time
// (cold) and with one that is not (cached).
func BenchmarkVerify(b *testing.B) {
	keys := algorithmKeys(b)
	for _, name := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		v := verifier(b, Config{Keys: []KeyConfig{keys[name].cfg}})
		token := signed(b, name, "", keys[name].good, goodClaims(nil))
		b.Run(name+"/cold", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.cache.clear()
				if _, err := v.Verify(testNow, token); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/cached", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(testNow, token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkClaim measures what an entry into a tenant's context asks for.
func BenchmarkClaim(b *testing.B) {
	id := wantAccepted(b, verifier(b, Config{}), hs(b, map[string]any{"a": map[string]any{"b": "c"}}))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := id.Claim("a.b"); !ok {
			b.Fatal("not present")
		}
	}
}

// BenchmarkRevoked measures the check of a live session.
func BenchmarkRevoked(b *testing.B) {
	v := verifier(b, Config{RevokedFile: file(b, []byte("sub=bob\n"))})
	id := wantAccepted(b, v, hs(b, nil))
	b.ReportAllocs()
	for b.Loop() {
		if v.Revoked(id) {
			b.Fatal("revoked")
		}
	}
}

// BenchmarkThrottle measures a failed login's share of the throttle.
func BenchmarkThrottle(b *testing.B) {
	throttle, addr := NewThrottle(60), netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if throttle.Allowed(addr, testNow) {
			throttle.Failed(addr, testNow)
		}
	}
}
