package session

import (
	"fmt"
	"strings"

	"github.com/tenantgate/tenantgate/wire"
)

// Startup is what a client asked for in its startup packet, read by the rules
// of "StartupMessage" in the PostgreSQL documentation.
type Startup struct {
	User     string
	Database string // the user's name when the packet has none
	// Settings are the run-time parameters in the order PostgreSQL applies them:
	// those of `options` first, then the packet's own.
	Settings []wire.Param
}

// ParamError refuses a startup parameter by name.
type ParamError struct {
	Name string
	Code string // SQLSTATE
	Text string
}

func (e *ParamError) Error() string { return e.Text }

// reservedParams change who the session is or how row security and the proxy's
// own statements work: no client chooses them at startup.
var reservedParams = map[string]bool{
	"role": true, "session_authorization": true, "session_replication_role": true,
	"is_superuser": true, "row_security": true, "session_preload_libraries": true,
	"local_preload_libraries": true,
}

// ParseStartup sorts the parameters of a startup packet. Settings of the context
// and other reserved ones are refused by name, and so is replication: nothing is
// dropped silently, because the client would believe that it is in force.
func ParseStartup(params []wire.Param, spec *ContextSpec) (Startup, error) {
	var s Startup
	var own []wire.Param
	for _, p := range params {
		switch {
		case p.Name == "user":
			s.User = p.Value
		case p.Name == "database":
			s.Database = p.Value
		case p.Name == "replication":
			if !isFalse(p.Value) {
				return s, &ParamError{Name: p.Name, Code: "0A000", Text: "replication connections are not supported through tenantgate"}
			}
		case p.Name == "options":
			opts, err := wire.ParseOptions(p.Value)
			if err != nil {
				return s, &ParamError{Name: "options", Code: "42601", Text: err.Error()}
			}
			s.Settings = append(s.Settings, opts...)
		case strings.HasPrefix(p.Name, "_pq_."):
			// Protocol extensions are negotiated, not set.
		default:
			own = append(own, p)
		}
	}
	if s.Settings == nil {
		s.Settings = own
	} else {
		s.Settings = append(s.Settings, own...)
	}
	if s.User == "" {
		return s, &ParamError{Name: "user", Code: "28000", Text: "no PostgreSQL user name specified in startup packet"}
	}
	if s.Database == "" {
		s.Database = s.User
	}
	return s, checkSettings(s.Settings, spec)
}

func checkSettings(settings []wire.Param, spec *ContextSpec) error {
	for _, p := range settings {
		name := strings.ToLower(p.Name)
		switch {
		case Reserved(name, spec):
			return &ParamError{Name: p.Name, Code: "42501", Text: fmt.Sprintf("startup parameter %q is reserved", p.Name)}
		case name == "standard_conforming_strings" && isFalse(p.Value):
			return &ParamError{Name: p.Name, Code: "42501", Text: "standard_conforming_strings must stay on"}
		case name == "client_encoding" && unsafeEncoding(p.Value):
			return &ParamError{Name: p.Name, Code: "22023", Text: fmt.Sprintf("client_encoding %q is not supported: a byte inside one of its characters can be an ASCII character", p.Value)}
		}
	}
	return nil
}

// Reserved says whether a setting (lower case) belongs to the proxy: the
// context, the seal, and what changes the identity of the session.
func Reserved(name string, spec *ContextSpec) bool {
	if reservedParams[name] || strings.HasPrefix(name, "tenantgate.") {
		return true
	}
	if name == strings.ToLower(spec.TenantSetting) {
		return true
	}
	for i := range spec.Settings {
		if name == strings.ToLower(spec.Settings[i].Name) {
			return true
		}
	}
	return false
}

// isFalse reads a boolean as PostgreSQL's parse_bool does, as far as false goes:
// unique prefixes of false, no and off, and 0.
func isFalse(v string) bool {
	v = strings.ToLower(v)
	return v == "0" || v == "of" || v == "off" || v != "" && (strings.HasPrefix("false", v) || strings.HasPrefix("no", v))
}

// unsafeEncoding names the client encodings in which a byte below 0x80 may be
// part of a character: a backslash or a quote that is none. PostgreSQL converts
// before it reads a statement, so no one else can read it the same way. Names
// are compared as PostgreSQL does, by letters and digits alone.
func unsafeEncoding(name string) bool {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		}
	}
	switch b.String() {
	case "sjis", "shiftjis", "mskanji", "win932", "windows932", "shiftjis2004", "sjis2004",
		"big5", "win950", "windows950", "gbk", "win936", "windows936", "uhc", "win949", "windows949",
		"gb18030", "johab":
		return true
	}
	return false
}
