package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// The styles of a page on a terminal (ECMA-48, section 8.3.117).
const (
	styleBold  = "\x1b[1m"
	styleFaint = "\x1b[2m"
	styleRed   = "\x1b[31m"
	styleGreen = "\x1b[32m"
	styleCyan  = "\x1b[36m"
	styleEnd   = "\x1b[0m"
)

// page prints for a person: headings, tables and marks, in colour on a terminal.
// The first error of the writer is kept in err; nothing is written after it.
type page struct {
	w      io.Writer
	colour bool
	err    error
	fresh  bool // nothing stands under the last heading yet
}

// newPage returns a page on w. NO_COLOR and a dumb terminal are respected.
func newPage(w io.Writer) *page {
	p := &page{w: w}
	if file, ok := w.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
		p.colour = err == nil
	}
	return p
}

// style puts text in a style where there is one.
func (p *page) style(style, text string) string {
	if !p.colour || text == "" {
		return text
	}
	return style + text + styleEnd
}

// print writes one line.
func (p *page) print(line string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(line, " "))
	}
	p.fresh = false
}

// title prints the first line of the page.
func (p *page) title(text string) { p.print(p.style(styleBold, text)) }

// heading begins a section.
func (p *page) heading(text string) {
	p.print("")
	p.print(p.style(styleBold, text))
	p.fresh = true
}

// line prints a line of prose.
func (p *page) line(format string, args ...any) {
	p.print("  " + p.style(styleFaint, fmt.Sprintf(format, args...)))
}

// code prints something that can be pasted.
func (p *page) code(text string) {
	for line := range strings.Lines(text) {
		p.print("  " + p.style(styleCyan, strings.TrimSuffix(line, "\n")))
	}
}

// block prints lines of a file.
func (p *page) block(text string) {
	for line := range strings.Lines(text) {
		p.print("  " + strings.TrimSuffix(line, "\n"))
	}
}

// answer prints what came of the statement before it.
func (p *page) answer(text string) { p.print("    " + p.style(styleFaint, "→ ") + text) }

// mark prints a check and whether it held.
func (p *page) mark(held bool, text string) {
	if held {
		p.print("  " + p.style(styleGreen, "✓ ") + text)
		return
	}
	p.print("  " + p.style(styleRed, "✗ "+text))
}

// table prints rows in aligned columns; columns of numbers stand to the right.
func (p *page) table(head []string, rows [][]string) {
	widths, numeric := make([]int, len(head)), make([]bool, len(head))
	for i, title := range head {
		widths[i], numeric[i] = utf8.RuneCountInString(title), len(rows) > 0
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
			if _, err := strconv.ParseFloat(row[i], 64); err != nil {
				numeric[i] = false
			}
		}
	}
	aligned := func(cells []string) string {
		var line strings.Builder
		for i, cell := range cells {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if numeric[i] {
				line.WriteString(gap + cell + "   ")
			} else {
				line.WriteString(cell + gap + "   ")
			}
		}
		return strings.TrimRight(line.String(), " ")
	}
	if !p.fresh {
		p.print("")
	}
	p.print("  " + p.style(styleFaint, aligned(head)))
	for _, row := range rows {
		p.print("  " + aligned(row))
	}
	p.print("")
}
