package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lines reads the log of a running command; its end is the end of the command.
type lines struct {
	t       *testing.T
	scanner *bufio.Scanner
	seen    []string
}

// until reads until a line holds text.
func (l *lines) until(text string) {
	l.t.Helper()
	for l.scanner.Scan() {
		l.seen = append(l.seen, l.scanner.Text())
		if strings.Contains(l.scanner.Text(), text) {
			return
		}
	}
	l.t.Fatalf("%q is not in the log:\n%s", text, strings.Join(l.seen, "\n"))
}

func TestServeObeysSignalsAndTellsTheServiceManager(t *testing.T) {
	dir := t.TempDir()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", manager.LocalAddr().String())
	told := func() string {
		t.Helper()
		if err := manager.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		state := make([]byte, 64)
		n, err := manager.Read(state)
		if err != nil {
			t.Fatal(err)
		}
		return string(state[:n])
	}
	good := complete("listen: {address: " + dir + "}\nhttp: {address: \"\"}\nlimits: {max_client_conn: 50}\ndatabases: {app: {dsn: \"host=127.0.0.1 port=1 sslmode=disable\"}}")
	path := writeFile(t, dir, "config.yaml", good)

	read, write := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- runServe([]string{"-config", path}, io.Discard, write)
		write.Close()
	}()
	log := &lines{t: t, scanner: bufio.NewScanner(read)}
	send := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}

	log.until("a database does not answer as it should")
	log.until("the context is not sealed")
	log.until("listening")
	if got := told(); got != "READY=1" {
		t.Errorf("the manager is told %q", got)
	}
	writeFile(t, dir, "config.yaml", complete("limits: {max_client_conn: none}"))
	send(syscall.SIGHUP)
	log.until("the configuration was not reloaded, the previous one stays in force")
	writeFile(t, dir, "config.yaml", good+"\nlog: {format: json}")
	send(syscall.SIGHUP)
	log.until(`"msg":"the configuration was reloaded"`)
	send(syscall.SIGTERM)
	log.until("draining")
	if got := told(); got != "STOPPING=1" {
		t.Errorf("the manager is told %q", got)
	}
	log.until("the proxy has stopped")
	if got := <-code; got != exitOK {
		t.Errorf("ends with %d", got)
	}
}

func TestServeFailsWhenItCannotListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	path := writeFile(t, t.TempDir(), "config.yaml", complete("listen: {address: \""+taken.Addr().String()+"\"}\nhttp: {address: \"\"}"))
	code, _, stderr := runWith("serve", "-config", path)
	if code != exitFailure || !strings.Contains(stderr, "address already in use") {
		t.Errorf("ends with %d: %s", code, stderr)
	}
}
