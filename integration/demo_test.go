package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demoUsers are who the demo is run as: ourselves, and an ordinary user when we
// are root.
func demoUsers(t testing.TB) map[string]*syscall.Credential {
	t.Helper()
	users := map[string]*syscall.Credential{"self": nil}
	if os.Geteuid() != 0 {
		return users
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		t.Fatal(err)
	}
	users["nobody"] = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return users
}

// demoRun is one `tenantgate demo`, which has a directory for temporary files to
// itself.
type demoRun struct {
	cmd    *exec.Cmd
	tmp    string
	out    *logBuffer
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

// startDemo runs the demo; its standard output goes to stdout, or into out.
func startDemo(t testing.TB, as *syscall.Credential, stdout io.Writer, env []string, args ...string) *demoRun {
	t.Helper()
	d := &demoRun{tmp: workDir(t, "demo"), out: &logBuffer{}, exited: make(chan struct{})}
	if err := os.Chmod(d.tmp, 0o777); err != nil {
		t.Fatal(err)
	}
	// Where other users may run it.
	binary := filepath.Join(workDir(t, "bin"), "tenantgate")
	text, err := os.ReadFile(proxyBinary(t))
	if err == nil {
		err = os.WriteFile(binary, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.cmd = exec.Command(binary, append([]string{"demo"}, args...)...)
	d.cmd.Dir, d.cmd.Env = "/", append(append(os.Environ(), "TMPDIR="+d.tmp, "HOME="+d.tmp), env...)
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.out
	if stdout != nil {
		d.cmd.Stdout = stdout
	}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if err := spawned.run(d.cmd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.err = d.cmd.Wait()
		spawned.ended(d.cmd)
		close(d.exited)
	}()
	return d
}

// exit waits for the end and returns the exit code, -1 after a signal.
func (d *demoRun) exit(t testing.TB) int {
	t.Helper()
	select {
	case <-d.exited:
	case <-time.After(60 * time.Second):
		t.Fatalf("the demo does not end:\n%s", d.out)
	}
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(d.out.String(), bad) {
			t.Errorf("%s:\n%s", bad, d.out)
		}
	}
	var exit *exec.ExitError
	if errors.As(d.err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// signal sends a signal to the demo alone, not to its children.
func (d *demoRun) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// until waits until the demo has printed text.
func (d *demoRun) until(t testing.TB, text string) {
	t.Helper()
	eventually(t, 60*time.Second, "the demo prints "+text, func() bool {
		select {
		case <-d.exited:
			t.Fatalf("the demo ended (%v):\n%s", d.err, d.out)
		default:
		}
		return strings.Contains(d.out.String(), text)
	})
}

// processes lists those that work inside the demo's directory: PostgreSQL's do.
func (d *demoRun) processes(t testing.TB) []string {
	t.Helper()
	var found []string
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if at, err := os.Readlink(link); err == nil && strings.HasPrefix(at, d.tmp) {
			found = append(found, link+" "+at)
		}
	}
	return found
}

// nothingIsLeft fails the test when a process or a file of the demo is there.
func (d *demoRun) nothingIsLeft(t testing.TB) {
	t.Helper()
	if p := d.processes(t); len(p) > 0 {
		t.Errorf("processes are left: %v", p)
	}
	left, err := os.ReadDir(d.tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %v %v", left, err)
	}
}

// TestTheDemosTourHolds runs the tour as root, if we are, and as an ordinary user.
func TestTheDemosTourHolds(t *testing.T) {
	for name, as := range demoUsers(t) {
		t.Run(name, func(t *testing.T) {
			d := startDemo(t, as, nil, nil, "-once")
			code := d.exit(t)
			text := d.out.String()
			if code != 0 || !regexp.MustCompile(`✓ all \d+ checks held`).MatchString(text) || strings.Contains(text, "✗") {
				t.Errorf("ends with %d:\n%s", code, text)
			}
			if strings.Contains(text, "\x1b") {
				t.Error("colours, although this is no terminal")
			}
			if strings.Contains(text, "eyJ") {
				t.Error("the tour prints a token")
			}
			d.nothingIsLeft(t)
		})
	}
}

// TestWhatTheDemoPrintsCanBePasted runs the lines of a running demo in a shell,
// and ends it while a client is in the middle of a statement.
func TestWhatTheDemoPrintsCanBePasted(t *testing.T) {
	signals := map[string]syscall.Signal{"self": syscall.SIGINT, "nobody": syscall.SIGTERM}
	for name, as := range demoUsers(t) {
		t.Run(name, func(t *testing.T) {
			port, httpPort := freePort(t), freePort(t)
			d := startDemo(t, as, nil, nil, "-port", strconv.Itoa(port), "-http-port", strconv.Itoa(httpPort))
			d.until(t, "Ctrl-C")
			var lines []string
			for line := range strings.Lines(d.out.String()) {
				line = strings.TrimSpace(line)
				if strings.HasPrefix(line, "postgresql://") {
					line = "psql '" + line + "'"
				}
				if strings.Contains(line, "psql ") && (strings.HasPrefix(line, "PGPASSWORD=") || strings.HasPrefix(line, "psql 'p")) {
					lines = append(lines, line)
				}
			}
			// acme, globex, the administrator, two DSNs and the superuser.
			want := []string{"4", "3", "7", "4", "3", "7"}
			if len(lines) != len(want) {
				t.Fatalf("%d lines to paste:\n%s", len(lines), d.out)
			}
			for i, line := range lines {
				out, err := exec.Command("sh", "-c", line+" -XAtc 'SELECT count(*) FROM users'").CombinedOutput()
				if got := strings.TrimSpace(string(out)); err != nil || got != want[i] {
					t.Errorf("line %d: %v %s, want %s", i+1, err, got, want[i])
				}
			}
			d.pages(t, httpPort)
			busy := exec.Command("sh", "-c", lines[0]+" -XAtc 'SELECT pg_sleep(600)'")
			if err := spawned.run(busy, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, 20*time.Second, "the statement runs", func() bool {
				out, err := exec.Command("sh", "-c", lines[5]+` -XAtc "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"`).Output()
				return err == nil && strings.TrimSpace(string(out)) == "1"
			})
			d.signal(t, signals[name])
			if code := d.exit(t); code != 0 {
				t.Errorf("ends with %d:\n%s", code, d.out)
			}
			_ = busy.Wait() // its connection was cut
			spawned.ended(busy)
			d.nothingIsLeft(t)
		})
	}
}

// pages fetches the metrics URL that the demo prints, and checks the
// configuration that it names.
func (d *demoRun) pages(t testing.TB, httpPort int) {
	t.Helper()
	url := fmt.Sprintf("http://127.0.0.1:%d/metrics", httpPort)
	if !strings.Contains(d.out.String(), url) {
		t.Errorf("the demo does not print %s", url)
	}
	client := http.Client{Timeout: 5 * time.Second}
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	page, err := io.ReadAll(r.Body)
	if err != nil || !strings.Contains(string(page), `tenantgate_logins_total{result="success"}`) {
		t.Errorf("%s: %v\n%s", url, err, page)
	}
	configuration := regexp.MustCompile(`/\S+\.yaml`).FindString(d.out.String())
	if out, err := exec.Command(proxyBinary(t), "check", "-config", configuration).CombinedOutput(); err != nil {
		t.Errorf("check -config %s: %v\n%s", configuration, err, out)
	}
}

// TestAnInterruptedDemoRemovesWhatItHas interrupts the start as soon as each
// stage of it can be seen.
func TestAnInterruptedDemoRemovesWhatItHas(t *testing.T) {
	for _, stage := range []string{"", "postgres/data", "postgres/data/global/pg_control", "postgres/data/postmaster.pid", "tenantgate.log"} {
		t.Run("at "+stage, func(t *testing.T) {
			d := startDemo(t, nil, nil, nil)
			eventually(t, 60*time.Second, "the demo gets to "+stage, func() bool {
				found, err := filepath.Glob(filepath.Join(d.tmp, "tenantgate-demo-*", stage))
				return err == nil && len(found) > 0
			})
			d.signal(t, syscall.SIGTERM)
			if code := d.exit(t); code != 0 && code != 1 {
				t.Errorf("ends with %d:\n%s", code, d.out)
			}
			d.nothingIsLeft(t)
		})
	}
}

// TestADemoThatFailsRemovesWhatItHas gives the demo a server that does not start.
func TestADemoThatFailsRemovesWhatItHas(t *testing.T) {
	dir := workDir(t, "bad")
	for name, script := range map[string]string{
		"initdb":   "exec " + filepath.Join(serverBinaries(t), "initdb") + ` "$@"`,
		"postgres": "echo this server is broken >&2; exit 3",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := startDemo(t, nil, nil, []string{"PATH=" + dir + ":" + os.Getenv("PATH")}, "-once")
	if code := d.exit(t); code != 1 || !strings.Contains(d.out.String(), "this server is broken") {
		t.Errorf("ends with %d:\n%s", code, d.out)
	}
	d.nothingIsLeft(t)
}

// TestADemoOnATakenPortSaysSo asks for a port that somebody has.
func TestADemoOnATakenPortSaysSo(t *testing.T) {
	d := startDemo(t, nil, nil, nil, "-port", strconv.Itoa(sharedPostgres(t).port))
	if code := d.exit(t); code != 1 || !strings.Contains(d.out.String(), "address already in use") {
		t.Errorf("ends with %d:\n%s", code, d.out)
	}
	d.nothingIsLeft(t)
}

// TestADemoWithoutAReaderEnds closes the other end of the pipe, as head does.
func TestADemoWithoutAReaderEnds(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d := startDemo(t, nil, write, nil, "-once")
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReaderSize(read, 16).ReadString('\n')
	if err != nil {
		t.Errorf("%q: %v", line, err)
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	if code := d.exit(t); code != 1 {
		t.Errorf("ends with %d:\n%s", code, d.out)
	}
	d.nothingIsLeft(t)
}

// TestAKilledDemoTakesItsServerAlong kills the demo, which can then remove nothing.
func TestAKilledDemoTakesItsServerAlong(t *testing.T) {
	d := startDemo(t, nil, nil, nil)
	d.until(t, "Ctrl-C")
	if len(d.processes(t)) == 0 {
		t.Fatal("no process of PostgreSQL can be seen")
	}
	d.signal(t, syscall.SIGKILL)
	d.exit(t)
	eventually(t, 20*time.Second, "PostgreSQL ends", func() bool { return len(d.processes(t)) == 0 })
}
