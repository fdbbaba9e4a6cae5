package wire

import (
	"strconv"
	"strings"
)

// maxSwitchText bounds how much of a refused switch its error repeats, in bytes.
const maxSwitchText = 64

// OptionError reports a command-line switch in the startup parameter "options" that is not a setting.
type OptionError struct {
	// Switch is what was refused, quoted: a short switch as its letter, a long one without its value and
	// cut to 64 bytes, and "" for an argument that is no switch, which is not repeated because anything
	// may have been put there by mistake.
	Switch string
}

// Error names the switch in PostgreSQL's words.
func (e *OptionError) Error() string {
	return "invalid command-line argument for server process: " + e.Switch
}

// ParseOptions reads the startup parameter "options" as a backend does: s is split into arguments at
// unescaped white space (pg_split_opts), and each must set a setting, as -c name=value, -cname=value
// or --name=value, where a dash in the name stands for an underscore (ParseLongOption). A value may be
// empty. The order is kept and a name may come more than once; the last one wins in PostgreSQL, and a
// startup parameter of the same name wins over both.
//
// Every other switch or argument is an *OptionError: PostgreSQL takes some of them, but they are
// debugging aids or short names of settings, and what is not understood is refused.
func ParseOptions(s string) ([]Param, error) {
	var params []Param
	for {
		arg, rest, ok := nextArgument(s)
		if !ok {
			return params, nil
		}
		s = rest
		assignment, ok := strings.CutPrefix(arg, "--")
		switch {
		case ok:
		case arg == "-c":
			if assignment, s, ok = nextArgument(s); !ok {
				return nil, optionError(arg)
			}
		case strings.HasPrefix(arg, "-c"):
			assignment = arg[len("-c"):]
		default:
			return nil, optionError(arg)
		}
		name, value, ok := strings.Cut(assignment, "=")
		if !ok || name == "" {
			return nil, optionError(arg)
		}
		params = append(params, Param{Name: strings.ReplaceAll(name, "-", "_"), Value: value})
	}
}

// nextArgument cuts the first argument off s as pg_split_opts does: white space is what isspace takes
// in the C locale, a backslash takes the next byte as it is, and one at the very end says nothing. An
// argument may be empty; ok is false when there is none left.
func nextArgument(s string) (arg, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if s == "" {
		return "", "", false
	}
	var b strings.Builder
	escaped := false
	for i := range len(s) {
		c := s[i]
		switch {
		case escaped:
			escaped = false
			b.WriteByte(c)
		case c == '\\':
			escaped = true
		case c == ' ' || '\t' <= c && c <= '\r':
			return b.String(), s[i:], true
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", true
}

// optionError names the switch in arg.
func optionError(arg string) *OptionError {
	name, _, _ := strings.Cut(arg, "=")
	switch {
	case !strings.HasPrefix(name, "-"):
		name = ""
	case strings.HasPrefix(name, "--"):
		name = name[:min(len(name), maxSwitchText)]
	default:
		name = name[:min(len(name), len("-c"))]
	}
	return &OptionError{Switch: strconv.QuoteToASCII(name)}
}
