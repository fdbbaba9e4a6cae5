package session

import "github.com/tenantgate/tenantgate/wire"

// complete ends a statement that succeeded.
func (p *postgres) complete(text, tag string, q *portal) {
	p.say('C', append([]byte(tag), 0)...)
	if q == nil {
		p.undid = p.undid || undoes(text)
		return
	}
	if ends(text) {
		if p.block == 'I' {
			p.commit()
		}
		return
	}
	// Where the proxy enters the context in the middle of a batch, PostgreSQL takes what comes behind it
	// for a part of the same pipeline, and refuses a second DISCARD ALL there. Only that is passed over.
	p.pipelined = p.pipelined || !isEnter(text)
}

// fail ends a statement, or a message, with an error.
func (p *postgres) fail(code string, extended bool) {
	p.refused(wire.AppendError(nil, "ERROR", code, "simulated", ""), extended)
}

// refused is fail with an error that is built already.
func (p *postgres) refused(msg []byte, extended bool) {
	p.pass(msg)
	p.flush()
	p.script, p.scripted, p.waiting = nil, false, nil
	if p.block == 'I' {
		p.rollback()
	} else {
		p.block = 'E'
	}
	if extended {
		p.skipping = true
		return
	}
	p.ready()
}

// die ends the connection with a FATAL error.
func (p *postgres) die(code string) {
	p.pass(wire.AppendError(nil, "FATAL", code, "simulated", ""))
	p.flush()
	p.dead = true
}

// wait goes on with a statement that does not end by itself.
func (p *postgres) wait() bool {
	w := p.waiting
	switch p.host.outcome(p, w) {
	case remain:
		return false
	case cancel:
		p.waiting = nil
		p.fail("57014", w.portal != nil)
		return true
	case proceed:
	}
	if !w.copying {
		p.waiting = nil
		p.finish(w.text, w.portal)
		return true
	}
	return p.copyIn(w)
}

// copyIn reads one message of a COPY FROM STDIN (CopyGetData in commands/copyfromparse.c).
func (p *postgres) copyIn(w *waiting) bool {
	if len(p.in) >= wire.HeaderSize {
		switch p.in[0] {
		case 'd', 'c', 'f', 'H', 'S':
		default:
			p.fail("08P01", true)
			p.die("08P01")
			return true
		}
	}
	typ, body, ok := p.read()
	if !ok {
		return p.dead
	}
	if typ != 'H' { // the proxy may have sent some
		w.consumed++
	}
	switch typ {
	case 'd':
		w.rows++
		if string(body) == badRow {
			p.waiting = nil
			p.fail("22P04", w.portal != nil)
		}
	case 'c':
		p.waiting = nil
		p.complete(w.text, "COPY", w.portal)
	case 'f':
		p.waiting = nil
		p.fail("57014", w.portal != nil)
	}
	return true
}
