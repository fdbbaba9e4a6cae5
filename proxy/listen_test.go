package proxy

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socketDir is a directory for a Unix socket, whose path may have some 100 bytes only, and the
// socket file that listen makes in it.
func socketDir(t *testing.T) (dir, file string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "tg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir, filepath.Join(dir, ".s.PGSQL."+defaultPort)
}

// reaches connects to address and returns the connection as the listener sees it.
func reaches(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	peer, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestListenReplacesASocketFileOfAProcessThatIsGone(t *testing.T) {
	dir, file := socketDir(t)
	gone, err := net.Listen("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	gone.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = gone.Close()
	if _, err := os.Lstat(file); err != nil {
		t.Fatalf("no socket file is left: %v", err)
	}
	ln, err := listen(Listen{Address: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	reaches(t, ln)
	info, err := os.Lstat(file)
	if err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("the socket file is %v (%v): clients of other users cannot connect", info.Mode(), err)
	}
}

func TestListenRefusesTheSocketOfALivingProcess(t *testing.T) {
	dir, _ := socketDir(t)
	first, err := listen(Listen{Address: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	if second, err := listen(Listen{Address: dir}); err == nil {
		_ = second.Close()
		t.Fatal("a second listener took the socket of the first")
	}
	_, _ = first.Accept() // the second one's look
	reaches(t, first)
}

func TestListenLeavesAFileThatIsNoSocket(t *testing.T) {
	dir, file := socketDir(t)
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ln, err := listen(Listen{Address: dir}); err == nil {
		_ = ln.Close()
		t.Fatal("it listens in the place of a file")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is now %q (%v)", text, err)
	}
}

func TestListenNamesTheSocketFileByItsPort(t *testing.T) {
	dir, _ := socketDir(t)
	ln, err := listen(Listen{Address: dir, Port: "7000"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if got, want := ln.Addr().String(), filepath.Join(dir, ".s.PGSQL.7000"); got != want {
		t.Errorf("it listens on %s, want %s", got, want)
	}
}

func TestPeerIsKnownByHowItConnects(t *testing.T) {
	v4 := func(addr string) (from unix.RawSockaddrAny) {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(&from)) = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: netip.MustParseAddr(addr).As4()}
		return from
	}
	v6 := func(addr string) (from unix.RawSockaddrAny) {
		*(*unix.RawSockaddrInet6)(unsafe.Pointer(&from)) = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: netip.MustParseAddr(addr).As16()}
		return from
	}
	for _, c := range []struct {
		name           string
		from           unix.RawSockaddrAny
		peer           netip.Addr
		local, viaUnix bool
	}{
		{"IPv4 on this machine", v4("127.0.0.1"), netip.MustParseAddr("127.0.0.1"), true, false},
		{"IPv4 from elsewhere", v4("192.0.2.1"), netip.MustParseAddr("192.0.2.1"), false, false},
		{"a Unix socket", unix.RawSockaddrAny{Addr: unix.RawSockaddr{Family: unix.AF_UNIX}}, netip.Addr{}, true, true},
		{"nobody knows where", unix.RawSockaddrAny{}, netip.Addr{}, false, false},
		{"IPv4 on this machine, as an IPv6 listener sees it", v6("::ffff:127.0.0.1"), netip.MustParseAddr("127.0.0.1"), true, false},
		{"IPv4 from elsewhere, as an IPv6 listener sees it", v6("::ffff:192.0.2.1"), netip.MustParseAddr("192.0.2.1"), false, false},
		{"IPv6 from elsewhere", v6("2001:db8::1"), netip.MustParseAddr("2001:db8::1"), false, false},
		{"IPv6 on this machine", v6("::1"), netip.MustParseAddr("::1"), true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer, local, viaUnix := peerOf(&c.from)
			if peer != c.peer || local != c.local || viaUnix != c.viaUnix {
				t.Errorf("peerOf says %v, local %v, unix %v; want %v, %v, %v", peer, local, viaUnix, c.peer, c.local, c.viaUnix)
			}
		})
	}
}

// TestConnectionsInheritWhatTheListenerHas looks at a socket that was accepted
// without the runtime, which sets options of its own.
func TestConnectionsInheritWhatTheListenerHas(t *testing.T) {
	ln, err := listen(Listen{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	door, err := duplicate(ln)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(door)
	if err := unix.SetNonblock(door, false); err != nil { // the connection is there as soon as the peer's is
		t.Fatal(err)
	}
	fd, _, err := unix.Accept4(door, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(fd)
	for name, o := range map[string]struct{ level, name, want int }{
		"TCP_NODELAY":      {unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		"SO_KEEPALIVE":     {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		"TCP_KEEPIDLE":     {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveIdle},
		"TCP_KEEPINTVL":    {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAliveInterval},
		"TCP_KEEPCNT":      {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
		"TCP_USER_TIMEOUT": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, unackedMillis},
	} {
		if got, err := unix.GetsockoptInt(fd, o.level, o.name); err != nil || got != o.want {
			t.Errorf("%s is %d (%v), want %d", name, got, err, o.want)
		}
	}
}
