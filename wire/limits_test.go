package wire

import (
	"errors"
	"fmt"
	"testing"
)

// edges are lengths at which some bound accepts on one side and refuses on the other.
var edges = []uint32{
	0, 1, 3, 4, 5, 6, 9999, 10000, 10001, 29999, 30000, 30001, 262145, 262146, 262147,
	0x3ffffffd, 0x3ffffffe, 0x3fffffff, 0x40000002, 0x40000003, 0x7fffffff, 0x80000000, 0xffffffff,
}

func TestEveryHeaderIsBoundedAsPostgreSQLBoundsIt(t *testing.T) {
	t.Parallel()
	type rule struct {
		types       string
		least, most uint32
	}
	directions := []struct {
		name  string
		check func(byte, uint32) error
		rules []rule
		other string
	}{
		{"client", CheckClient, []rule{
			{"QPBdF", 4, 0x3ffffffe},
			{"SHXcfCDE", 4, 10000},
		}, "invalid frontend message type %d"},
		{"server", CheckServer, []rule{
			{"123nsIc", 4, 4},
			{"Z", 5, 5},
			{"CGHS", 4, 30000},
			{"t", 4, 262146},
			{"TDdVENA", 4, 0x40000002},
		}, "invalid backend message type %d"},
	}
	for _, d := range directions {
		known := map[byte]rule{}
		for _, r := range d.rules {
			for _, typ := range []byte(r.types) {
				known[typ] = r
			}
		}
		for i := range 256 {
			typ := byte(i)
			r, legal := known[typ]
			for _, length := range edges {
				err := d.check(typ, length)
				if legal && length >= r.least && length <= r.most {
					if err != nil {
						t.Errorf("%s %q length %d: %v, want it accepted", d.name, typ, length, err)
					}
					continue
				}
				want := "invalid message length"
				if !legal {
					want = fmt.Sprintf(d.other, typ)
				}
				var v *Violation
				if !errors.As(err, &v) || v.Text != want || v.Error() != want || v.Silent {
					t.Errorf("%s %q length %d: %v, want the spoken violation %q", d.name, typ, length, err, want)
				}
			}
		}
	}
}
