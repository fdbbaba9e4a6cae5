package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantgate/tenantgate/wire"
)

// ownSet is what an application sends that sets its own tenant.
const ownSet = "select 1 1 , set_config('app.current_tenant_id', $1, false)"

// bindValue is a Bind of one value in text format.
func bindValue(portal, statement, value string) []byte {
	n := binary.BigEndian.AppendUint32(nil, uint32(len(value)))
	return message('B', portal, "\x00", statement, "\x00\x00\x00\x00\x01", string(n), value, "\x00\x00")
}

// set is a Bind of value to the statement, and an Execute.
func set(statement, value string) []byte {
	return append(bindValue("", statement, value), execute("", 0)...)
}

// TestOnlyTheOwnValueIsBoundToASetting: whatever became of the statement's Parse.
func TestOnlyTheOwnValueIsBoundToASetting(t *testing.T) {
	sync := message('S')
	other := parse("", "select 2 1")
	closed := append(message('C', "S", "s\x00"), sync...)
	many := func() (b [][]byte) {
		for i := range maxResetters {
			b = append(b, prepare(fmt.Sprintf("s%d", i), ownSet))
		}
		return append(b, prepare("t", ownSet))
	}
	unanswered := func() (b []byte) {
		for i := range 40 {
			b = append(b, parse("", strings.Replace(ownSet, "$1", fmt.Sprintf("$%d", i+1), 1))...)
		}
		return append(b, sync...)
	}
	typed := func(oid string) []byte { return message('P', "\x00", ownSet, "\x00\x00\x01", oid) }
	tenant := " 1:a"
	for name, c := range map[string]struct {
		say     [][]byte
		ran     string
		refused int
	}{
		"own":                       {[][]byte{parse("", ownSet), set("", "a"), sync}, tenant, 0},
		"own, by name":              {[][]byte{prepare("s", ownSet), set("s", "a"), sync, set("s", "a"), sync}, tenant + tenant, 0},
		"own as varchar":            {[][]byte{typed("\x00\x00\x04\x13"), set("", "a"), sync}, tenant, 0},
		"own as name":               {[][]byte{typed("\x00\x00\x00\x13"), set("", "a"), sync}, "", 1},
		"foreign":                   {[][]byte{parse("", ownSet), set("", "b"), sync, query("select 2 1")}, " 2:a", 1},
		"foreign, by name":          {[][]byte{prepare("s", ownSet), set("s", "b"), set("s", "a"), sync, set("s", "a"), sync}, tenant, 1},
		"foreign, by a longer name": {[][]byte{prepare(strings.Repeat("n", 63), ownSet), set(strings.Repeat("n", 63)+"\xc3\xa9", "b"), sync}, "", 1},
		"longer":                    {[][]byte{parse("", ownSet), set("", "a "), sync}, "", 1},
		"empty":                     {[][]byte{parse("", ownSet), set("", ""), sync}, "", 1},
		"not ASCII":                 {[][]byte{parse("", ownSet), set("", "\xe9"), sync}, "", 1},
		"null":                      {[][]byte{parse("", ownSet), message('B', "\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00"), execute("", 0), sync}, "", 1},
		"binary":                    {[][]byte{parse("", ownSet), message('B', "\x00\x00\x00\x01\x00\x01\x00\x01\x00\x00\x00\x01a\x00\x00"), execute("", 0), sync}, tenant, 0},
		"no such format":            {[][]byte{parse("", ownSet), message('B', "\x00\x00\x00\x01\x00\x02\x00\x01\x00\x00\x00\x01a\x00\x00"), execute("", 0), sync}, "", 1},
		"no value":                  {[][]byte{parse("", ownSet), bindTo("", ""), execute("", 0), sync}, "", 1},
		"trailing byte":             {[][]byte{parse("", ownSet), message('B', "\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01a\x00\x00\x00"), execute("", 0), sync}, "", 1},
		"by Query":                  {[][]byte{query(ownSet)}, "", 1},
		"too long to be held":       {[][]byte{parse("", ownSet), set("", strings.Repeat("a", 500)), sync, query("select 2 1")}, " 2:a", 1},
		"portal":                    {[][]byte{query("begin"), prepare("s", ownSet), bindValue("p", "s", "b"), sync, execute("p", 0), sync}, "", 1},
		"replaced":                  {[][]byte{parse("", ownSet), sync, other, sync, set("", "b"), sync}, " 2:a", 0},
		"replaced in the batch":     {[][]byte{parse("", ownSet), set("", "a"), other, set("", "b"), sync}, tenant + " 2:a", 0},
		"not replaced: skipped":     {[][]byte{prepare("", ownSet), bindTo("", "none"), other, sync, set("", "b"), sync}, "", 1},
		"not replaced: it exists":   {[][]byte{prepare("s", ownSet), parse("s", "select 2 1"), sync, set("s", "b"), sync}, "", 1},
		"replaced in one go":        {[][]byte{append(append(prepare("", ownSet), append(other, sync...)...), append(set("", "b"), sync...)...)}, "", 1},
		"closed":                    {[][]byte{prepare("s", ownSet), closed, prepare("s", "select 2 1"), set("s", "b"), sync}, " 2:a", 0},
		"not closed: skipped":       {[][]byte{prepare("s", ownSet), bindTo("", "none"), closed, parse("s", "select 2 1"), sync, set("s", "b"), sync}, "", 1},
		"not replaced: misspelt":    {[][]byte{prepare("", ownSet), prepare("", "select 2 1 -- \xff"), set("", "b"), sync, set("", "a"), sync}, tenant, 1},
		"misspelt in one go":        {[][]byte{append(append(prepare("", ownSet), prepare("", "select 2 1 -- \xff")...), append(set("", "b"), sync...)...)}, "", 1},
		"misspelt by name":          {[][]byte{prepare("s", ownSet), prepare("s", "select 2 1 -- \xff"), set("s", "b"), sync}, "", 1},
		"misspelt and replaced":     {[][]byte{prepare("", ownSet), prepare("", "select 2 1 -- \xff"), prepare("", "select 2 1"), set("", "b"), sync}, " 2:a", 0},
		"misspelt, long":            {[][]byte{prepare("", ownSet), prepare("", "select 2 1 -- \xff"+strings.Repeat("x", 500)), set("", "b"), sync}, "", 1},
		"replaced, long":            {[][]byte{prepare("", ownSet), prepare("", "select 2 1 -- "+strings.Repeat("x", 500)), set("", "b"), sync}, " 2:a", 0},
		"prepared again":            {[][]byte{prepare("", ownSet), prepare("", ownSet), set("", "b"), sync, set("", "a"), sync}, tenant, 1},
		"long name":                 {[][]byte{prepare(strings.Repeat("n", 63)+"x", ownSet), set(strings.Repeat("n", 63)+"y", "b"), sync}, "", 1},
		"odd name":                  {[][]byte{prepare("\xe9", ownSet), set("\xe9", "a"), sync}, "", 1},
		"too many":                  {many(), "", 1},
		"too many in one go":        {[][]byte{unanswered()}, "", 1},
		"by EXECUTE":                {[][]byte{prepare("s", ownSet), query("execute s b"), query("select 2 1")}, " 2:a", 1},
		"by a later EXECUTE":        {[][]byte{prepare("x", "execute s b"), prepare("s", ownSet), set("x", ""), sync}, "", 1},
		"by a prepared EXECUTE":     {[][]byte{prepare("s", ownSet), parse("", "execute s b"), set("", ""), sync}, "", 1},
		"beside an EXECUTE":         {[][]byte{prepare("t", "select 2 1"), query("execute t"), parse("", ownSet), set("", "a"), sync}, " 2:a" + tenant, 0},
	} {
		t.Run(name, func(t *testing.T) {
			eachSize(t, func(t *testing.T, size int) {
				d := newDialog(t, size)
				for _, m := range c.say {
					d.say(m)
				}
				refused := 0
				for _, m := range d.got {
					if m.typ == 'E' && strings.Contains(m.body, "42501") {
						refused++
					}
				}
				got := ""
				for _, ran := range d.ran {
					got += " " + ran
				}
				// Byte by byte the answers arrive in between, and what was in one go is not.
				if size > 0 && strings.HasSuffix(name, "in one go") {
					return
				}
				if d.err != nil || len(d.rest) > 0 || got != c.ran || refused != c.refused {
					t.Errorf("error %v, %d bytes not taken, ran%s, want%s, %d refusals, want %d: %s", d.err, len(d.rest), got, c.ran, refused, c.refused, d.types())
				}
			})
		})
	}
}

// TestABindIsHeldToAStatementUntilAnotherIsThere: an error that PostgreSQL answers a Parse or Close with
// may have come before anything was dropped: that of a cancel, for instance.
func TestABindIsHeldToAStatementUntilAnotherIsThere(t *testing.T) {
	cancelled := append(wire.AppendError(nil, "ERROR", "57014", "x", ""), message('Z', "I")...)
	taken := append(message('1'), message('Z', "I")...)
	for name, c := range map[string]struct {
		say, answer []byte
		passes      bool
	}{
		"Parse":                 {prepare("", "select 2 1"), taken, true},
		"Parse, unanswered":     {prepare("", "select 2 1"), nil, false},
		"Parse, cancelled":      {prepare("", "select 2 1"), cancelled, false},
		"Parse of another":      {prepare("s", "select 2 1"), taken, false},
		"second Parse, first":   {append(prepare("", "select 2 1"), prepare("", "select 3 1")...), taken, false},
		"second Parse, failed":  {append(prepare("", ownSet), prepare("", "select 3 1")...), append(bytes.Clone(taken), cancelled...), false},
		"Parse behind a failed": {append(prepare("", "select 2 1"), prepare("", "select 3 1")...), append(bytes.Clone(cancelled), taken...), true},
		"Parse again":           {append(prepare("", "select 2 1"), prepare("", ownSet)...), append(bytes.Clone(taken), taken...), false},
		"Close":                 {join(message('C', "S\x00"), message('S')), append(message('3'), message('Z', "I")...), true},
		"Close, unanswered":     {join(message('C', "S\x00"), message('S')), nil, false},
		"Close, cancelled":      {join(message('C', "S\x00"), message('S')), cancelled, false},
		"Close of a portal":     {join(message('C', "P\x00"), message('S')), append(message('3'), message('Z', "I")...), false},
		"Parse behind a Close":  {join(message('C', "S\x00"), prepare("", ownSet)), join(message('3'), taken), false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDialog(t, 0)
			d.say(prepare("", ownSet))
			d.pg.dead = true // what it says is said here
			d.rest = c.say
			d.take()
			d.answer(c.answer)
			d.toPG, d.rest = nil, bindValue("", "", "b")
			d.take()
			if passed := bytes.Equal(d.toPG, bindValue("", "", "b")); d.err != nil || passed != c.passes {
				t.Errorf("error %v, passed %v: %q", d.err, passed, d.toPG)
			}
		})
	}
}

// TestALongStatementBindsNothing: what passes while it is judged cannot be refused any more, and is
// never run.
func TestALongStatementBindsNothing(t *testing.T) {
	padding := " /*" + strings.Repeat("x", 1000) + "*/"
	for name, b := range map[string][]byte{
		"set":            append(parse("", ownSet+padding), set("", "a")...),
		"EXECUTE":        query("execute s b" + padding),
		"EXECUTE, later": append(parse("", "execute s b"+padding), set("", "")...),
	} {
		d := newDialog(t, 100)
		d.say(prepare("s", ownSet))
		if d.say(b, message('S')); d.err == nil || len(d.ran) > 0 {
			t.Errorf("%s: error %v, ran %v", name, d.err, d.ran)
		}
	}
}
