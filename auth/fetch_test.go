package auth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// badAnswers are answers that must not change the keys in force, most of them
// with a key set in the body; foreign is the address of another host.
func badAnswers(stolen []byte, foreign string) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"500":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); _, _ = w.Write(stolen) },
		"404":          http.NotFound,
		"204":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"empty set":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"unusable set": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[{"kty":"XYZ"}]}`) },
		"HTML":         func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<html>`) },
		"2 MiB": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(append(bytes.Repeat([]byte(" "), 2<<20), stolen...))
		},
		"body cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = w.Write(stolen)
		},
		"other host":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, foreign, http.StatusFound) },
		"redirect loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) },
	}
}

func TestFetchKeepsTheLastGoodSet(t *testing.T) {
	set := jwkSet(t, jwk("one", "ES256", p256Pair().public))
	var answer atomic.Pointer[http.HandlerFunc]
	serve := func(h http.HandlerFunc) { answer.Store(&h) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*answer.Load())(w, r) }))
	defer server.Close()
	stolen := jwkSet(t, jwk("two", "ES256", p256Other().public))
	var strayed atomic.Bool
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		strayed.Store(true)
		_, _ = w.Write(stolen)
	}))
	defer foreign.Close()

	v := verifier(t, Config{JWKS: JWKSConfig{URL: server.URL + "/jwks?tag=hidden"}})
	one := signed(t, "ES256", "one", p256Pair().private, goodClaims(nil))
	two := signed(t, "ES256", "two", p256Other().private, goodClaims(nil))
	wantRefused(t, v, one, ReasonNoKeys)
	wantRefused(t, v, hs(t, nil), ReasonAlgorithm) // no JWKS will ever verify this

	bad := badAnswers(stolen, foreign.URL)
	serve(bad["redirect loop"])
	if err := v.Fetch(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "redirected too often") {
		t.Errorf("redirect loop: %v", err)
	}
	check := func(installed bool) {
		t.Helper()
		for name, handler := range bad {
			serve(handler)
			err := v.Fetch(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), "auth.jwks.url: fetch "+server.URL+"/jwks: ") || strings.Contains(err.Error(), "hidden") {
				t.Errorf("%s: %v", name, err)
			}
			if installed {
				wantAccepted(t, v, one)
				wantRefused(t, v, two, ReasonUnknownKey)
			} else {
				wantRefused(t, v, one, ReasonNoKeys)
			}
		}
	}
	check(false)
	serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jwks" {
			http.Redirect(w, r, "/moved", http.StatusFound) // within the host
			return
		}
		_, _ = w.Write(set)
	})
	if err := v.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(true)
	if strayed.Load() {
		t.Error("a redirect to another host was followed")
	}
	serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(stolen) })
	if err := v.Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantAccepted(t, v, two)
	wantRefused(t, v, one, ReasonUnknownKey)
}

func TestNewDoesNotTouchTheNetwork(t *testing.T) {
	var asked atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer server.Close()
	v := verifier(t, Config{JWKS: JWKSConfig{URL: server.URL}})
	wantRefused(t, v, signed(t, "ES256", "one", p256Pair().private, goodClaims(nil)), ReasonNoKeys)
	if asked.Load() {
		t.Error("the issuer was asked")
	}
	if err := verifier(t, Config{}).Fetch(t.Context()); err != nil {
		t.Errorf("a fetch without a URL: %v", err)
	}
}

// issuer is an issuer in memory, for tests on fake time.
type issuer struct {
	set   atomic.Pointer[[]byte] // nil: 503
	slow  atomic.Bool            // answers only when the request is given up
	calls atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.calls.Add(1)
	if i.slow.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	set := i.set.Load()
	if set == nil {
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody, Request: r}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(*set)), Request: r}, nil
}

// serve sets what the issuer answers; no content: 503.
func (i *issuer) serve(set []byte) {
	i.set.Store(&set)
	if set == nil {
		i.set.Store(nil)
	}
}

// withIssuer builds a Verifier that fetches from an issuer in memory.
func withIssuer(t *testing.T, log io.Writer) (*Verifier, *issuer) {
	t.Helper()
	v, err := New(Config{JWKS: JWKSConfig{URL: "https://issuer.example/jwks"}}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	source := &issuer{}
	v.jwks.client.Transport = source
	return v, source
}

func TestFetchGivesUpAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, source := withIssuer(t, io.Discard)
		source.slow.Store(true)
		began := time.Now()
		err := v.Fetch(t.Context())
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != fetchTimeout {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestRunFetchesRetriesAndRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged logBuffer
		v, source := withIssuer(t, &logged)
		one := signed(t, "ES256", "one", p256Pair().private, goodClaims(nil))
		two := signed(t, "ES256", "two", p256Other().private, goodClaims(nil))
		running(t, v)
		if source.calls.Load() != 1 {
			t.Fatal("no fetch at the start")
		}
		pass(4 * time.Second) // retries after 1 and 2 seconds more
		if source.calls.Load() != 3 {
			t.Fatalf("%d fetches in four seconds", source.calls.Load())
		}
		source.serve(jwkSet(t, jwk("one", "ES256", p256Pair().public)))
		pass(4 * time.Second)
		wantAccepted(t, v, one)
		calls := source.calls.Load()
		source.serve(nil)
		pass(defaultRefresh - 10*time.Second)
		if source.calls.Load() != calls {
			t.Fatal("fetched before the refresh is due")
		}
		pass(time.Hour) // the issuer is away for an hour
		wantAccepted(t, v, one)
		if n := source.calls.Load() - calls; n < 100 || n > 130 {
			t.Errorf("%d tries in an hour", n)
		}
		source.serve(jwkSet(t, jwk("two", "ES256", p256Other().public)))
		pass(refetchAfter)
		wantAccepted(t, v, two)
		wantRefused(t, v, one, ReasonUnknownKey)
		if strings.Contains(logged.String(), "eyJ") {
			t.Error("a token is in the log")
		}
	})
}

func TestUnknownKidRefreshesOnceAnIntervalAndNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, source := withIssuer(t, io.Discard)
		source.serve(jwkSet(t, jwk("one", "ES256", p256Pair().public)))
		two := signed(t, "ES256", "two", p256Other().private, goodClaims(nil))
		running(t, v)
		wantRefusedAtOnce := func() {
			t.Helper()
			began := time.Now()
			for range 1000 {
				wantRefused(t, v, two, ReasonUnknownKey)
			}
			if took := time.Since(began); took != 0 {
				t.Fatalf("refusing took %v", took)
			}
			synctest.Wait()
		}
		wantRefusedAtOnce() // right after the first fetch: has to wait for its turn
		if source.calls.Load() != 1 {
			t.Fatalf("%d fetches", source.calls.Load())
		}
		pass(refetchAfter)
		if source.calls.Load() != 2 {
			t.Fatalf("%d fetches after the interval", source.calls.Load())
		}
		for range 9 { // a flood of made-up kids
			wantRefusedAtOnce()
			pass(refetchAfter / 3)
		}
		if n := source.calls.Load(); n > 5 {
			t.Fatalf("%d fetches in three intervals", n-2)
		}
		pass(refetchAfter)
		calls := source.calls.Load()
		source.slow.Store(true) // a login does not wait for a slow issuer either
		wantRefusedAtOnce()
		if source.calls.Load() != calls+1 {
			t.Fatalf("%d fetches for a kid after a quiet interval", source.calls.Load()-calls)
		}
		wantRefusedAtOnce()
		source.slow.Store(false)
		source.serve(jwkSet(t, jwk("one", "ES256", p256Pair().public), jwk("two", "ES256", p256Other().public)))
		pass(2 * refetchAfter)
		wantAccepted(t, v, two)
	})
}

func TestOnlyATokenThatAKeySetCouldVerifyAsksForARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, source := withIssuer(t, io.Discard)
		source.serve(jwkSet(t, jwk("one", "ES256", p256Pair().public)))
		running(t, v)
		pass(time.Minute)
		calls := source.calls.Load()
		for _, token := range []string{
			signed(t, "ES256", "one", p256Other().private, goodClaims(nil)), // a kid that the set has
			signed(t, "ES256", "", p256Other().private, goodClaims(nil)),    // no kid
			signed(t, "HS256", "new", []byte(testSecret), goodClaims(nil)),  // no JWKS has secrets
			macToken(`{"alg":"none","kid":"new"}`, payload(""), nil),
			macToken(`{"alg":"ES256","kid":"new"}`, "junk", nil),
			"junk",
		} {
			if _, err := v.Verify(testNow, token); err == nil {
				t.Fatal("accepted")
			}
		}
		pass(time.Second)
		if source.calls.Load() != calls {
			t.Error("the issuer was asked")
		}
	})
}

func TestRunLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails when a goroutine outlives the test
		v, source := withIssuer(t, io.Discard)
		source.slow.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { v.Run(ctx); close(done) }()
		synctest.Wait()
		cancel()
		<-done
	})
}
