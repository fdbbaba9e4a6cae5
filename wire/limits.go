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

// bounds are the lengths accepted for one message type. The zero value accepts none.
type bounds struct{ least, most uint32 }

// clientBounds holds what SocketBackend (tcop/postgres.c) reads from a client after login.
var clientBounds = [256]bounds{
	'Q': {4, clientLong},  // Query
	'P': {4, clientLong},  // Parse
	'B': {4, clientLong},  // Bind
	'd': {4, clientLong},  // CopyData
	'F': {4, clientLong},  // FunctionCall
	'S': {4, clientShort}, // Sync
	'H': {4, clientShort}, // Flush
	'X': {4, clientShort}, // Terminate
	'c': {4, clientShort}, // CopyDone
	'f': {4, clientShort}, // CopyFail
	'C': {4, clientShort}, // Close
	'D': {4, clientShort}, // Describe
	'E': {4, clientShort}, // Execute
}

// serverBounds holds what a backend may send to a client after its own login. Authentication (R),
// BackendKeyData (K) and NegotiateProtocolVersion (v) belong to the login, and CopyBothResponse (W)
// to replication, which never happens here.
var serverBounds = [256]bounds{
	'1': {4, 4},                // ParseComplete
	'2': {4, 4},                // BindComplete
	'3': {4, 4},                // CloseComplete
	'I': {4, 4},                // EmptyQueryResponse
	'c': {4, 4},                // CopyDone
	'n': {4, 4},                // NoData
	's': {4, 4},                // PortalSuspended
	'Z': {5, 5},                // ReadyForQuery
	'C': {4, serverShort},      // CommandComplete
	'G': {4, serverShort},      // CopyInResponse
	'H': {4, serverShort},      // CopyOutResponse
	'S': {4, serverShort},      // ParameterStatus
	't': {4, serverParameters}, // ParameterDescription
	'A': {4, serverLong},       // NotificationResponse
	'D': {4, serverLong},       // DataRow
	'E': {4, serverLong},       // ErrorResponse
	'N': {4, serverLong},       // NoticeResponse
	'T': {4, serverLong},       // RowDescription
	'V': {4, serverLong},       // FunctionCallResponse
	'd': {4, serverLong},       // CopyData
}

// accept tells whether length is within b; four is the least any length can be.
func (b bounds) accept(length uint32) bool {
	return length >= 4 && length >= b.least && length <= b.most
}

// refuse returns the violation of a length outside b; a type without bounds is named by unknown and
// its number.
func (b bounds) refuse(typ byte, unknown string) error {
	if b == (bounds{}) {
		return &Violation{Text: unknown + strconv.Itoa(int(typ))}
	}
	return &Violation{Text: "invalid message length"}
}

// CheckClient tells whether PostgreSQL would read a message with this header from a client that has
// logged in, and returns a *Violation if not. A header that it refuses must not be forwarded: what
// the proxy and the backend frame differently is smuggling.
func CheckClient(typ byte, length uint32) error {
	if clientBounds[typ].accept(length) {
		return nil
	}
	return clientBounds[typ].refuse(typ, "invalid frontend message type ")
}

// CheckServer tells whether a backend that has finished its login can have sent a message with this
// header, and returns a *Violation if not: the backend must then be closed.
func CheckServer(typ byte, length uint32) error {
	if serverBounds[typ].accept(length) {
		return nil
	}
	return serverBounds[typ].refuse(typ, "invalid backend message type ")
}
