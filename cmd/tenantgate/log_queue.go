package main

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// logQueue writes log lines from a goroutine of its own: a terminal or a pipe
// that takes nothing must not stop the event loops. Lines that do not fit are
// dropped, and counted in the next one that does.
type logQueue struct {
	out     io.Writer
	lines   chan []byte
	dropped atomic.Uint64
	stop    chan struct{} // closed by Close
	written chan struct{} // closed once everything is
}

// queuedLines is how many lines may wait.
const queuedLines = 4096

func newLogQueue(out io.Writer) *logQueue {
	q := &logQueue{out: out, lines: make(chan []byte, queuedLines), stop: make(chan struct{}), written: make(chan struct{})}
	go q.run()
	return q
}

// Write takes one line, as slog's handlers write them. It never blocks or fails.
func (q *logQueue) Write(line []byte) (int, error) {
	select {
	case q.lines <- bytes.Clone(line):
	default:
		q.dropped.Add(1)
	}
	return len(line), nil
}

func (q *logQueue) run() {
	defer close(q.written)
	for {
		select {
		case line := <-q.lines:
			q.put(line)
		case <-q.stop:
			for {
				select {
				case line := <-q.lines:
					q.put(line)
				default:
					return
				}
			}
		}
	}
}

func (q *logQueue) put(line []byte) {
	if n := q.dropped.Swap(0); n > 0 {
		fmt.Fprintf(q.out, "time=%s level=WARN msg=\"log lines were dropped\" count=%d\n", time.Now().UTC().Format(time.RFC3339Nano), n)
	}
	_, _ = q.out.Write(line) // there is nowhere to report it to
}

// Close writes what waits, for at most two seconds. What is written later is lost.
func (q *logQueue) Close() {
	close(q.stop)
	select {
	case <-q.written:
	case <-time.After(2 * time.Second):
	}
}
