//go:build oracle

package session

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// oracle is PostgreSQL's scanner and parser, the program of integration/oracle.
type oracle struct {
	t   *testing.T
	in  *bufio.Writer
	out *json.Decoder
}

// oracleToken is a token as PostgreSQL's scanner sees it; comments are tokens.
type oracleToken struct {
	Start   int    `json:"s"`
	End     int    `json:"e"`
	Name    string `json:"n"`
	Keyword bool   `json:"k"`
}

// oracleAnswer is what PostgreSQL makes of one statement string.
type oracleAnswer struct {
	ScanError  string        `json:"scan_error"`
	Tokens     []oracleToken `json:"tokens"`
	ParseError string        `json:"parse_error"`
	Tree       struct {
		Stmts []struct {
			Stmt     any `json:"stmt"`
			Location int `json:"stmt_location"`
			Len      int `json:"stmt_len"`
		} `json:"stmts"`
	} `json:"tree"`
}

// newOracle starts the program that ORACLE names.
func newOracle(t *testing.T) *oracle {
	t.Helper()
	path := os.Getenv("ORACLE")
	if path == "" {
		t.Fatal("ORACLE names no program: run this by `make oracle`")
	}
	cmd := exec.Command(path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the oracle: %v", err)
		}
	})
	return &oracle{t: t, in: bufio.NewWriter(in), out: json.NewDecoder(bufio.NewReader(out))}
}

// ask returns what PostgreSQL makes of each statement, some at a time.
func (o *oracle) ask(statements []string, each func(sql string, a *oracleAnswer)) {
	o.t.Helper()
	for batch := range slices.Chunk(statements, 64) {
		sent := make(chan error, 1)
		go func() { sent <- o.send(batch) }()
		for _, sql := range batch {
			var a oracleAnswer
			if err := o.out.Decode(&a); err != nil {
				o.t.Fatalf("%q: %v", sql, err)
			}
			each(sql, &a)
		}
		if err := <-sent; err != nil {
			o.t.Fatal(err)
		}
	}
}

func (o *oracle) send(batch []string) error {
	for _, sql := range batch {
		if err := binary.Write(o.in, binary.BigEndian, uint32(len(sql))); err != nil {
			return err
		}
		if _, err := io.WriteString(o.in, sql); err != nil {
			return err
		}
	}
	return o.in.Flush()
}

// seen are statements that were collected once, in order.
type seen struct {
	known map[string]bool
	all   []string
}

// add takes what can stand in a message.
func (s *seen) add(sql string) {
	if strings.ContainsRune(sql, 0) || !utf8.ValidString(sql) || s.known[sql] || len(sql) > 100_000 {
		return
	}
	s.known[sql] = true
	s.all = append(s.all, sql)
}

// placeholders are what statements in the source of tests hold in the place of values.
var placeholders = regexp.MustCompile(`%(\[\d+\])?[sdqvt]`)

// oracleCorpus is every string constant of the project's tests, every file with SQL, whole and by
// statement, and the files under ORACLE_SQL.
func oracleCorpus(t *testing.T) []string {
	t.Helper()
	s := &seen{known: map[string]bool{}}
	for _, f := range fragments {
		s.add(f)
	}
	roots := append([]string{".."}, filepath.SplitList(os.Getenv("ORACLE_SQL"))...)
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			switch name := e.Name(); {
			case e.IsDir() && (name == "node_modules" || name == ".git" || name == ".cache"):
				return filepath.SkipDir
			case strings.HasSuffix(name, "_test.go"):
				return addStrings(s, path)
			case strings.HasSuffix(name, ".sql"):
				return addFile(s, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s.all
}

// addStrings adds the string constants of a Go file.
func addStrings(s *seen, path string) error {
	f, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == gotoken.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				s.add(text)
				s.add(placeholders.ReplaceAllString(text, "1"))
			}
		}
		return true
	})
	return nil
}

// addFile adds a file of SQL: whole, by paragraph, and by lines that end in a semicolon.
func addFile(s *seen, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(b)
	s.add(text)
	for _, paragraph := range strings.Split(text, "\n\n") {
		s.add(paragraph)
	}
	var statement strings.Builder
	for line := range strings.Lines(text) {
		if statement.Len() == 0 && strings.HasPrefix(line, `\`) {
			continue // a command of psql
		}
		statement.WriteString(line)
		if strings.HasSuffix(strings.TrimSpace(line), ";") {
			s.add(statement.String())
			statement.Reset()
		}
	}
	return nil
}

// mutants makes n statements out of those of the corpus: cut, spliced, and with fragments put in.
func mutants(corpus []string, n int) []string {
	r := rand.New(rand.NewPCG(5, 6))
	short := slices.DeleteFunc(slices.Clone(corpus), func(sql string) bool { return len(sql) > 400 })
	s := &seen{known: map[string]bool{}}
	for len(s.all) < n {
		b := short[r.IntN(len(short))]
		for range 1 + r.IntN(3) {
			switch i := r.IntN(len(b) + 1); r.IntN(6) {
			case 0:
				b = b[:i]
			case 1:
				b = b[i:]
			case 2:
				other := short[r.IntN(len(short))]
				b = b[:i] + other[r.IntN(len(other)+1):]
			case 3:
				k := i + r.IntN(len(b)-i+1)
				b = b[:i] + b[k:]
			default:
				b = b[:i] + fragments[r.IntN(len(fragments))] + b[i:]
			}
		}
		s.add(b)
		s.known[b] = true
		if len(s.known) > 20*n {
			break
		}
	}
	return s.all
}
