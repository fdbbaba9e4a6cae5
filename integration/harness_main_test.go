package integration

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// loadTime is how long the two-tenant load runs in all; -short cuts it.
var loadTime = flag.Duration("load", 60*time.Second, "how long the two-tenant load runs")

// loadSeed chooses what the clients of the load do, and where they vanish.
var loadSeed = flag.Uint64("load-seed", 1, "seed of the two-tenant load")

// postgresVersion chooses the server: a major version, or the directory of its binaries.
var postgresVersion = flag.String("postgres", "", "major version of PostgreSQL, or the directory of its binaries; empty: the installed one")

// TestMain runs the package and then ends every process and directory that the
// harness made.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if shared.pg != nil {
		shared.pg.destroy()
	}
	spawned.killAll()
	if work.dir != "" {
		if err := os.RemoveAll(work.dir); err != nil {
			fmt.Fprintln(os.Stderr, "work directory:", err)
		}
	}
	os.Exit(code)
}

// work is the directory of everything that lives as long as the package: any
// user may enter it, since PostgreSQL does not run as root.
var work struct {
	once sync.Once
	dir  string
}

// workDir returns a fresh directory for one server or one test.
func workDir(t testing.TB, prefix string) string {
	t.Helper()
	work.once.Do(func() {
		dir, err := os.MkdirTemp("", "tgit")
		if err == nil {
			err = os.Chmod(dir, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		work.dir = dir
	})
	dir, err := os.MkdirTemp(work.dir, prefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spawned starts every long-lived child from one locked thread, so that the
// kernel ends the children (Pdeathsig is tied to the thread) even when the test
// binary is killed or panics.
var spawned processes

// processes is the set of children that are still running.
type processes struct {
	once  sync.Once
	start chan startRequest
	mu    sync.Mutex
	live  map[*exec.Cmd]struct{}
}

// startRequest asks the spawning thread to start one command.
type startRequest struct {
	cmd  *exec.Cmd
	done chan error
}

// run starts cmd; it gets signal when the test binary dies.
func (p *processes) run(cmd *exec.Cmd, signal syscall.Signal) error {
	p.once.Do(func() {
		p.start = make(chan startRequest)
		p.live = make(map[*exec.Cmd]struct{})
		go func() {
			runtime.LockOSThread()
			for r := range p.start {
				r.done <- r.cmd.Start()
			}
		}()
	})
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = signal
	done := make(chan error)
	p.start <- startRequest{cmd, done}
	if err := <-done; err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live[cmd] = struct{}{}
	return nil
}

// ended forgets a child whose Wait has returned.
func (p *processes) ended(cmd *exec.Cmd) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, cmd)
}

// killAll ends what is left, by process id.
func (p *processes) killAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for cmd := range p.live {
		_ = cmd.Process.Kill()
	}
}

// build compiles the proxy once and returns its path.
var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("TENANTGATE_BIN"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp(work.dir, "bin")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tenantgate")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/tenantgate")...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+map[bool]string{true: "1", false: "0"}[raceEnabled])
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// proxyBinary returns the path of the proxy under test.
func proxyBinary(t testing.TB) string {
	t.Helper()
	workDir(t, "w")
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// freePort returns a loopback port that was free a moment ago. It is below those that
// the kernel gives to connections of its own accord (ip_local_port_range), which are
// many here.
func freePort(t testing.TB) int {
	t.Helper()
	const lowest, ports = 12000, 20000
	for range 100 {
		port := lowest + rand.IntN(ports)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		return port
	}
	t.Fatal("no port is free")
	return 0
}

// eventually polls until ok holds and fails the test with what when it does not
// within the time.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}
