package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/proxy"
)

// loaded is a configuration that passed every check. Only load makes one.
type loaded struct {
	file     *config // as written, over the defaults; files by their absolute path
	verifier *auth.Verifier
	server   proxy.Config
	reached  []string // databases that answered when they were examined
}

// load reads the configuration file and checks all of it. Its error holds
// every mistake found, a line each; none of them shows a secret. What the
// configuration makes the program log goes to logs.
func load(path string, logs io.Writer) (_ *loaded, err error) {
	if path == "" {
		return nil, errors.New("no configuration file: name one with -config FILE")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	p := &problems{file: path, lines: map[string]int{}, hidden: map[string]string{}}
	c, err := parse(p, text, filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return c.check(p, logs)
}

// parse reads text strictly. What is wrong with single keys goes to p; the
// error is for text that cannot be read at all.
func parse(p *problems, text []byte, dir string) (c *config, err error) {
	// The YAML library panics on some inputs; a reload must survive them.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: this is not YAML that can be read: %v", p.file, r)
		}
	}()
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("%s: %w", p.file, err)
	}
	var document, second yaml.Node
	source := yaml.NewDecoder(bytes.NewReader(text))
	switch err := source.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: the file is empty; begin from config.example.yaml", p.file)
	case err != nil:
		hint := ""
		if bareVariable.Match(text) {
			hint = `; between { and } write a variable in quotes: "${NAME}"`
		}
		return nil, fmt.Errorf("%s: %s%s", p.file, strings.TrimPrefix(err.Error(), "yaml: "), hint)
	}
	if root := document.Content[0]; root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, fmt.Errorf("%s: the file is empty; begin from config.example.yaml", p.file)
	}
	if err := source.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: a second document begins behind `---`; only one is allowed", p.file)
	}
	c = defaults()
	d := &decoder{problems: p, dir: dir, getenv: environment}
	d.decode("", document.Content[0], reflect.ValueOf(c).Elem())
	return c, nil
}

// bareVariable fits ${NAME} without quotes inside of {…}, which YAML reads as one
// more mapping.
var bareVariable = regexp.MustCompile(`[{,][^}\n]*:[ \t]*\$\{`)

// environment looks up a variable as it was when the program started.
func environment(name string) (string, bool) {
	if value, ok := forgotten[name]; ok {
		return value, true
	}
	return os.LookupEnv(name)
}

// forgotten holds what forgetLibpqEnvironment took out of the environment.
var forgotten = map[string]string{}

// forgetLibpqEnvironment takes libpq's variables out of the environment, so
// that a connection string means the same wherever the program is started:
// pgconn would fill in what the string leaves out, a password or a weaker
// sslmode included. They remain visible to ${NAME}.
func forgetLibpqEnvironment() error {
	for _, name := range libpqEnvironment {
		if value, ok := os.LookupEnv(name); ok {
			forgotten[name] = value
			if err := os.Unsetenv(name); err != nil {
				return fmt.Errorf("clearing %s: %w", name, err)
			}
		}
	}
	return nil
}

// libpqEnvironment are the variables that pgconn.ParseConfig reads.
var libpqEnvironment = []string{
	"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGAPPNAME",
	"PGCONNECT_TIMEOUT", "PGSSLMODE", "PGSSLKEY", "PGSSLCERT", "PGSSLCERTMODE", "PGSSLSNI",
	"PGSSLROOTCERT", "PGSSLPASSWORD", "PGSSLNEGOTIATION", "PGTARGETSESSIONATTRS", "PGSERVICE",
	"PGSERVICEFILE", "PGTZ", "PGOPTIONS", "PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION",
	"PGCHANNELBINDING", "PGREQUIREAUTH",
}

// logger returns the logger that the configuration asks for. An unknown level
// or format counts as the default: check reports it.
func (c *config) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err == nil {
		options.Level = level
	}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
