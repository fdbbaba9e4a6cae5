package session

import (
	"errors"
	"fmt"

	"github.com/tenantgate/tenantgate/wire"
)

// serverStream is the message of the backend that is passing in parts.
type serverStream struct {
	scan wire.Scanner
	hide bool // the rest of the current message is not the client's
	tail int  // bytes that the last step left unconsumed
}

func (s *serverStream) atBoundary() bool { return !s.scan.Inside() && s.tail == 0 }

// EnterError says that PostgreSQL refused the context or a startup parameter.
type EnterError struct {
	Code, Message string // as PostgreSQL sent them
	Fatal         bool   // the backend was going away for a reason of its own
}

func (e *EnterError) Error() string {
	return fmt.Sprintf("enter the context: %s (SQLSTATE %s)", e.Message, e.Code)
}

// ErrUnsafeEncoding ends a session whose client_encoding became one in which
// statements cannot be read safely.
var ErrUnsafeEncoding = errors.New("the session's client_encoding is not supported")

var errUnconfirmed = errors.New("the backend did not confirm the context")

// errOversized guards what has to be gathered whole.
var errOversized = errors.New("backend message is too large to be read")

// FromServer takes what the backend sent and returns how much of it was
// consumed; the caller keeps the rest, at most 64 KiB, and gives it again with
// more behind it. An error means that the backend is out of step or did not
// confirm the context: both connections must be closed.
func (l *Lease) FromServer(p []byte, out *Out) (n int, err error) {
	run, i := 0, 0 // p[run:i] passes as it is
	for {
		if n := l.server.scan.Skip(p[i:]); n > 0 {
			i += n
			if l.server.hide {
				run = i
			}
		}
		if l.server.scan.Inside() {
			break
		}
		m, ok := l.server.scan.Next(p[i:])
		if !ok {
			break
		}
		if err := wire.CheckServer(m.Type, m.Length); err != nil {
			out.toClient(p[run:i])
			l.server.tail = len(p) - i
			return i, err
		}
		if !m.Whole() && l.gathers(m) {
			break
		}
		passes, instead, err := l.answer(m)
		if err != nil {
			out.toClient(p[run:i])
			l.server.tail = len(p) - i
			return i, err
		}
		if !passes {
			out.toClient(p[run:i])
			out.toClient(instead)
		}
		l.server.hide = !passes
		i += l.server.scan.Take(m)
		if passes && (m.Type == 'd' || m.Type == 'D') {
			i += wire.Run(m.Type, p[i:]) // further rows of the same answer
		}
		if !passes {
			run = i
		}
		if l.probe.on {
			if err := l.probed(out); err != nil {
				return i, err
			}
		}
		if m.Type == 'Z' {
			l.statements.settle(&l.owed)
			if err := l.reenter(out); err != nil {
				return i, err
			}
			if err := l.readBack(out); err != nil {
				return i, err
			}
		}
	}
	out.toClient(p[run:i])
	l.server.tail = len(p) - i
	return i, nil
}

// gathers says whether a message must be whole before it is looked at.
func (l *Lease) gathers(m wire.Frame) bool {
	switch m.Type {
	case 'Z', 'S':
		return true
	case 'C':
		return l.probe.on || l.undone.any() || l.names.awaitsTag(&l.owed)
	case 't', 'T':
		return l.names.reads(&l.owed) && m.Size() <= gatherLimit
	case 'E':
		return m.Size() <= gatherLimit
	}
	return l.owed.front()&injected != 0 && m.Size() <= gatherLimit
}

// answer takes one message of the backend and says whether it passes to the
// client as it is, or what is sent in its place.
func (l *Lease) answer(m wire.Frame) (passes bool, instead []byte, err error) {
	var failure backendError
	known := false
	if m.Type == 'E' {
		failure = readError(m.Body)
	}
	owner, err := l.owed.received(m.Type, failure.fatal)
	if err != nil {
		return false, nil, err
	}
	if l.names != nil && !failure.fatal {
		l.resolve(m, owner, failure.code)
	}
	if m.Type == 'Z' && l.names.synced(&l.owed) {
		return false, nil, l.owed.ready(m.Body[0])
	}
	if owner.is(injected) {
		return false, nil, l.entering(m, failure)
	}
	if owner.is(ahead) {
		return false, nil, l.enteredAhead(m, failure)
	}
	if owner.ofNames() && !async(m) && (m.Type != 'E' || l.names.quietly(&l.owed)) {
		return false, nil, nil
	}
	if owner.is(refused) && m.Type == 'E' && !failure.fatal {
		instead = l.terms.Refusal(l.entry, l.denials[0])
	}
	l.settle()
	switch m.Type {
	case 'E':
		l.failed()
	case 'C':
		l.Stats.Statements++
		if l.probe.on || l.undone.any() {
			l.completed(m.Body)
		}
	case 'I', 's':
		l.Stats.Statements++
	case '1', '3':
		l.bindings.answered(m.Type, l.owed.taken)
		l.statements.answered(m.Type, l.owed.taken)
	case 'S':
		known = l.turn.expects && l.expected(m.Body)
		err = l.backend.Report(m.Body)
	case 'Z':
		err = l.owed.ready(m.Body[0])
		if l.turn.expects {
			instead = l.untold(m)
		}
		l.probe.discarded = nil
		l.turn.done, l.recalled = true, false
		l.Stats.Queries++
		if l.owed.status == 'I' {
			l.Stats.Transactions++
		}
	}
	passes = l.began && instead == nil && !known && !(m.Type == 'N' && l.owed.front().is(injected)) // what entering gives rise to is not the client's to read
	l.farewell = l.farewell || passes && failure.fatal
	return passes, instead, err
}

// entering takes an answer to the proxy's own messages.
func (l *Lease) entering(m wire.Frame, failure backendError) error {
	switch m.Type {
	case 'E':
		return l.enterError(failure)
	case 'D':
		if l.asking() {
			return l.readRow(m)
		}
		return l.confirmRow(m)
	case 'Z':
		if err := l.owed.ready(m.Body[0]); err != nil {
			return err
		}
	}
	if l.owed.ours > 0 {
		return nil
	}
	if !l.confirmed {
		return errUnconfirmed
	}
	if !l.began {
		clear(l.backend.moved) // by entering
	}
	l.began = true
	if l.terms.Transaction && l.welcome.none() {
		l.welcome = l.backend.Params
	}
	return nil
}

// enterError is the one for an ErrorResponse to the proxy's own messages.
func (l *Lease) enterError(failure backendError) error {
	if l.backend.seal != nil && sealLost[failure.code] {
		return fmt.Errorf("%w: %s (SQLSTATE %s)", ErrUnsealed, failure.message, failure.code)
	}
	return &EnterError{Code: failure.code, Message: failure.message, Fatal: failure.fatal}
}

// confirmRow takes the row that entering answers with.
func (l *Lease) confirmRow(m wire.Frame) error {
	if !m.Whole() {
		return errOversized
	}
	if err := l.entry.confirm(m.Body); err != nil {
		return err
	}
	l.confirmed = true
	return nil
}

// settle drops the denials of statements that PostgreSQL has answered or skipped.
func (l *Lease) settle() {
	l.denials = l.denials[l.owed.gone:]
	l.owed.gone = 0
}

// backendError is what the proxy reads of an ErrorResponse.
type backendError struct {
	code, message string
	fatal         bool // the connection ends behind it
}

func readError(body []byte) backendError {
	severity, code, message, _ := wire.ErrorFields(body)
	return backendError{code, message, severity == "FATAL" || severity == "PANIC"}
}
