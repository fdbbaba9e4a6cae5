package wire

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// MaxPassword is the greatest length that a password message may announce, itself included: 64 KiB.
const MaxPassword = 65536

// Password looks at a password message ('p') of which p is what has arrived, perhaps with more behind
// it. The message has size bytes in all, as far as that can be told: the password, which may be empty,
// is returned once p holds them, and is a slice of p. Any other type is a *Violation as soon as its first
// byte is here, and a length above MaxPassword from the header alone; the body must be the password,
// one NUL, and nothing else. No error says anything about the password.
func Password(p []byte) (password []byte, size int, err error) {
	if len(p) > 0 && p[0] != 'p' {
		return nil, 0, unexpectedMessage(p[0])
	}
	if len(p) < HeaderSize {
		return nil, HeaderSize, nil
	}
	length := binary.BigEndian.Uint32(p[1:])
	if length < 4 || length > MaxPassword {
		return nil, 0, &Violation{Text: "invalid message length"}
	}
	if length == 4 {
		return nil, 0, badPassword()
	}
	if size = 1 + int(length); len(p) < size {
		return nil, size, nil
	}
	body := p[HeaderSize:size]
	if bytes.IndexByte(body, 0) != len(body)-1 {
		return nil, 0, badPassword()
	}
	return body[: len(body)-1 : len(body)-1], size, nil
}

// unexpectedMessage is the violation of anything but a password where one is awaited.
func unexpectedMessage(typ byte) *Violation {
	return &Violation{Text: "expected password response, got message type " + strconv.Itoa(int(typ))}
}

// badPassword is the violation of a body that is not one NUL-terminated string.
func badPassword() *Violation {
	return &Violation{Text: "invalid password packet size"}
}
