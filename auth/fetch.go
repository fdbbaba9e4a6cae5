package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// The pace of fetching a JWKS.
const (
	fetchTimeout   = 5 * time.Second  // of one GET, body included
	refetchAfter   = 30 * time.Second // an unknown kid causes at most one fetch within it
	firstRetry     = time.Second      // after a failure; doubles up to refetchAfter
	jwksFilePoll   = time.Second
	maxRedirects   = 3
	maxHeaderBytes = 64 << 10
)

// newJWKSClient returns a client that keeps no connection between fetches and
// follows redirects within one scheme and host only.
func newJWKSClient() *http.Client {
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    fetchTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	return &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		first := via[0].URL
		switch {
		case next.URL.Scheme != first.Scheme || next.URL.Host != first.Host:
			return errors.New("redirected to another host; set auth.jwks.url to the final address")
		case len(via) > maxRedirects:
			return errors.New("redirected too often")
		}
		return nil
	}}
}

// Fetch gets the JWKS from its URL once, now, and puts it in force; the previous
// set stays when it fails. Without auth.jwks.url it does nothing. One fetch
// takes at most five seconds.
func (v *Verifier) Fetch(ctx context.Context) error {
	if v.jwks == nil || v.jwks.url == "" {
		return nil
	}
	content, err := v.jwks.get(ctx)
	if err == nil {
		err = v.installJWKS(content)
	}
	if err != nil {
		return fmt.Errorf("auth.jwks.url: fetch %s: %w", v.jwks.shown, err)
	}
	return nil
}

// get performs one GET. Its errors do not hold the URL's query.
func (j *jwks) get(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return nil, errors.New("not a usable URL")
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	request.Header.Set("User-Agent", "tenantgate")
	response, err := j.client.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the issuer answered %d", response.StatusCode)
	}
	return readAtMost(response.Body, maxJWKS)
}

// awaitsKeys reports whether a JWKS that could hold keys of the algorithm is
// configured but was never loaded.
func (r *keyring) awaitsKeys(source *jwks, a *algorithm) bool {
	return source != nil && !r.fetched && a.family != familyHMAC
}

// missed asks for a refresh in the background when a token names a key that the
// JWKS does not have. It never waits.
func (v *Verifier) missed(ring *keyring, a *algorithm, kid string) {
	if v.jwks == nil || v.jwks.url == "" || kid == "" || a.family == familyHMAC || ring.hasJWK(a, kid) {
		return
	}
	select {
	case v.jwks.nudge <- struct{}{}:
	default: // one is waiting already
	}
}

// refreshJWKS keeps the JWKS fresh until ctx ends.
func (v *Verifier) refreshJWKS(ctx context.Context) {
	if v.jwks.url == "" {
		v.jwks.file.follow(ctx, jwksFilePoll, v.installJWKS, func(text string) {
			v.log.Error("auth.jwks.file does not load; the last good set stays in force",
				"file", v.jwks.file.path, "error", text)
		})
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := firstRetry
	var last, due time.Time // of the last fetch begun and of the next one
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.jwks.nudge:
			if early := last.Add(refetchAfter); !last.IsZero() && early.Before(due) {
				due = early
				timer.Reset(time.Until(due))
			}
			continue
		case <-timer.C:
		}
		last = time.Now()
		err := v.Fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		due = last.Add(v.jwks.refresh)
		if err != nil {
			due = last.Add(min(retry, v.jwks.refresh))
			retry = min(2*retry, refetchAfter)
			v.log.Warn("jwks does not load; the last good set stays in force", "error", err)
		} else {
			retry = firstRetry
		}
		timer.Reset(time.Until(due))
	}
}
