package wire

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestOptionsAreReadAsABackendReadsThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		options string
		want    []Param
	}{
		{"", nil},
		{" \t\r\n\v\f", nil},
		{"-c a=1", []Param{{"a", "1"}}},
		{"-ca=1", []Param{{"a", "1"}}},
		{"--a=1", []Param{{"a", "1"}}},
		{"  -c \t a=1 \n --b=2  -cc=3 ", []Param{{"a", "1"}, {"b", "2"}, {"c", "3"}}},
		{"--statement-timeout=5s", []Param{{"statement_timeout", "5s"}}},
		{"-c statement-timeout=5-s", []Param{{"statement_timeout", "5-s"}}},
		{"-c a=", []Param{{"a", ""}}},
		{"-c a=b=c", []Param{{"a", "b=c"}}},
		{`-c search_path=a\ b,c`, []Param{{"search_path", "a b,c"}}},
		{`-c a=\\`, []Param{{"a", `\`}}},
		{`-c a=x\`, []Param{{"a", "x"}}},
		{`-\c a\=1`, []Param{{"a", "1"}}},
		{"-c a=1 -c a=2", []Param{{"a", "1"}, {"a", "2"}}},
		{"-c --a=1", []Param{{"__a", "1"}}},
		{"-c app.current_tenant_id=x", []Param{{"app.current_tenant_id", "x"}}},
	} {
		if got, err := ParseOptions(c.options); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q gives %q, %v; want %q", c.options, got, err, c.want)
		}
	}
}

func TestOptionsThatAreNoSettingAreRefusedByName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ options, name string }{
		{"-e", `"-e"`},
		{"-c a=1 -d 5", `"-d"`},
		{"-d5", `"-d"`},
		{"-fs", `"-f"`},
		{"-c=", `"-c"`},
		{"-c=x", `"-c"`},
		{"-c", `"-c"`},
		{"-c ", `"-c"`},
		{"-c x", `"-c"`},
		{"-cx", `"-c"`},
		{`-c \`, `"-c"`},
		{"--", `"--"`},
		{"--=x", `"--"`},
		{"--a", `"--a"`},
		{"--" + strings.Repeat("a", 1000), `"--` + strings.Repeat("a", 62) + `"`},
		{"--a\x1b[2J", `"--a\x1b[2J"`},
		{"-", `"-"`},
		{`\`, `""`},
		{"token", `""`},
		{"endpoint=token", `""`},
	} {
		got, err := ParseOptions(c.options)
		var o *OptionError
		if !errors.As(err, &o) || o.Switch != c.name || !strings.Contains(err.Error(), c.name) || got != nil {
			t.Errorf("%q gives %q, %v; want an error naming %s", c.options, got, err, c.name)
		}
	}
}

// splitOpts is pg_split_opts (utils/init/postinit.c), statement by statement.
func splitOpts(s string) (argv []string) {
	space := func(c byte) bool { return strings.IndexByte(" \t\n\v\f\r", c) >= 0 }
	for i := 0; i < len(s); {
		var arg []byte
		escaped := false
		for i < len(s) && space(s[i]) {
			i++
		}
		if i == len(s) {
			break
		}
		for i < len(s) {
			if space(s[i]) && !escaped {
				break
			}
			if !escaped && s[i] == '\\' {
				escaped = true
			} else {
				escaped = false
				arg = append(arg, s[i])
			}
			i++
		}
		argv = append(argv, string(arg))
	}
	return argv
}

func FuzzParseOptions(f *testing.F) {
	for _, s := range []string{"-c a=1", `-c search_path=a\ b --x-y=z`, "-c=", "-c", "--", `\`, `-c a=\`, "-e -d 5", "-c a=1 -ca=2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var argv []string
		for rest := s; ; {
			arg, after, ok := nextArgument(rest)
			if !ok {
				break
			}
			if len(after) >= len(rest) {
				t.Fatalf("no progress at %q", rest)
			}
			argv, rest = append(argv, arg), after
		}
		if want := splitOpts(s); !reflect.DeepEqual(argv, want) {
			t.Fatalf("%q splits into %q, PostgreSQL has %q", s, argv, want)
		}
		params, err := ParseOptions(s)
		if err != nil {
			if params != nil {
				t.Fatalf("%q beside the error %v", params, err)
			}
			return
		}
		for _, p := range params {
			if p.Name == "" || strings.ContainsAny(p.Name, "-=") {
				t.Fatalf("%q sets %q", s, p.Name)
			}
		}
	})
}
