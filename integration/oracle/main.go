// Command oracle tells what PostgreSQL's own scanner and parser make of statements, for the tests
// that hold the project's lexer and guard against them. It is a module of its own because the parser
// is C.
//
// It reads statements from standard input, each as a length of four bytes, most significant first, and
// that many bytes, and answers each with a line of JSON.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// answer is what is said of one statement.
type answer struct {
	ScanError  string          `json:"scan_error,omitempty"`
	Tokens     []token         `json:"tokens,omitempty"`
	ParseError string          `json:"parse_error,omitempty"`
	Tree       json.RawMessage `json:"tree,omitempty"` // as libpg_query writes a ParseResult
}

// token is the bytes from Start up to End. Comments are tokens.
type token struct {
	Start   int    `json:"s"`
	End     int    `json:"e"`
	Name    string `json:"n"` // as gram.y has it
	Keyword bool   `json:"k,omitempty"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

// serve answers until the input ends.
func serve(r io.Reader, w io.Writer) error {
	in, out := bufio.NewReader(r), bufio.NewWriter(w)
	encoder := json.NewEncoder(out)
	for {
		var n uint32
		switch err := binary.Read(in, binary.BigEndian, &n); {
		case errors.Is(err, io.EOF):
			return out.Flush()
		case err != nil:
			return err
		}
		sql := make([]byte, n)
		if _, err := io.ReadFull(in, sql); err != nil {
			return err
		}
		if err := encoder.Encode(examine(string(sql))); err != nil {
			return err
		}
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

// examine asks the scanner and the parser.
func examine(sql string) (a answer) {
	if scanned, err := pg_query.Scan(sql); err != nil {
		a.ScanError = err.Error()
	} else {
		for _, t := range scanned.GetTokens() {
			a.Tokens = append(a.Tokens, token{
				Start: int(t.GetStart()), End: int(t.GetEnd()), Name: t.GetToken().String(),
				Keyword: t.GetKeywordKind() != pg_query.KeywordKind_NO_KEYWORD,
			})
		}
	}
	tree, err := pg_query.ParseToJSON(sql)
	if err != nil {
		a.ParseError = err.Error()
		return a
	}
	a.Tree = json.RawMessage(tree)
	return a
}
