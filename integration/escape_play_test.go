package integration

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// stage is one entry being played: the sessions that are open and what each
// tenant has heard so far.
type stage struct {
	t        *testing.T
	corpus   *escapeCorpus
	database string
	gate     *proxy
	entry    *escape
	sessions map[tenant]*wire
	dead     map[tenant]bool
	piped    map[tenant][][]byte
	heard    map[tenant]*bytes.Buffer
	errors   []string // ErrorResponses to A, and what ended its session
}

// play plays the steps and closes the sessions.
func (s *stage) play() {
	for _, step := range s.entry.steps {
		s.step(step)
	}
	for _, w := range s.sessions {
		w.send(terminate)
		w.close()
	}
}

// step plays one step. A session that has died stays so.
func (s *stage) step(step escapeStep) {
	who := tenantA
	if step.bravo {
		who = tenantB
	}
	sql := s.corpus.fill(step.sql, s.database)
	var args []string
	for _, a := range step.args {
		args = append(args, s.corpus.fill(a, s.database))
	}
	switch step.verb {
	case "leave", "vanish":
		s.leave(who, step.verb == "leave")
		return
	case "login":
		var params []string
		for _, pair := range append([]string{sql}, args...) {
			name, value, _ := strings.Cut(pair, "=")
			params = append(params, name, value)
		}
		s.session(who, params...)
		return
	}
	w := s.session(who)
	if w == nil {
		return
	}
	switch step.verb {
	case ">":
		s.say(who, w, simple(sql))
	case "bind":
		s.say(who, w, extended(sql, args...), syncMessage)
	case "pipe":
		s.piped[who] = append(s.piped[who], extended(sql, args...))
	case "parse", "declare":
		name, text, _ := strings.Cut(sql, " ")
		s.sayOrPipe(who, w, step.verb == "parse", parse(name, text))
	case "run", "queue":
		s.sayOrPipe(who, w, step.verb == "run", bind("", sql, args...), execute("", 0))
	case "closing":
		s.say(who, w, closeOf('S', sql), syncMessage)
	case "sync":
		s.say(who, w, append(s.piped[who], syncMessage)...)
		s.piped[who] = nil
	case "copy":
		messages := [][]byte{simple(sql)}
		for _, line := range args {
			messages = append(messages, copyData(line+"\n"))
		}
		s.say(who, w, append(messages, copyDone)...)
	case "call":
		s.say(who, w, functionCall(s.corpus.oid(s.t, s.database, sql), args...))
	case "read":
		s.say(who, w, simple("SELECT name FROM projects"))
		s.say(who, w, simple("SELECT body FROM notes"))
	case "write":
		s.say(who, w, simple("INSERT INTO projects (tenant_id, name) VALUES ('"+tenantB.id+"', 'forged')"))
		s.say(who, w, simple("UPDATE projects SET name = 'overwritten' WHERE tenant_id = '"+tenantB.id+"'"))
		s.say(who, w, simple("DELETE FROM notes WHERE tenant_id = '"+tenantB.id+"'"))
	}
}

// sayOrPipe sends messages and a Sync at once, or keeps them for the next sync.
func (s *stage) sayOrPipe(who tenant, w *wire, now bool, messages ...[]byte) {
	if now {
		s.say(who, w, append(messages, syncMessage)...)
		return
	}
	s.piped[who] = append(s.piped[who], messages...)
}

// session returns the tenant's session, opening it when there is none; nil when
// it has died or the login was refused.
func (s *stage) session(who tenant, params ...string) *wire {
	if w := s.sessions[who]; w != nil || s.dead[who] {
		return w
	}
	ep := s.corpus.endpoints[s.gate][who].in("wide")
	if s.entry.marks.oneBackend {
		ep = ep.in("narrow")
	}
	w, err := ep.tryDial(s.t)
	if err != nil {
		s.t.Fatalf("%s: %v", s.entry.where, err)
	}
	s.t.Cleanup(w.close)
	w.send(startup(append([]string{"user", ep.user, "database", ep.database}, params...)...))
	if err := w.authenticate(); err != nil {
		s.heard[who].WriteString(err.Error())
		s.died(who, err.Error())
		w.close()
		return nil
	}
	s.heard[who].WriteString(w.loginBurst())
	s.sessions[who] = w
	return w
}

// leave ends a session, politely or not; the next step opens another.
func (s *stage) leave(who tenant, politely bool) {
	if w := s.sessions[who]; w != nil {
		if politely {
			w.send(terminate)
		}
		w.close()
	}
	delete(s.sessions, who)
}

// died notes that a session is over before its steps are.
func (s *stage) died(who tenant, why string) {
	s.dead[who] = true
	delete(s.sessions, who)
	if who == tenantA {
		s.errors = append(s.errors, why)
	}
}

// say sends messages in one write and hears the answer, whatever it is.
func (s *stage) say(who tenant, w *wire, messages ...[]byte) {
	w.send(messages...)
	for {
		f, err := w.read()
		if err != nil {
			if !gone(err) {
				s.t.Errorf("%s: no answer to %q: %v", s.entry.where, join(messages...), err)
			}
			s.died(who, err.Error())
			return
		}
		s.heard[who].Write(f.body)
		switch f.typ {
		case 'E':
			if who == tenantA {
				s.errors = append(s.errors, f.String())
			}
		case 'Z':
			return
		}
	}
}

// functionCall is a FunctionCall with text arguments and a text result.
func functionCall(oid uint32, args ...string) []byte {
	b := binary.BigEndian.AppendUint32(nil, oid)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(args)))
	for _, a := range args {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(a))), a...)
	}
	return message('F', append(b, 0, 0)...)
}
