package proxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"github.com/tenantgate/tenantgate/wire"
)

// negotiate answers encryption requests until the startup packet is read. Each
// may come once.
func (g *login) negotiate() (wire.Packet, error) {
	for {
		packet, err := g.readPacket()
		if err != nil {
			return packet, err
		}
		switch packet.Kind() {
		case wire.KindSSL:
			if g.asked.ssl || g.encrypted && !g.direct() {
				return packet, unsupportedVersion(packet.Code)
			}
			g.asked.ssl = true
			if err := g.answerSSL(); err != nil {
				return packet, err
			}
		case wire.KindGSSENC:
			if g.asked.gss {
				return packet, unsupportedVersion(packet.Code)
			}
			g.asked.gss = true
			if _, err := g.conn.Write([]byte{'N'}); err != nil {
				return packet, errNothing
			}
		case wire.KindCancel:
			g.cancel(packet.Body)
			return packet, errNothing
		case wire.KindStartup:
			return packet, nil
		default:
			return packet, unsupportedVersion(packet.Code)
		}
	}
}

// direct says that TLS began with the first byte, without an SSLRequest.
func (g *login) direct() bool { return g.encrypted && !g.asked.ssl }

func unsupportedVersion(code uint32) error {
	return &refusal{reason: endProtocol, code: "0A000", text: fmt.Sprintf(
		"unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", wire.Major(code), wire.Minor(code))}
}

// readPacket reads one packet of the startup phase and not a byte more. A TLS
// record in the place of the very first one starts TLS directly.
func (g *login) readPacket() (wire.Packet, error) {
	var first [1]byte
	if _, err := io.ReadFull(g.conn, first[:]); err != nil {
		return wire.Packet{}, errNothing
	}
	const handshakeRecord = 0x16
	if first[0] == handshakeRecord && !g.encrypted && !g.asked.ssl && !g.asked.gss {
		g.raw.head = first[:]
		if err := g.startTLS(true); err != nil {
			return wire.Packet{}, err
		}
		return g.readPacket()
	}
	packet, err := wire.ReadPacket(io.MultiReader(bytes.NewReader(first[:]), g.conn))
	return packet, g.readFault(err)
}

// answerSSL answers an SSLRequest. Bytes that came behind it were sent before
// anything was encrypted and must never be taken for what is said inside TLS
// (CVE-2021-23214 and its kin): such a client is dropped.
func (g *login) answerSSL() error {
	if unread(g.raw.Conn) > 0 {
		return errNothing
	}
	answer := byte('S')
	if g.encrypted || g.server.tls.off() || g.unix {
		answer = 'N'
	}
	if _, err := g.conn.Write([]byte{answer}); err != nil || answer == 'N' {
		return ignoreNil(err)
	}
	return g.startTLS(false)
}

func ignoreNil(err error) error {
	if err != nil {
		return errNothing
	}
	return nil
}

// startTLS runs the handshake. Of a direct one ALPN is required, so that the
// bytes of another protocol cannot be replayed at this port.
func (g *login) startTLS(direct bool) error {
	config := g.server.tls.config()
	if config == nil {
		return errNothing
	}
	t := tls.Server(g.raw, config)
	if err := t.Handshake(); err != nil {
		return &refusal{reason: endTLS, cause: err}
	}
	if direct && t.ConnectionState().NegotiatedProtocol != alpn {
		return &refusal{reason: endTLS, cause: errNoALPN}
	}
	g.conn, g.encrypted = t, true
	return nil
}

// negotiateVersion offers what is spoken here where the client wants more
// ("NegotiateProtocolVersion" in "Message Formats").
func (g *login) negotiateVersion(params []wire.Param) error {
	var unknown []string
	for _, p := range params {
		if len(p.Name) >= 5 && p.Name[:5] == "_pq_." {
			unknown = append(unknown, p.Name)
		}
	}
	const newest = wire.Version32
	if g.version <= newest && len(unknown) == 0 {
		return nil
	}
	g.version = min(g.version, newest)
	if _, err := g.conn.Write(wire.NegotiateVersion(nil, g.version, unknown)); err != nil {
		return errNothing
	}
	return nil
}

// unread asks the kernel how many bytes wait to be read (FIONREAD by another name).
func unread(conn net.Conn) int {
	n := 0
	onFD(conn, func(fd int) { n, _ = unix.IoctlGetInt(fd, unix.TIOCINQ) })
	return n
}
