package integration

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// slowRoad is a way to PostgreSQL on which a statement arrives only behind the first
// cancel, and the end of its connection not at all.
type slowRoad struct {
	target   string        // of the cancels
	marks    []byte        // the statement that is late
	held     chan struct{} // closed when it is on its way
	free     chan struct{} // closed to let it arrive
	answered chan struct{} // closed to let the proxy see the end of the first cancel
	once     sync.Once
}

// carry is a middleman's toServer.
func (s *slowRoad) carry(server, c net.Conn) {
	chunk := make([]byte, 64<<10)
	for {
		n, err := c.Read(chunk)
		if bytes.Contains(chunk[:n], s.marks) {
			close(s.held)
			<-s.free
		}
		if _, werr := server.Write(chunk[:n]); err != nil || werr != nil {
			return
		}
	}
}

// cancel is a middleman's onCancel: PostgreSQL takes it at once.
func (s *slowRoad) cancel(c net.Conn) {
	defer c.Close()
	server, err := net.Dial("tcp", s.target)
	if err != nil {
		return
	}
	defer server.Close()
	head := []byte{0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e} // what the middleman has read
	body := make([]byte, 8)
	if _, err := io.ReadFull(c, body); err != nil {
		return
	}
	_, _ = server.Write(append(head, body...))
	_, _ = io.Copy(io.Discard, server) // until PostgreSQL has taken it
	s.once.Do(func() {
		close(s.free)
		<-s.answered
	})
}

// TestAStatementThatArrivesBehindItsCancelIsCancelled lets a client vanish whose
// statement is still on its way to PostgreSQL: the first cancel finds nothing to
// end, and the statement ends all the same.
func TestAStatementThatArrivesBehindItsCancelIsCancelled(t *testing.T) {
	pg := sharedPostgres(t)
	for _, mode := range poolModes {
		road := &slowRoad{
			target: pg.directAdmin().address(), marks: []byte("pg_sleep(62)"),
			held: make(chan struct{}), free: make(chan struct{}), answered: make(chan struct{}),
		}
		r := startMiddleman(t, pg, road.cancel)
		r.toServer = road.carry
		p := startProxy(t, pg, behind(r, "slow", 1), with("databases/slow/pool_mode", mode))
		w := p.as(tenantA).in("slow").login(t)
		w.value("SELECT 1")
		w.send(simple("SELECT pg_sleep(62)"))
		<-road.held
		depart(w, "RST")
		running := func() bool {
			return pg.count(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(62)'") > 0
		}
		eventually(t, 10*time.Second, mode+": the statement runs behind the cancel", running)
		close(road.answered)
		innocent(t, p.as(tenantB).in("slow"))
		eventually(t, 10*time.Second, mode+": the statement is cancelled", func() bool { return !running() })
	}
}
