package audit

import (
	"fmt"
	"strings"
)

// Ignore is one finding, or a pattern of findings, that the operator accepts.
type Ignore struct {
	Rule   string // an id, * for every rule, or proof for what the proof finds
	Object string // as findings name it, with or without the part; * stands for any text
	Reason string
	Source string // where it was said: a flag, or file and line
}

// proofRule stands in the place of a rule for what -prove finds; * does not mean
// it.
const proofRule = "proof"

// String returns the line without its reason.
func (i Ignore) String() string { return i.Rule + ":" + i.Object }

// ParseIgnore reads RULE:OBJECT, such as TG014:public.countries.
func ParseIgnore(text, source string) (Ignore, error) {
	id, object, ok := strings.Cut(strings.TrimSpace(text), ":")
	object = strings.TrimSpace(object)
	switch {
	case !ok || object == "":
		return Ignore{}, fmt.Errorf("%s: want RULE:OBJECT, such as TG014:public.countries, and got %q", source, text)
	case id != "*" && id != proofRule && RuleByID(id) == nil:
		return Ignore{}, fmt.Errorf("%s: there is no rule %s", source, id)
	}
	return Ignore{Rule: id, Object: object, Source: source}, nil
}

// ParseIgnoreFile reads a file of lines `RULE:OBJECT # reason`. A line without a
// reason is an error: whoever reads it later must be able to judge it.
func ParseIgnoreFile(text, name string) ([]Ignore, error) {
	var all []Ignore
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		source := fmt.Sprintf("%s:%d", name, n)
		text, reason, _ := strings.Cut(line, " #")
		i, err := ParseIgnore(text, source)
		if err != nil {
			return nil, err
		}
		if i.Reason = strings.TrimSpace(reason); i.Reason == "" {
			return nil, fmt.Errorf("%s: say why, behind #: %s # reason", source, text)
		}
		all = append(all, i)
	}
	return all, nil
}

// fits tells whether the finding is meant. Without a part every part is.
func (i Ignore) fits(f *Finding) bool {
	return (i.Rule == "*" || i.Rule == f.Rule.ID) && (glob(i.Object, f.Name()) || glob(i.Object, f.Object))
}

// glob tells whether text fits a pattern in which * stands for any text.
func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		at := strings.Index(text, p)
		if at < 0 {
			return false
		}
		text = text[at+len(p):]
	}
	return strings.HasSuffix(text, parts[len(parts)-1])
}
