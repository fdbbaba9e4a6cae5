package session

import (
	"bytes"
	"testing"
)

// BenchmarkLease is what a query costs between the sockets.
func BenchmarkLease(b *testing.B) {
	row := message('D', string(dataRow("4711")))
	const columns = "\x00\x01abalance\x00\x00\x00\x40\x00\x00\x03\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x00"
	for _, c := range []struct {
		name          string
		asked, answer []byte
	}{
		{"simple", query("SELECT abalance FROM pgbench_accounts WHERE aid = 4242;"), join(message('T', columns), row, message('C', "SELECT 1\x00"), message('Z', "I"))},
		{"prepared", join(bindTo("", "P_0"), message('D', "P\x00"), execute("", 0), message('S')), join(message('2'), message('T', columns), row, message('C', "SELECT 1\x00"), message('Z', "I"))},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := newDialog(b, 0)
			var out Out
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				n, err := d.lease.FromClient(c.asked, &out)
				if err != nil || n != len(c.asked) {
					b.Fatal(n, err)
				}
				out.Reset()
				if n, err = d.lease.FromServer(c.answer, &out); err != nil || n != len(c.answer) {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func join(messages ...[]byte) []byte { return bytes.Join(messages, nil) }
