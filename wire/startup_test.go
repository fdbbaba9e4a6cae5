package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// packet returns a startup packet whose length is told as announced.
func packet(announced uint32, code uint32, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, announced)
	return append(binary.BigEndian.AppendUint32(b, code), body...)
}

// whole returns a startup packet that tells the truth about its length.
func whole(code uint32, body string) []byte { return packet(uint32(8+len(body)), code, body) }

// wantViolation checks that err is a *Violation with this text and this manner.
func wantViolation(t *testing.T, err error, text string, silent bool) {
	t.Helper()
	var v *Violation
	if !errors.As(err, &v) || v.Text != text || v.Silent != silent {
		t.Errorf("error is %#v (%v), want the violation %q, silent %v", err, err, text, silent)
	}
}

func TestStartupPacketsAreToldApart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		code uint32
		body string
		kind Kind
	}{
		{"3.0", Version30, "user\x00a\x00\x00", KindStartup},
		{"3.2", Version32, "user\x00a\x00\x00", KindStartup},
		{"3.1", 3<<16 | 1, "\x00", KindStartup},
		{"3.9999 grease", 3<<16 | 9999, "user\x00a\x00_pq_.x\x001\x00\x00", KindStartup},
		{"SSLRequest", CodeSSLRequest, "", KindSSL},
		{"GSSENCRequest", CodeGSSENCRequest, "", KindGSSENC},
		{"CancelRequest", CodeCancel, "\x00\x00\x00\x01abcd", KindCancel},
		{"2.0", 2 << 16, "", KindUnsupported},
		{"0.0", 0, "", KindUnsupported},
		{"4.0", 4 << 16, "", KindUnsupported},
		{"1234.1", 1234<<16 | 1, "", KindUnsupported},
	} {
		sent := whole(c.code, c.body)
		p, size, err := StartupPacket(append(sent, "behind"...))
		if err != nil || p.Code != c.code || string(p.Body) != c.body || p.Kind() != c.kind {
			t.Errorf("%s: %+v, kind %d, %v; want kind %d", c.name, p, p.Kind(), err, c.kind)
		}
		if size != len(sent) {
			t.Errorf("%s: a packet of %d bytes is said to have %d", c.name, len(sent), size)
		}
	}
	if Major(Version32) != 3 || Minor(Version32) != 2 || Major(0xffff0001) != 0xffff || Minor(0xffff0001) != 1 {
		t.Error("Major and Minor do not take a version apart")
	}
}

func TestStartupLengthIsRefusedWithoutAWordAndWithoutReadingOn(t *testing.T) {
	t.Parallel()
	for _, length := range []uint32{0, 1, 4, 7, 10005, 65536, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff, binary.BigEndian.Uint32([]byte("GET "))} {
		sent := packet(length, Version30, strings.Repeat("x", 20000))
		for _, n := range []int{4, len(sent)} {
			_, _, err := StartupPacket(sent[:n])
			wantViolation(t, err, "invalid length of startup packet", true)
		}
	}
	for _, n := range []int{0, 10000 - 4} {
		if p, _, err := StartupPacket(whole(Version30, strings.Repeat("x", n))); err != nil || len(p.Body) != n {
			t.Errorf("a body of %d bytes: %v, want it read", n, err)
		}
	}
	for _, code := range []uint32{CodeSSLRequest, CodeGSSENCRequest} {
		_, _, err := StartupPacket(whole(code, "x"))
		wantViolation(t, err, "invalid length of startup packet", true)
	}
}

// TestNoByteBehindAStartupPacketIsAskedFor reads as a connection is read: never
// more than is known to belong to the packet.
func TestNoByteBehindAStartupPacketIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, b := range [][]byte{whole(Version30, "user\x00a\x00\x00"), whole(CodeSSLRequest, ""), whole(CodeCancel, "\x00\x00\x00\x01abcd")} {
		for i := range b {
			p, size, err := StartupPacket(b[:i])
			if err != nil || size <= i || size > len(b) || p.Code != 0 || p.Body != nil {
				t.Errorf("after %d of %d bytes: %+v, %d, %v", i, len(b), p, size, err)
			}
		}
	}
}

func TestStartupParametersKeepTheirOrder(t *testing.T) {
	t.Parallel()
	got, err := ParseParams([]byte("user\x00app\x00database\x00d\x00application_name\x00\x00DateStyle\x00ISO\x00_pq_.x\x001\x00\x00"), nil)
	want := []Param{{"user", "app"}, {"database", "d"}, {"application_name", ""}, {"DateStyle", "ISO"}, {"_pq_.x", "1"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseParams = %v, %v; want %v", got, err, want)
	}
	if got, err := ParseParams([]byte{0}, nil); err != nil || len(got) != 0 {
		t.Errorf("an empty list gives %v, %v", got, err)
	}
}

func TestStartupParametersOutOfShapeAreRefused(t *testing.T) {
	t.Parallel()
	const layout = "invalid startup packet layout: expected terminator as last byte"
	var many strings.Builder
	for i := range maxParams + 1 {
		many.WriteString(string(rune('a'+i%26)) + string(rune('a'+i/26)) + "\x00\x00")
	}
	many.WriteByte(0)
	for _, c := range []struct{ name, body, text string }{
		{"nothing at all", "", layout},
		{"no terminator", "user\x00app\x00", layout},
		{"name without NUL", "user", layout},
		{"name without value", "user\x00app\x00database\x00", layout},
		{"name without value before the terminator", "user\x00\x00", layout},
		{"value without NUL", "user\x00app", layout},
		{"empty name in the middle", "user\x00app\x00\x00x\x00role\x00admin\x00\x00", layout},
		{"byte behind the terminator", "user\x00app\x00\x00x", layout},
		{"NUL behind the terminator", "user\x00app\x00\x00\x00", layout},
		{"duplicate", "user\x00a\x00user\x00b\x00\x00", "duplicate parameter in startup packet"},
		{"duplicate in another case", "DateStyle\x00a\x00datestyle\x00a\x00\x00", "duplicate parameter in startup packet"},
		{"too many", many.String(), "too many parameters in startup packet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			params, err := ParseParams([]byte(c.body), nil)
			wantViolation(t, err, c.text, false)
			if params != nil {
				t.Errorf("refused parameters were returned: %v", params)
			}
		})
	}
}

func TestCancelKeysAreFourTo256Bytes(t *testing.T) {
	t.Parallel()
	for n := range 300 {
		key := bytes.Repeat([]byte{7}, n)
		p, _, err := StartupPacket(AppendCancelRequest(nil, 0x01020304, key))
		if err != nil || p.Kind() != KindCancel {
			t.Fatalf("key of %d bytes: %+v, %v", n, p, err)
		}
		pid, got, err := ParseCancel(p.Body)
		if n < 4 || n > 256 {
			wantViolation(t, err, "invalid length of startup packet", true)
		} else if err != nil || pid != 0x01020304 || !bytes.Equal(got, key) {
			t.Errorf("key of %d bytes: pid %x, key %x, %v", n, pid, got, err)
		}
	}
	if _, _, err := ParseCancel(nil); err == nil {
		t.Error("an empty body was read as a cancel request")
	}
}

func TestNegotiationTellsTheWholeVersion(t *testing.T) {
	t.Parallel()
	got := NegotiateVersion([]byte("x"), Version32, []string{"_pq_.a", "_pq_.b"})
	want := "xv\x00\x00\x00\x1a\x00\x03\x00\x02\x00\x00\x00\x02_pq_.a\x00_pq_.b\x00"
	if string(got) != want {
		t.Errorf("NegotiateVersion = %q, want %q", got, want)
	}
}

func FuzzStartupPacket(f *testing.F) {
	f.Add(whole(Version30, "user\x00a\x00\x00"))
	f.Add(whole(CodeSSLRequest, ""))
	f.Add(append(whole(CodeSSLRequest, ""), "stuffed"...))
	f.Add(whole(CodeCancel, "\x00\x00\x00\x01abcd"))
	f.Add(packet(7, Version30, ""))
	f.Add(packet(0xffffffff, Version30, "x"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, size, err := StartupPacket(b)
		if size > 4+MaxStartupPacket {
			t.Fatalf("%d bytes are asked for", size)
		}
		if err != nil || len(b) < size {
			if p.Code != 0 || p.Body != nil {
				t.Fatalf("%+v with %d of %d bytes, %v", p, len(b), size, err)
			}
			return
		}
		if length := binary.BigEndian.Uint32(b); size != int(length) || len(p.Body) != size-8 {
			t.Fatalf("a size of %d and a body of %d, announced %d", size, len(p.Body), length)
		}
		if p.Kind() == KindCancel {
			if pid, key, err := ParseCancel(p.Body); err == nil && !bytes.Equal(AppendCancelRequest(nil, pid, key), b[:size]) {
				t.Fatalf("cancel %x %x is not what was sent", pid, key)
			}
		}
	})
}

func FuzzParseParams(f *testing.F) {
	f.Add([]byte("user\x00a\x00database\x00d\x00\x00"))
	f.Add([]byte("user\x00a\x00\x00x\x00role\x00admin\x00\x00"))
	f.Add([]byte("a\x00b\x00A\x00c\x00\x00"))
	f.Add([]byte("user\x00"))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, body []byte) {
		params, err := ParseParams(body, nil)
		if err != nil {
			var v *Violation
			if !errors.As(err, &v) || v.Silent || params != nil {
				t.Fatalf("%v with %v", err, params)
			}
			return
		}
		if len(params) > maxParams {
			t.Fatalf("%d parameters", len(params))
		}
		// What was accepted encodes to exactly what was sent, so nothing of it was overlooked.
		if b, err := AppendStartup(nil, Version30, params); len(body) <= MaxStartupPacket-4 && (err != nil || !bytes.Equal(b[8:], body)) {
			t.Fatalf("%q encodes to %q, %v", params, b, err)
		}
		if len(params) == 0 {
			return // pgproto3 wants at least one
		}
		var ref pgproto3.StartupMessage
		if err := ref.Decode(append([]byte{0, 3, 0, 0}, body...)); err != nil {
			t.Fatalf("accepted, but pgproto3 says %v", err)
		}
		got := map[string]string{}
		for _, p := range params {
			got[p.Name] = p.Value
		}
		if len(got) != len(params) || !maps.Equal(got, ref.Parameters) {
			t.Fatalf("%v, pgproto3 %v", params, ref.Parameters)
		}
	})
}
