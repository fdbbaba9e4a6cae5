package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/tenantgate/tenantgate/wire"
)

// negotiate answers encryption requests until the startup packet is there. Each
// may come once.
func (g *login) negotiate() error {
	for g.stage == loginPacket {
		packet, ok, err := g.readPacket()
		if err != nil || !ok {
			return err
		}
		if err := g.answer(packet); err != nil {
			return err
		}
	}
	return nil
}

// answer acts on a packet of the startup phase.
func (g *login) answer(packet wire.Packet) error {
	switch packet.Kind() {
	case wire.KindSSL:
		if g.asked.ssl || g.encrypted && !g.direct() {
			return unsupportedVersion(packet.Code)
		}
		g.asked.ssl = true
		return g.answerSSL()
	case wire.KindGSSENC:
		if g.asked.gss {
			return unsupportedVersion(packet.Code)
		}
		g.asked.gss = true
		g.sock.send([]byte{'N'})
		return nil
	case wire.KindCancel:
		return g.cancel(packet.Body)
	case wire.KindStartup:
		return g.begin(packet)
	}
	return unsupportedVersion(packet.Code)
}

// direct says that TLS began with the first byte, without an SSLRequest.
func (g *login) direct() bool { return g.encrypted && !g.asked.ssl }

func unsupportedVersion(code uint32) error {
	return &refusal{reason: endProtocol, code: "0A000", text: fmt.Sprintf(
		"unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", wire.Major(code), wire.Minor(code))}
}

// readPacket reads one packet of the startup phase and not a byte more; ok is
// false while it is not whole, or when it began TLS: a TLS record in the place of
// the very first packet starts it directly.
func (g *login) readPacket() (packet wire.Packet, ok bool, err error) {
	_, size, err := wire.StartupPacket(g.sock.in)
	for err == nil {
		var p []byte
		if p, err = g.sock.fillUpTo(size); err != nil {
			break
		}
		const handshakeRecord = 0x16
		if p[0] == handshakeRecord && !g.encrypted && !g.asked.ssl && !g.asked.gss {
			g.sock.in = nil
			return packet, false, g.startTLS(slices.Clone(p))
		}
		if packet, size, err = wire.StartupPacket(p); err == nil && len(p) >= size {
			g.sock.in = nil
			return packet, true, nil
		}
		g.sock.keep(p)
	}
	if errors.Is(err, errEmpty) {
		return packet, false, nil
	}
	return packet, false, readFault(err)
}

// answerSSL answers an SSLRequest. Bytes that came behind it were sent before
// anything was encrypted and must never be taken for what is said inside TLS
// (CVE-2021-23214 and its kin): such a client is dropped.
func (g *login) answerSSL() error {
	if n, err := unix.IoctlGetInt(g.sock.fd, unix.TIOCINQ); err != nil || n > 0 {
		return errNothing
	}
	if g.encrypted || g.server.tls.off() || g.unix {
		g.sock.send([]byte{'N'})
		return nil
	}
	g.sock.send([]byte{'S'})
	return g.startTLS(nil)
}

// startTLS lets a goroutine shake hands: crypto/tls can not do that piece by
// piece. head is what was read already of a client that began TLS directly. Of
// such a one ALPN is required, so that the bytes of another protocol cannot be
// replayed at this port.
func (g *login) startTLS(head []byte) error {
	config := g.server.tls.config()
	if config == nil || len(g.sock.out) > 0 || g.sock.ended {
		return errNothing
	}
	g.loop.detach(g.sock)
	g.sock.closed = true // this way of using it
	g.shaker = handBack(g.sock.fd)
	raw := &handoverConn{Conn: g.shaker, head: head}
	g.aside(func() func() {
		t := tls.Server(raw, config)
		err := t.Handshake()
		if err == nil && head != nil && t.ConnectionState().NegotiatedProtocol != alpn {
			err = errNoALPN
		}
		s := &socket{fd: -1, owner: g, more: true}
		if err == nil {
			s.fd, s.tls, s.raw, err = takeOver(t)
		}
		return func() { g.proceed(g.encrypt(s, err)) }
	})
	return nil
}

// encrypt goes on with the login inside TLS.
func (g *login) encrypt(s *socket, err error) error {
	if err != nil {
		return &refusal{reason: endTLS, cause: err}
	}
	if g.stage != loginAside {
		closeFD(s.fd)
		return nil
	}
	if err := g.loop.attach(s, wantRead); err != nil {
		return &refusal{reason: endInternal, cause: err}
	}
	g.shaker, g.sock, g.encrypted, g.stage = fileConn{}, s, true, loginPacket
	g.loop.resume(s) // what came with the handshake is told of by nobody
	return nil
}

// negotiateVersion offers what is spoken here where the client wants more
// ("NegotiateProtocolVersion" in "Message Formats").
func (g *login) negotiateVersion(params []wire.Param) {
	var unknown []string
	for _, p := range params {
		if len(p.Name) >= 5 && p.Name[:5] == "_pq_." {
			unknown = append(unknown, p.Name)
		}
	}
	const newest = wire.Version32
	if g.version <= newest && len(unknown) == 0 {
		return
	}
	g.version = min(g.version, newest)
	g.sock.send(wire.NegotiateVersion(nil, g.version, unknown))
}
