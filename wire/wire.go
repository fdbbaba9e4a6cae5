// Package wire frames the PostgreSQL protocol (version 3.0 and 3.2). It is the only code that
// touches bytes nobody has looked at yet, so it is built on three rules:
//
//   - What it frames, PostgreSQL frames the same way. Types and lengths are bounded as the server
//     (tcop/postgres.c, libpq/pqcomm.c) and libpq (fe-protocol3.c) bound them; whatever they would
//     not read is a [Violation], at the same byte.
//   - An announced length is not memory. A [Scanner] follows message boundaries over whatever chunks
//     arrive and buffers nothing; only the startup phase gathers whole packets, of at most
//     [MaxStartupPacket] bytes, and a password of at most [MaxPassword].
//   - Nothing built here can smuggle a message: a builder never copies a NUL into a string field.
//     Builders append one whole message to dst and allocate nothing when it has room. Those whose
//     strings go to a backend return an error, and dst as it was, for a NUL or for a message longer
//     than PostgreSQL reads; those whose strings go to a client cut a string at its first NUL.
//
// A connection is read in two phases. Before authentication [StartupPacket] and [Password] say how
// many bytes a packet has as soon as they are told, so that not one more is taken from the raw
// connection and nothing read in clear text can be mistaken for something said inside TLS. After it each direction has a Scanner, whose
// caller hands every header to [CheckClient] or [CheckServer] before it looks at the body. The field
// readers ([QueryText], [DataRow], …) take bodies that the caller has gathered whole.
package wire

// Violation reports bytes that break the protocol (SQLSTATE 08P01, protocol_violation): the
// connection they came from can only be closed. The text is fixed but for a message type's number,
// so it can be shown to the peer and logged.
type Violation struct {
	// Text is what PostgreSQL says in the same place, lower case and without a final full stop.
	Text string
	// Silent tells that PostgreSQL closes here without a word: the peer may not speak this
	// protocol at all, so nothing is to be sent.
	Silent bool
}

// Error returns the text.
func (v *Violation) Error() string { return v.Text }
