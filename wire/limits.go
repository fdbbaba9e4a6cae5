package wire

import "strconv"

// Bounds of an announced length, which counts itself but not the type byte.
const (
	// clientLong is PQ_LARGE_MESSAGE_LIMIT (libpq/libpq.h), MaxAllocSize - 1.
	clientLong = 0x3ffffffe
	// clientShort is PQ_SMALL_MESSAGE_LIMIT.
	clientShort = 10000

	// serverLong is the most a backend can send: the StringInfo a message is built in holds at most
	// MaxAllocSize - 1 bytes beside its own NUL, and the length adds four for itself.
	serverLong = 0x3ffffffe + 4
	// serverShort is where libpq's pqParseInput3 gives up on every type it does not expect to be long
	// (VALID_LONG_MESSAGE_TYPE: T D d V E N A).
	serverShort = 30000
	// serverParameters is a ParameterDescription of 65535 parameters, the most that its Int16 count
	// can say. libpq has no exception for it and stops at 7498 parameters; other drivers do describe
	// such statements, and they work without a proxy.
	serverParameters = 4 + 2 + 4*65535
)

// bounds are the lengths accepted for one message type, least and the width-1 above it, so that one
// unsigned comparison decides. The zero value accepts none.
type bounds struct{ least, width uint32 }

// between returns the bounds that accept least, most and what lies between them.
func between(least, most uint32) bounds { return bounds{least, most - least + 1} }

// clientBounds holds what SocketBackend (tcop/postgres.c) reads from a client after login.
var clientBounds = [256]bounds{
	'Q': between(4, clientLong),  // Query
	'P': between(4, clientLong),  // Parse
	'B': between(4, clientLong),  // Bind
	'd': between(4, clientLong),  // CopyData
	'F': between(4, clientLong),  // FunctionCall
	'S': between(4, clientShort), // Sync
	'H': between(4, clientShort), // Flush
	'X': between(4, clientShort), // Terminate
	'c': between(4, clientShort), // CopyDone
	'f': between(4, clientShort), // CopyFail
	'C': between(4, clientShort), // Close
	'D': between(4, clientShort), // Describe
	'E': between(4, clientShort), // Execute
}

// serverBounds holds what a backend may send to a client after its own login. Authentication (R),
// BackendKeyData (K) and NegotiateProtocolVersion (v) belong to the login, and CopyBothResponse (W)
// to replication, which never happens here.
var serverBounds = [256]bounds{
	'1': between(4, 4),                // ParseComplete
	'2': between(4, 4),                // BindComplete
	'3': between(4, 4),                // CloseComplete
	'I': between(4, 4),                // EmptyQueryResponse
	'c': between(4, 4),                // CopyDone
	'n': between(4, 4),                // NoData
	's': between(4, 4),                // PortalSuspended
	'Z': between(5, 5),                // ReadyForQuery
	'C': between(4, serverShort),      // CommandComplete
	'G': between(4, serverShort),      // CopyInResponse
	'H': between(4, serverShort),      // CopyOutResponse
	'S': between(4, serverShort),      // ParameterStatus
	't': between(4, serverParameters), // ParameterDescription
	'A': between(4, serverLong),       // NotificationResponse
	'D': between(4, serverLong),       // DataRow
	'E': between(4, serverLong),       // ErrorResponse
	'N': between(4, serverLong),       // NoticeResponse
	'T': between(4, serverLong),       // RowDescription
	'V': between(4, serverLong),       // FunctionCallResponse
	'd': between(4, serverLong),       // CopyData
}

// CheckClient tells whether PostgreSQL would read a message with this header from a client that has
// logged in, and returns a *Violation if not. A header that it refuses must not be forwarded: what
// the proxy and the backend frame differently is smuggling.
func CheckClient(typ byte, length uint32) error {
	if b := &clientBounds[typ]; length-b.least < b.width {
		return nil
	}
	return refuseClient(typ)
}

// CheckServer tells whether a backend that has finished its login can have sent a message with this
// header, and returns a *Violation if not: the backend must then be closed.
func CheckServer(typ byte, length uint32) error {
	if b := &serverBounds[typ]; length-b.least < b.width {
		return nil
	}
	return refuseServer(typ)
}

// refuseClient returns the violation of a header that CheckClient does not accept.
func refuseClient(typ byte) error {
	return refuse(&clientBounds[typ], "invalid frontend message type "+strconv.Itoa(int(typ)))
}

// refuseServer returns the violation of a header that CheckServer does not accept.
func refuseServer(typ byte) error {
	return refuse(&serverBounds[typ], "invalid backend message type "+strconv.Itoa(int(typ)))
}

// refuse returns the violation of a type that has no bounds, in the words of unknown, or else of a
// length outside them.
func refuse(b *bounds, unknown string) error {
	if b.width == 0 {
		return &Violation{Text: unknown}
	}
	return &Violation{Text: "invalid message length"}
}
