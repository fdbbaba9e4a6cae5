package auth

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestRevokedFileNamesTokensSubjectsAndTenants(t *testing.T) {
	cases := []struct {
		name, content string
		revoked       bool
	}{
		{"empty", "", false},
		{"comments and blanks", "# jti=token-1\n\n   \n\t# sub=alice\n", false},
		{"token", "jti=token-1", true},
		{"token in a CRLF file", "\r\njti=token-1\r\n", true},
		{"blanks around", "  jti=token-1  \n", true},
		{"subject", "sub=bob\nsub=alice\n", true},
		{"tenant", "tenant=" + tenantA + "\n", true},
		{"tenant in upper case", "tenant=" + strings.ToUpper(tenantA) + "\n", true},
		{"others", "jti=token-2\nsub=Alice\nsub=alic\njti=alice\nsub=token-1\ntenant=" + strings.Replace(tenantA, "1a", "1b", 1), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			plain := wantAccepted(t, verifier(t, Config{}), hs(t, nil))
			v := verifier(t, Config{RevokedFile: file(t, []byte(c.content))})
			if v.Revoked(plain) != c.revoked {
				t.Errorf("revoked: %v", !c.revoked)
			}
			if c.revoked {
				wantRefused(t, v, hs(t, nil), ReasonRevoked)
			} else {
				wantAccepted(t, v, hs(t, nil))
			}
			anonymous := hs(t, map[string]any{"jti": nil, "sub": ""})
			if !strings.HasPrefix(c.content, "tenant") {
				wantAccepted(t, v, anonymous)
			}
		})
	}
}

func TestBadRevokedFileIsRefusedAtStart(t *testing.T) {
	for content, want := range map[string]string{
		"jti=a\ntoken=b\n":    "line 2: ",
		"alice":               "line 1: ",
		"\n\nsub=":            "line 3: ",
		"sub= alice":          "line 1: ",
		"sub=alice # left us": "line 1: a comment behind a value",
		"tenant=acme":         "line 1: can match no token: ",
		"Jti=a":               "line 1: ",
		"sub=\xff":            "not valid UTF-8",
	} {
		_, err := New(Config{Keys: []KeyConfig{hsKey}, RevokedFile: file(t, []byte(content))}, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "auth.revoked_file: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
	_, err := New(Config{Keys: []KeyConfig{hsKey}, RevokedFile: "/nonexistent/revoked"}, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "auth.revoked_file: open /nonexistent/revoked: no such file") {
		t.Error(err)
	}
}

// running runs a Verifier inside a synctest bubble and stops it with the test.
func running(t *testing.T, v *Verifier) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { v.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

// pass lets fake time pass and the Verifier react to it.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestRevocationTakesEffectWithinHalfASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := file(t, []byte("sub=bob\n"))
		v := verifier(t, Config{RevokedFile: path})
		id := wantAccepted(t, v, hs(t, nil))
		wantAccepted(t, v, hs(t, nil)) // cached now
		running(t, v)
		before := v.Revocations()
		rewrite(t, path, []byte("jti=token-1\n"))
		pass(500 * time.Millisecond)
		if !v.Revoked(id) || v.Revocations() <= before {
			t.Fatal("a revoked token is still good after half a second")
		}
		wantRefused(t, v, hs(t, nil), ReasonRevoked)
		before = v.Revocations()
		rewrite(t, path, []byte("jti=token-2\n"))
		pass(500 * time.Millisecond)
		if v.Revoked(id) || v.Revocations() <= before {
			t.Fatal("a revocation that was taken back stays")
		}
		wantAccepted(t, v, hs(t, nil))
		before = v.Revocations()
		pass(time.Minute)
		if v.Revocations() != before {
			t.Fatal("the counter grows without a change")
		}
	})
}

func TestRevokedFileThatTurnsBadKeepsThePreviousSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged logBuffer
		path := file(t, []byte("jti=token-1\n"))
		v, err := New(Config{Keys: []KeyConfig{hsKey}, RevokedFile: path}, slog.New(slog.NewTextHandler(&logged, nil)))
		if err != nil {
			t.Fatal(err)
		}
		running(t, v)
		generation := v.Revocations()
		rewrite(t, path, []byte("jti=other\nrubbish\n"))
		pass(5 * time.Second)
		wantRefused(t, v, hs(t, nil), ReasonRevoked)
		if n := strings.Count(logged.String(), "line 2: "); n != 1 {
			t.Errorf("the bad line is logged %d times: %s", n, &logged)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Second)
		wantRefused(t, v, hs(t, nil), ReasonRevoked)
		if n := strings.Count(logged.String(), "no such file"); n != 1 {
			t.Errorf("the missing file is logged %d times: %s", n, &logged)
		}
		if v.Revocations() != generation {
			t.Error("the counter grew without a change in force")
		}
		rewrite(t, path, nil)
		pass(time.Second)
		wantAccepted(t, v, hs(t, nil))
	})
}

func TestHalfWrittenRevokedFileTakesNoEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := file(t, []byte("sub=bob\njti=token-1\n"))
		v := verifier(t, Config{RevokedFile: path})
		running(t, v)
		for range 20 { // truncated, half written and whole again between two looks
			rewrite(t, path, nil)
			pass(revokedPoll)
			wantRefused(t, v, hs(t, nil), ReasonRevoked)
			rewrite(t, path, []byte("sub=bob\n"))
			pass(revokedPoll)
			wantRefused(t, v, hs(t, nil), ReasonRevoked)
		}
	})
}

// watchedFile returns a watched file that was loaded once.
func watchedFile(t *testing.T, content string) *watched {
	t.Helper()
	w := &watched{path: file(t, []byte(content)), limit: 1 << 10}
	if _, err := w.load(); err != nil {
		t.Fatal(err)
	}
	return w
}

// wantPolled fails unless the second poll from now gives the content.
func wantPolled(t *testing.T, w *watched, want string) {
	t.Helper()
	if content, err := w.poll(); err != nil || content != nil {
		t.Fatalf("%q, %v at the first look", content, err)
	}
	if content, err := w.poll(); err != nil || string(content) != want {
		t.Fatalf("%q, %v at the second look", content, err)
	}
	if content, err := w.poll(); err != nil || content != nil {
		t.Fatalf("%q, %v at the third look", content, err)
	}
}

func TestWatchedFileNoticesAnEditThatKeepsSizeAndTime(t *testing.T) {
	w := watchedFile(t, "jti=a\n")
	w.recent = false // as if the file had been old when it was read
	info, err := os.Stat(w.path)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(info os.FileInfo) syscall.Timespec { return info.Sys().(*syscall.Stat_t).Ctim }
	for before := changed(info); changed(info) == before; { // until the clock of the file system ticks
		rewrite(t, w.path, []byte("jti=b\n"))
		if err := os.Chtimes(w.path, w.modified(), w.modified()); err != nil {
			t.Fatal(err)
		}
		if info, err = os.Stat(w.path); err != nil {
			t.Fatal(err)
		}
	}
	wantPolled(t, w, "jti=b\n")
}

func TestWatchedFileNoticesAnEditWithinOneTickOfItsClock(t *testing.T) {
	w := watchedFile(t, "jti=b\n")
	w.applied = sha256.Sum256([]byte("jti=a\n")) // what stood there at the same time stamps
	wantPolled(t, w, "jti=b\n")
}

// modified is the modification time of the stamp.
func (w *watched) modified() time.Time { return time.Unix(w.seen.modified.Unix()) }
