package session

import (
	"errors"

	"github.com/tenantgate/tenantgate/wire"
)

// Behind the login a context is entered ahead of the client's first message, in the
// same write and without a Sync: an error in any of it makes PostgreSQL skip whatever
// comes up to the next Sync, a Query too ("Extended Query" in "Message Flow"). It
// stands in a transaction of its own, so that an error or a ROLLBACK of the client's
// does not take the context back, and the client's own message finds no transaction:
// VACUUM is still possible. The isolation level is given because the default one of
// the session may wait (SERIALIZABLE READ ONLY DEFERRABLE).
//
// Nothing behind the first Sync of the client's passes before the entering is
// confirmed, and no answer does so ever. A Flush makes PostgreSQL confirm it before it
// runs the client's message, so that neither a cancel nor a time limit need wait for
// that: without it a cancel could not tell whether it would hit the entering.

// aheadState is how far an entering ahead is.
type aheadState uint8

const (
	aheadNone aheadState = iota
	aheadDue             // nothing was sent to this backend
	aheadSent            // it is not confirmed
	aheadShut            // likewise, and a Sync was sent behind it
)

// The messages around the entering.
var (
	aheadBegin  = appendRun(nil, "begin isolation level read committed", false)
	aheadCommit = wire.AppendFlush(appendRun(nil, "commit", true))
)

// aheadAnswers are the messages of an entering ahead, all of which are answered.
const aheadAnswers = "PBE" + "PBEC" + "PBEC"

// appendRun appends the messages that run a statement without parameters.
func appendRun(dst []byte, sql string, forget bool) []byte {
	dst, err := wire.AppendParse(dst, "", sql)
	if err == nil {
		dst, err = wire.AppendBind(dst, "", "", 0, nil, 0)
	}
	if err == nil {
		dst, err = wire.AppendExecute(dst, "")
	}
	if err == nil && forget {
		dst, err = wire.AppendClose(dst, 'S', "")
	}
	if err != nil {
		panic(err) // of a text that stands above
	}
	return dst
}

// enterAhead sends the context in front of the message that is about to pass.
func (l *Lease) enterAhead(out *Out) error {
	b := l.backend
	start := len(out.room)
	msg, err := l.entry.appendEnter(&out.query, append(out.room, aheadBegin...), "", l.entry.settings, &out.Random, b.seal)
	if err != nil {
		return err
	}
	out.room = append(msg, aheadCommit...)
	b.carried = l.entry
	b.shelf.drop(&b.shelf.unnamed)
	for i := range len(aheadAnswers) {
		l.owed.push(entry(aheadAnswers[i]) | ahead)
	}
	l.owed.coming, l.owed.asked = 0, l.owed.n
	l.turn.ahead, l.confirmed = aheadSent, false
	out.toServer(out.room[start:])
	return nil
}

// errUncommitted means that what was entered went with its transaction.
var errUncommitted = errors.New("the backend did not commit the context")

// enteredAhead takes an answer to an entering ahead.
func (l *Lease) enteredAhead(m wire.Frame, failure backendError) error {
	switch m.Type {
	case 'E':
		return l.enterError(failure)
	case 'D':
		return l.confirmRow(m)
	case 'C':
		if tag, _ := wire.CommandTag(m.Body); tag == "ROLLBACK" {
			return errUncommitted
		}
	}
	if l.owed.before > 0 {
		return nil
	}
	if !l.confirmed {
		return errUnconfirmed
	}
	l.began, l.turn.ahead = true, aheadNone
	return nil
}

// Early says that the context was sent and is not confirmed: a cancel could hit its
// entering, which would end the session.
func (l *Lease) Early() bool { return l.turn.ahead >= aheadSent }
