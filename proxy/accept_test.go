package proxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// holders are the descriptors of this process that lead to the socket of fd.
func holders(t *testing.T, fd int) (fds []string) {
	t.Helper()
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil {
		t.Fatal(err)
	}
	const dir = "/proc/self/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if link, _ := os.Readlink(dir + e.Name()); link == fmt.Sprintf("socket:[%d]", is.Ino) {
			fds = append(fds, e.Name())
		}
	}
	return fds
}

// TestOnlyTheLoopIsWokenForAConnection holds because nothing but the loop has a
// descriptor of the listening socket that it could watch.
func TestOnlyTheLoopIsWokenForAConnection(t *testing.T) {
	s := looping(t)
	ln, err := listen(Listen{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.openDoor(ln)
	if err != nil {
		t.Fatal(err)
	}
	defer d.shut()
	if got, want := holders(t, d.sock.fd), fmt.Sprint(d.sock.fd); !slices.Equal(got, []string{want}) {
		t.Errorf("the descriptors of the listening socket are %v, want %s alone", got, want)
	}
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatalf("nobody listens any more: %v", err)
	}
	_ = peer.Close()
}

func TestTheSocketFileIsThereAsLongAsTheDoorIsOpen(t *testing.T) {
	s := looping(t)
	dir, file := socketDir(t)
	ln, err := listen(Listen{Address: dir})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.openDoor(ln)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := net.Dial("unix", file)
	if err != nil {
		t.Errorf("the open door cannot be found: %v", err)
	} else {
		_ = peer.Close()
	}
	d.shut()
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file is left behind: %v", err)
	}
}
