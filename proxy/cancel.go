package proxy

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"sync"
	"time"

	"github.com/tenantgate/tenantgate/session"
	"github.com/tenantgate/tenantgate/wire"
)

// cancels knows which client a cancel key belongs to. Keys are the proxy's own:
// PostgreSQL's never leave it.
type cancels struct {
	server *Server
	mu     sync.Mutex
	byPID  map[uint32]*client
	slots  chan struct{} // bounds the requests under way
}

// maxCancels bounds the cancel requests that are under way at a time; further
// ones wait for their turn on a connection that counts as not logged in.
const maxCancels = 64

func newCancels(s *Server) *cancels {
	return &cancels{server: s, byPID: map[uint32]*client{}, slots: make(chan struct{}, maxCancels)}
}

// register gives the client a key of its own. It is called on the client's loop.
func (r *cancels) register(c *client) {
	random := &c.loop.out.Random
	c.key.choose(c.protocol, random)
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		c.key.pid = randomPID(random)
		if _, taken := r.byPID[c.key.pid]; !taken {
			r.byPID[c.key.pid] = c
			return
		}
	}
}

// forget makes the client's key worthless.
func (r *cancels) forget(c *client) {
	r.mu.Lock()
	if r.byPID[c.key.pid] == c {
		delete(r.byPID, c.key.pid)
	}
	r.mu.Unlock()
}

func (r *cancels) find(pid uint32, secret []byte) *client {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.byPID[pid]
	if c == nil || subtle.ConstantTimeCompare(c.key.secret(), secret) != 1 {
		return nil
	}
	return c
}

// request forwards a cancel to the statement of the client that the key belongs
// to, and returns when PostgreSQL has taken it. Whether the client still owns a
// backend that runs something is decided on the client's loop, and from then on
// the backend is not pooled before the cancel is over.
func (r *cancels) request(pid uint32, secret []byte) {
	r.slots <- struct{}{}
	defer func() { <-r.slots }()
	c := r.find(pid, secret)
	if c == nil {
		r.server.metrics.cancel(resultUnknown)
		return
	}
	b, result, ok := r.aim(c)
	if !ok {
		return
	}
	if b == nil {
		r.server.metrics.cancel(result)
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), c.db.timeouts().CancelWait)
	defer stop()
	doubtful, err := b.be.Cancel(ctx)
	if err != nil {
		result = resultFailed
		r.server.log().Warn("cancel request failed", "database", b.db.name, "server_pid", b.be.PID, "error", err)
	}
	r.server.metrics.cancel(result)
	over := make(chan struct{})
	told := b.onLoop(func() {
		defer close(over)
		b.cancelled(doubtful)
	})
	if told {
		<-over
	}
}

// A cancel could hit the entering of the client's own context, which would end its
// session. It is put off until that is confirmed, and looked at again after a pause,
// which grows where PostgreSQL takes long.
const (
	cancelPause  = time.Millisecond
	longestPause = 50 * time.Millisecond
)

// aim finds the backend that runs a statement of the client's and keeps it for the
// cancel; nil: there is none, or the statement waits for one and is going to fail
// when it has it. What the client sends while it is put off is not cancelled. ok is
// false when the client's loop has ended.
func (r *cancels) aim(c *client) (b *backend, result string, ok bool) {
	sent, first := uint64(0), true
	pause := cancelPause
	for until := time.Now().Add(c.db.timeouts().CancelWait); ; first = false {
		target := make(chan *backend, 1)
		early := false
		asked := c.loop.postFor(c.sock, func() {
			var b *backend
			defer func() { target <- b }() // whatever happens: it is waited for
			b = c.backend
			if first {
				sent = c.lease.Sent()
			}
			early = b != nil && c.lease.Early()
			switch result = resultOK; {
			case !first && c.lease.Answered(sent):
				b, result, early = nil, resultIdle, false
			case c.asking:
				c.lease.Recall()
				b = nil
			case b == nil, early, !c.lease.Cancellable():
				b, result = nil, resultIdle
			default:
				b.cancelling(1)
			}
		})
		if !asked {
			return nil, "", false
		}
		if b = <-target; !early || time.Now().After(until) {
			return b, result, true
		}
		time.Sleep(pause)
		pause = min(2*pause, longestPause)
	}
}

// cancelKey is what a client cancels its statements with ("BackendKeyData" in "Message
// Formats").
type cancelKey struct {
	pid   uint32
	short [4]byte   // the secret of protocol 3.0
	long  *[32]byte // that of 3.2; nil: short is the secret
}

// choose makes a secret for that version of the protocol.
func (k *cancelKey) choose(version uint32, random *session.Random) {
	if version >= wire.Version32 {
		k.long = new([32]byte)
	}
	random.Read(k.secret())
}

// secret is what a cancel must show beside the pid. It is the key's own.
func (k *cancelKey) secret() []byte {
	if k.long != nil {
		return k.long[:]
	}
	return k.short[:]
}

// randomPID is a positive number that stands where PostgreSQL has a process id.
func randomPID(random *session.Random) uint32 {
	var b [4]byte
	random.Read(b[:])
	return binary.BigEndian.Uint32(b[:])&0x7fffffff | 1
}
