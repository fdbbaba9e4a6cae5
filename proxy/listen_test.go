package proxy

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
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

// distant is a connection that comes from elsewhere.
type distant struct {
	net.Conn
	from *net.TCPAddr
}

func (d distant) RemoteAddr() net.Addr { return d.from }

func TestPeerIsKnownByHowItConnects(t *testing.T) {
	tcp, err := listen(Listen{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close() }()
	dir, _ := socketDir(t)
	local, err := listen(Listen{Address: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = local.Close() }()
	from := func(addr string) net.Conn {
		return distant{from: &net.TCPAddr{IP: net.ParseIP(addr).To16(), Port: 1}}
	}
	for _, c := range []struct {
		name        string
		conn        net.Conn
		peer        netip.Addr
		local, unix bool
	}{
		{"TCP on this machine", reaches(t, tcp), netip.MustParseAddr("127.0.0.1"), true, false},
		{"a Unix socket", reaches(t, local), netip.Addr{}, true, true},
		{"IPv4 from elsewhere, as an IPv6 listener sees it", from("192.0.2.1"), netip.MustParseAddr("192.0.2.1"), false, false},
		{"IPv6 from elsewhere", from("2001:db8::1"), netip.MustParseAddr("2001:db8::1"), false, false},
		{"IPv6 on this machine", from("::1"), netip.MustParseAddr("::1"), true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer, local, unix := peerOf(c.conn)
			if peer != c.peer || local != c.local || unix != c.unix {
				t.Errorf("peerOf says %v, local %v, unix %v; want %v, %v, %v", peer, local, unix, c.peer, c.local, c.unix)
			}
		})
	}
}
