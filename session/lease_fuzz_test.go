package session

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzLease holds that neither direction depends on how its bytes are split, and that nothing panics.
func FuzzLease(f *testing.F) {
	f.Add(bytes.Join([][]byte{query("select 1 1"), query("reset all"), query("select 2 1")}, nil), []byte("1\x00\x00\x00\x04"), []byte{1, 2, 3})
	f.Add(bytes.Join([][]byte{batchOf("discard all", "select 1 1"), message('F', "xxxx"), query("set app.user_id = 'x'")}, nil),
		bytes.Join([][]byte{message('1'), message('2'), message('C', "DISCARD ALL\x00")}, nil), []byte{5, 1, 1, 1})
	f.Add(bytes.Join([][]byte{query("copy 1 in"), copyRow("x"), message('c'), message('S')}, nil),
		bytes.Join([][]byte{message('G', "\x00\x00\x00"), message('E', "SERROR\x00C22P04\x00Mx\x00\x00"), message('Z', "I")}, nil), []byte{7})
	f.Add(query("/*"+strings.Repeat("x", 900)+"*/ reset all"), message('Z', "T"), []byte{200, 200, 200, 200})
	f.Add(append(query("select 1 1"), 'X', 0, 0, 0, 4), message('S', "client_encoding\x00SJIS\x00"), []byte{0, 3})
	f.Fuzz(func(t *testing.T, client, server, cuts []byte) {
		whole := fuzzLease(t, client, server, nil)
		pieces := fuzzLease(t, client, server, cuts)
		if whole != pieces {
			t.Fatalf("at once:  %+v\nin pieces: %+v", whole, pieces)
		}
	})
}

// leaseOutcome is what a lease made of two streams.
type leaseOutcome struct {
	toServer, toClient   string
	left                 int
	clientErr, serverErr string
}

// fuzzLease gives a lease the client's bytes and then the server's, split at cuts.
func fuzzLease(t *testing.T, client, server, cuts []byte) (o leaseOutcome) {
	d := newDialog(t, 0)
	d.lease.terms = &Terms{StatementBuffer: 400, Refusal: d.lease.terms.Refusal} // what is refused late depends on the pieces
	d.pg.dead = true
	for _, piece := range chunks(client, cuts) {
		d.rest = append(bytes.Clone(d.rest), piece...)
		if d.take(); d.err != nil {
			o.clientErr = d.err.Error()
			return o // how much of what stands before passed depends on the pieces
		}
	}
	o.left = len(d.rest)
	for _, piece := range chunks(server, cuts) {
		if d.answer(piece); d.err != nil {
			o.serverErr = d.err.Error()
			return o
		}
	}
	o.toServer, o.toClient = string(d.toPG), string(d.raw)
	return o
}

// chunks splits b at cuts, which are lengths.
func chunks(b, cuts []byte) (pieces [][]byte) {
	for _, c := range cuts {
		n := min(int(c), len(b))
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return append(pieces, b)
}
