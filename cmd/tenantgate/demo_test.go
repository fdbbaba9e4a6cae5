package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestADemoTableIsAligned(t *testing.T) {
	var out bytes.Buffer
	p := newPage(&out)
	p.heading("Title")
	p.table([]string{"name", "n", "größe"}, [][]string{{"a", "7", "ä"}, {"longer", "1234", "x"}})
	p.line("after")
	want := "\nTitle\n" +
		"  name        n   größe\n" +
		"  a           7   ä\n" +
		"  longer   1234   x\n" +
		"\n  after\n"
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}

func TestColoursChangeNoAlignment(t *testing.T) {
	var plain, coloured bytes.Buffer
	p, c := newPage(&plain), newPage(&coloured)
	c.colour = true
	for _, q := range []*page{p, c} {
		q.heading("Title")
		q.code("SELECT 1")
		q.answer("1")
		q.table([]string{"a", "b"}, [][]string{{"1", "x"}, {"22", "yy"}})
		q.mark(true, "held")
		q.mark(false, "broken")
	}
	bare := coloured.String()
	for _, style := range []string{styleBold, styleFaint, styleRed, styleGreen, styleCyan, styleEnd} {
		bare = strings.ReplaceAll(bare, style, "")
	}
	if bare != plain.String() || strings.Contains(plain.String(), "\x1b") {
		t.Errorf("without its colours the page is\n%s\nand without colours\n%s", bare, plain.String())
	}
}

// brokenWriter fails like a pipe that nobody reads.
type brokenWriter struct{ writes int }

var errBroken = errors.New("broken")

func (w *brokenWriter) Write([]byte) (int, error) {
	w.writes++
	return 0, errBroken
}

func TestAPageKeepsItsFirstError(t *testing.T) {
	w := &brokenWriter{}
	p := newPage(w)
	p.title("one")
	p.line("two")
	if !errors.Is(p.err, errBroken) || w.writes != 1 {
		t.Errorf("%v after %d writes", p.err, w.writes)
	}
}

func TestOneBrokenCheckFailsTheTour(t *testing.T) {
	for _, tt := range []struct {
		checks []bool
		want   error
		text   string
	}{
		{[]bool{true, true}, nil, "✓ all 2 checks held"},
		{[]bool{true, false, true}, errTour, "✗ 1 of 3 checks failed"},
	} {
		var out bytes.Buffer
		tour := &tour{demo: &demo{}, page: newPage(&out)}
		for _, held := range tt.checks {
			tour.check(held, "claim")
		}
		if err := tour.verdict(time.Second); !errors.Is(err, tt.want) || !strings.Contains(out.String(), tt.text) {
			t.Errorf("%v: %v\n%s", tt.checks, err, out.String())
		}
	}
}

// program writes an empty program.
func program(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestTheNewestServerIsFoundUnlessPathHasOne(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Join(dir, "path"))
	places := []string{filepath.Join(dir, "postgresql-*")}
	if _, err := findServerBinaries(places); !errors.Is(err, errNoPostgres) || !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Errorf("without a server: %v", err)
	}
	program(t, filepath.Join(dir, "postgresql-17", "initdb")) // and no postgres
	for _, version := range []string{"9.6", "15", "16"} {
		for _, name := range []string{"initdb", "postgres"} {
			program(t, filepath.Join(dir, "postgresql-"+version, name))
		}
	}
	if got, err := findServerBinaries(places); err != nil || filepath.Base(got) != "postgresql-16" {
		t.Errorf("found %s, %v", got, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "path"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "postgresql-15", "initdb"), filepath.Join(dir, "path", "initdb")); err != nil {
		t.Fatal(err)
	}
	if got, err := findServerBinaries(places); err != nil || filepath.Base(got) != "postgresql-15" {
		t.Errorf("with one on PATH found %s, %v", got, err)
	}
}

func TestTheDemosDirectoryCanBeReachedAndHoldsASocket(t *testing.T) {
	long := filepath.Join("/var/tmp", strings.Repeat("long", 20))
	for _, tt := range []struct {
		tmp       string
		otherUser bool
		want      string
	}{
		{"/var/tmp", false, "/var/tmp"},
		{"/var/tmp", true, "/var/tmp"},
		{"/dev/shm/nowhere", true, "/tmp"},
		{long, false, "/tmp"},
	} {
		t.Setenv("TMPDIR", tt.tmp)
		if got := demoBase(tt.otherUser); got != tt.want {
			t.Errorf("with TMPDIR=%s, another user: %t: %s, want %s", tt.tmp, tt.otherUser, got, tt.want)
		}
	}
	short, err := os.MkdirTemp("/tmp", "tg") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	t.Setenv("TMPDIR", short) // of mode 0700
	if got := demoBase(false); got != short {
		t.Errorf("our own directory: %s", got)
	}
	if got := demoBase(true); got != "/tmp" {
		t.Errorf("a directory that the server's user cannot enter: %s", got)
	}
}

func TestReservedPortsDifferAndTakenOnesAreRefused(t *testing.T) {
	a, b, c, err := reservePorts(0, 0)
	if err != nil || a == b || b == c || a == c || a == 0 || c == 0 {
		t.Errorf("%d, %d, %d, %v", a, b, c, err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	if _, _, _, err := reservePorts(port, 0); err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)) {
		t.Errorf("a taken port: %v", err)
	}
}
