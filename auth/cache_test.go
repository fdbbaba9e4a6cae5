package auth

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestCacheHoldsABoundedNumberOldestOutFirst(t *testing.T) {
	c := newCache(3)
	for i := range 5 {
		c.put(sumOf(fmt.Sprint(i)), 10, 1, &claims{tenant: fmt.Sprint(i)})
	}
	for i := range 5 {
		if got := c.get(sumOf(fmt.Sprint(i)), 1); (got != nil) != (i >= 2) {
			t.Errorf("%d: %v", i, got)
		}
	}
	if len(c.entries) != 3 || c.order.Len() != 3 || c.bytes != 30 {
		t.Errorf("%d entries, %d in order, %d bytes", len(c.entries), c.order.Len(), c.bytes)
	}
	c.put(sumOf("4"), 20, 1, &claims{}) // again: replaced, not twice
	if len(c.entries) != 3 || c.order.Len() != 3 || c.bytes != 40 {
		t.Errorf("%d entries, %d in order, %d bytes", len(c.entries), c.order.Len(), c.bytes)
	}
	c.drop(sumOf("4"))
	c.drop(sumOf("4"))
	if c.bytes != 20 {
		t.Errorf("%d bytes", c.bytes)
	}
}

func TestCacheHoldsABoundedAmount(t *testing.T) {
	c := newCache(maxCachedTokens)
	for i := range 1000 {
		c.put(sumOf(fmt.Sprint(i)), maxToken, 1, &claims{})
	}
	if c.bytes > maxCachedBytes || len(c.entries) != maxCachedBytes/maxToken {
		t.Errorf("%d entries, %d bytes", len(c.entries), c.bytes)
	}
}

func TestCacheForgetsWhatOtherKeysVerified(t *testing.T) {
	c := newCache(3)
	c.put(sumOf("a"), 1, 1, &claims{})
	if c.get(sumOf("a"), 2) != nil || len(c.entries) != 0 {
		t.Error("an entry of another keyring is given or kept")
	}
}

func TestOnlyAcceptedTokensAreCached(t *testing.T) {
	v := verifier(t, Config{RevokedFile: file(t, []byte("sub=bob\n"))})
	wantRefused(t, v, hs(t, map[string]any{"sub": "bob"}), ReasonRevoked)
	wantRefused(t, v, hs(t, map[string]any{"exp": 1}), ReasonExpired)
	wantRefused(t, v, macToken(hsHeader, payload(""), nil), ReasonSignature)
	if len(v.cache.entries) != 0 {
		t.Errorf("%d refused tokens cached", len(v.cache.entries))
	}
	first, second := wantAccepted(t, v, hs(t, nil)), wantAccepted(t, v, hs(t, nil))
	if len(v.cache.entries) != 1 || first != second {
		t.Error("an accepted token is not shared through the cache")
	}
	if _, err := v.Verify(testNow.Add(time.Hour), hs(t, nil)); err == nil || len(v.cache.entries) != 0 {
		t.Errorf("an expired token is kept: %v", err)
	}
}

func TestVerifyIsSafeWhileKeysChange(t *testing.T) {
	one, two := jwkSet(t, jwk("one", "EdDSA", edPair().public)), jwkSet(t, jwk("two", "EdDSA", edOther().public))
	v := verifier(t, Config{JWKS: JWKSConfig{File: file(t, one)}})
	token := signed(t, "EdDSA", "one", edPair().private, goodClaims(nil))
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 300 {
				if id, err := v.Verify(testNow, token); (err == nil) == id.IsZero() {
					t.Error("an Identity with an error, or none without")
				}
			}
		})
	}
	for range 100 {
		if err := v.installJWKS(two); err != nil {
			t.Error(err)
		}
		if _, err := v.Verify(testNow, token); err == nil {
			t.Error("a token of a withdrawn key is accepted")
		}
		if err := v.installJWKS(one); err != nil {
			t.Error(err)
		}
	}
	workers.Wait()
}

func TestOnlyVerifiedTokensAreRecalledAndJudgedAgain(t *testing.T) {
	v := verifier(t, Config{})
	token := hs(t, nil)
	if id, known, err := v.Recall(testNow, []byte(token)); known || err != nil || !id.IsZero() {
		t.Errorf("before Verify: %v, %v", known, err)
	}
	wantRefused(t, v, token+"x", ReasonSignature)
	if _, known, _ := v.Recall(testNow, []byte(token+"x")); known {
		t.Error("a refused token is recalled")
	}
	want := wantAccepted(t, v, token)
	if id, known, err := v.Recall(testNow, []byte(token)); !known || err != nil || id != want {
		t.Errorf("after Verify: %v, %v", known, err)
	}
	if id, known, err := v.Recall(testNow.Add(24*time.Hour), []byte(token)); !known || err == nil || !id.IsZero() {
		t.Errorf("when it has expired: %v, %v", known, err)
	}
	wantAccepted(t, v, token)
	set, err := parseRevocations([]byte("sub="+want.Subject()+"\n"), v.tenant)
	if err != nil {
		t.Fatal(err)
	}
	v.revoked.Store(set)
	if id, known, err := v.Recall(testNow, []byte(token)); !known || err == nil || !id.IsZero() {
		t.Errorf("when it was revoked: %v, %v", known, err)
	}
}
