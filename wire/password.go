package wire

import (
	"bytes"
	"encoding/binary"
	"io"
	"strconv"
	"strings"
)

// MaxPassword is the greatest length that a password message may announce, itself included: 64 KiB.
const MaxPassword = 65536

// passwordChunk is how many bytes of a password are held before the whole of what was announced is.
const passwordChunk = 4096

// ReadPassword reads exactly one password message ('p') from r and not one byte more, and returns the
// password, which may be empty. Any other type is a *Violation as soon as its first byte is here, and
// a length above MaxPassword from the header alone; the body must be the password, one NUL, and
// nothing else. No error says anything about the password. An r that ends early gives io.EOF or
// io.ErrUnexpectedEOF; its other errors are returned as they are.
//
// At most MaxPassword bytes and one chunk of 4 KiB are held, and more than that chunk only after it
// has arrived full.
func ReadPassword(r io.Reader) (string, error) {
	buf := make([]byte, HeaderSize, passwordChunk)
	n, err := io.ReadAtLeast(r, buf, 1)
	if err != nil {
		return "", err
	}
	if buf[0] != 'p' {
		return "", unexpectedMessage(buf[0])
	}
	if err := readRest(r, buf[n:]); err != nil {
		return "", err
	}
	length := binary.BigEndian.Uint32(buf[1:])
	if length < 4 || length > MaxPassword {
		return "", &Violation{Text: "invalid message length"}
	}
	left := int(length) - 4
	if left == 0 {
		return "", badPassword()
	}
	buf = buf[:passwordChunk]
	defer clear(buf)
	var password strings.Builder
	for first := true; ; first = false {
		chunk := buf[:min(left, passwordChunk)]
		if err := readRest(r, chunk); err != nil {
			return "", err
		}
		if first {
			password.Grow(left)
		}
		left -= len(chunk)
		if nul := bytes.IndexByte(chunk, 0); nul >= 0 {
			if left == 0 && nul == len(chunk)-1 {
				password.Write(chunk[:nul])
				return password.String(), nil
			}
			return "", badPassword()
		}
		if left == 0 {
			return "", badPassword()
		}
		password.Write(chunk)
	}
}

// unexpectedMessage is the violation of anything but a password where one is awaited.
func unexpectedMessage(typ byte) *Violation {
	return &Violation{Text: "expected password response, got message type " + strconv.Itoa(int(typ))}
}

// badPassword is the violation of a body that is not one NUL-terminated string.
func badPassword() *Violation {
	return &Violation{Text: "invalid password packet size"}
}

// readRest fills p from r, where a message has begun: an end is unexpected.
func readRest(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
