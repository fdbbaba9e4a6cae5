package proxy

import (
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The poller: everything of the event loop that knows the operating system.
// Reads and writes never block, so they skip the scheduler's bookkeeping
// (RawSyscall): that bookkeeping is what makes a goroutine per connection cost
// twice the CPU.

// Interests of a socket in the poller.
const (
	wantRead  = uint32(unix.EPOLLIN)
	wantWrite = uint32(unix.EPOLLOUT)
	// wantHangup reports that the peer has gone while nothing is read from it.
	// Errors and full hang-ups are always reported.
	wantHangup = uint32(unix.EPOLLRDHUP)

	seenRead   = uint32(unix.EPOLLIN)
	seenWrite  = uint32(unix.EPOLLOUT)
	seenHangup = uint32(unix.EPOLLHUP | unix.EPOLLERR | unix.EPOLLRDHUP)
)

// poller watches file descriptors (level-triggered) and can be woken.
type poller struct {
	epoll int
	wake  int // an eventfd
	ready []unix.EpollEvent
}

func newPoller() (*poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(ep)
		return nil, err
	}
	p := &poller{epoll: ep, wake: wake, ready: make([]unix.EpollEvent, 256)}
	if err := p.add(wake, wantRead); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	_ = unix.Close(p.wake)
	_ = unix.Close(p.epoll)
}

func (p *poller) add(fd int, events uint32) error {
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (p *poller) modify(fd int, events uint32) error {
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (p *poller) remove(fd int) error {
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

// wakeUp makes the current or next wait return. Any goroutine may call it.
func (p *poller) wakeUp() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wake, one[:]) // full means that it is awake already
}

// wokenUp takes the wake-up back.
func (p *poller) wokenUp() {
	var b [8]byte
	_, _ = unix.Read(p.wake, b[:])
}

// holdMillis is how long a wait may keep the scheduler's slot for running code.
const holdMillis = 5

// wait returns what is ready, blocking for at most timeout milliseconds (-1: for
// ever).
//
// A blocking call normally gives its slot in the scheduler away and has to win
// one back, which costs more than the relaying itself when thousands of waits a
// second are short. So the first few milliseconds are waited without telling the
// scheduler. It has a slot more than CPUs for each loop (Serve), and where it
// must stop all code, as the garbage collector does, its signal ends the call
// with EINTR. Only a loop that has nothing to do goes on to wait in the ordinary
// way.
func (p *poller) wait(timeout int) []unix.EpollEvent {
	hold := holdMillis
	if timeout >= 0 {
		hold = min(hold, timeout)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.ready[0])), uintptr(len(p.ready)), uintptr(hold), 0, 0)
	switch {
	case errno != 0:
		return nil // EINTR: the caller comes again
	case n > 0 || hold == timeout:
		return p.ready[:n]
	}
	m, err := unix.EpollWait(p.epoll, p.ready, timeout)
	if err != nil {
		return nil
	}
	return p.ready[:m]
}

// preferBatches makes the calling thread one that does not push others off a CPU
// the moment something arrives for it (SCHED_BATCH of sched(7)). On a busy
// machine that moment would cost a switch of threads for every single event;
// this way a turn finds the events of a few clients at once. An idle CPU is
// taken as fast as ever. Where it is not allowed all works as before.
func preferBatches() {
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH}, 0)
}

// readFD reads what is there. n is 0 with a nil error at the end of the stream.
func readFD(fd int, b []byte) (n int, errno syscall.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
	return int(r), errno
}

// writeFD writes what fits.
func writeFD(fd int, b []byte) (n int, errno syscall.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	return int(r), errno
}

// acceptFD takes a connection from a listening socket. unix.Accept4 would ask for its
// protocol besides, with a system call for each connection.
func acceptFD(fd int, from *unix.RawSockaddrAny) (conn int, errno syscall.Errno) {
	size := uint32(unix.SizeofSockaddrAny)
	r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(r), errno
}

// peerOf says who is at the other end. The address of a Unix socket is zero.
func peerOf(from *unix.RawSockaddrAny) (peer netip.Addr, local, viaUnix bool) {
	switch from.Addr.Family {
	case unix.AF_INET:
		peer = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(from)).Addr)
	case unix.AF_INET6:
		peer = netip.AddrFrom16((*unix.RawSockaddrInet6)(unsafe.Pointer(from)).Addr).Unmap()
	case unix.AF_UNIX:
		return peer, true, true
	}
	return peer, peer.IsLoopback(), false
}
