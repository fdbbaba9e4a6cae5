// Package tenantgate_test guards the shape of the repository: what may import
// what, and what stands in one place only.
package tenantgate_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the import path of the repository.
const module = "github.com/tenantgate/tenantgate"

// below lists for every package of the module what it may import of the others.
// A package that is not listed has no place in the house.
var below = map[string][]string{
	"":                  {}, // this test
	"audit":             {},
	"auth":              {},
	"wire":              {},
	"session":           {"audit", "auth", "wire"},
	"proxy":             {"audit", "auth", "session", "wire"},
	"cmd/tenantgate":    {"audit", "auth", "proxy", "session", "wire"},
	"integration":       {}, // black box: it knows the binary only
	"integration/bench": {}, // the same
}

// bannedNames are names that say nothing about what a package is for.
var bannedNames = []string{"internal", "pkg", "util", "utils", "common", "types", "helpers", "misc", "base", "lib"}

// goPackage is what the tests read of `go list`.
type goPackage struct {
	ImportPath, Dir, Doc               string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string

	name string // of the package inside the module
}

// packages lists every package of the module.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.name = strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		found = append(found, p)
	}
	if len(found) < 4 {
		t.Fatalf("go list knows %d packages only", len(found))
	}
	return found
}

func TestImportsGoDownOnly(t *testing.T) {
	for _, p := range packages(t) {
		allowed, ok := below[p.name]
		if !ok {
			t.Errorf("%s has no floor: give it a place in `below`, or its code one in another package", p.name)
			continue
		}
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			name, ours := strings.CutPrefix(path, module+"/")
			if ours && name != p.name && !slices.Contains(allowed, name) {
				t.Errorf("%s imports %s, which is not below it", p.name, name)
			}
		}
	}
}

func TestPackagesAreNamedForWhatTheyHold(t *testing.T) {
	for _, p := range packages(t) {
		for part := range strings.SplitSeq(p.name, "/") {
			if slices.Contains(bannedNames, part) {
				t.Errorf("%s: %q says nothing about what is in it", p.name, part)
			}
		}
	}
}

func TestEveryPackageHasADocComment(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.name)
		}
	}
}

func TestOnlyTheCommandReadsYAML(t *testing.T) {
	for _, p := range packages(t) {
		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if strings.Contains(path, "yaml") && p.name != "cmd/tenantgate" {
				t.Errorf("%s imports %s", p.name, path)
			}
		}
	}
}

func TestOneFileTakesConnectionsFromPgconn(t *testing.T) {
	hijacking := map[string]bool{}
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Error(err)
				continue
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Hijack" {
					hijacking[p.name+"/"+name] = true
				}
				return true
			})
		}
	}
	if len(hijacking) != 1 || !hijacking["session/backend.go"] {
		t.Errorf("Hijack is called in %v, want session/backend.go alone", hijacking)
	}
}

func TestModuleReplacesNothing(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); word == "replace" || word == "tool" {
			t.Errorf("go.mod has a %s line: %s", word, line)
		}
	}
}
