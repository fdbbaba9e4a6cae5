package main

import (
	"net"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"
)

// standIn answers in the place of PostgreSQL where thousands of backends are
// wanted: in session pooling every client has one of its own, and as many server
// processes are more than a machine holds. It knows what the proxies ask of a
// backend, and one row for everything else. What is measured is the proxy's own
// cost, to which it makes no difference who answers.
type standIn struct {
	listener net.Listener
	mu       sync.Mutex
	open     map[net.Conn]struct{}
	closed   bool
}

// startStandIn listens on a port of its own.
func startStandIn() (*standIn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &standIn{listener: l, open: map[net.Conn]struct{}{}}
	go s.accept()
	return s, nil
}

// port is where it listens.
func (s *standIn) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// close ends it with all its connections.
func (s *standIn) close() {
	if s == nil {
		return
	}
	_ = s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.open {
		_ = c.Close()
	}
}

func (s *standIn) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			_ = c.Close()
		}
		s.open[c] = struct{}{}
		s.mu.Unlock()
		go func() {
			s.serve(c)
			_ = c.Close()
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
		}()
	}
}

// serve is one backend, until the proxy leaves.
func (s *standIn) serve(c net.Conn) {
	b := pgproto3.NewBackend(c, c)
	if startup, err := b.ReceiveStartupMessage(); err != nil {
		return
	} else if _, ok := startup.(*pgproto3.StartupMessage); !ok {
		return // a cancel: nothing ever runs for long
	}
	b.Send(&pgproto3.AuthenticationOk{})
	for _, p := range [][2]string{
		{"server_version", "15.0"},
		{"server_encoding", "UTF8"},
		{"client_encoding", "UTF8"},
		{"DateStyle", "ISO, MDY"},
		{"TimeZone", "UTC"},
		{"integer_datetimes", "on"},
		{"standard_conforming_strings", "on"},
		{"IntervalStyle", "postgres"},
		{"is_superuser", "off"},
	} {
		b.Send(&pgproto3.ParameterStatus{Name: p[0], Value: p[1]})
	}
	b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	var sql string
	var values [][]byte
	for b.Flush() == nil {
		m, err := b.Receive()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *pgproto3.Query:
			answer(b, m.String, nil, true)
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Parse:
			sql = m.Query
			b.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Bind:
			values = values[:0]
			for _, v := range m.Parameters {
				values = append(values, append([]byte(nil), v...))
			}
			b.Send(&pgproto3.BindComplete{})
		case *pgproto3.Describe:
			b.Send(description(sql, values))
		case *pgproto3.Execute:
			answer(b, sql, values, false)
		case *pgproto3.Close:
			b.Send(&pgproto3.CloseComplete{})
		case *pgproto3.Sync:
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Terminate:
			return
		}
	}
}

// answer sends the result of a statement, by the simple protocol with the
// description of its row.
func answer(b *pgproto3.Backend, sql string, values [][]byte, simple bool) {
	if sql == "DISCARD ALL" {
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte(sql)})
		return
	}
	if simple {
		b.Send(description(sql, values))
	}
	b.Send(&pgproto3.DataRow{Values: cells(sql, values)})
	b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
}

// cells is the row that a statement gives.
func cells(sql string, values [][]byte) [][]byte {
	switch {
	case strings.Contains(sql, "set_config"): // the context is entered: the last value is the tenant
		return [][]byte{nil, values[len(values)-1]}
	case strings.Contains(sql, "pg_postmaster_start_time"): // pid, start, clock, a Unix socket, no standby, no seal
		return [][]byte{[]byte("1"), []byte("1"), []byte("1"), []byte("0"), []byte("f"), []byte("f")}
	case strings.HasPrefix(sql, "SELECT '"): // the proof of a reset: a nonce, and no tenant
		nonce, _, _ := strings.Cut(strings.TrimPrefix(sql, "SELECT '"), "'")
		return [][]byte{[]byte(nonce), nil}
	case strings.Contains(sql, "current_setting("): // nothing is set
		return [][]byte{nil}
	}
	return [][]byte{[]byte("1")}
}

// description describes that row: columns of type text.
func description(sql string, values [][]byte) *pgproto3.RowDescription {
	fields := make([]pgproto3.FieldDescription, len(cells(sql, values)))
	for i := range fields {
		fields[i] = pgproto3.FieldDescription{Name: []byte("c"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1}
	}
	return &pgproto3.RowDescription{Fields: fields}
}
