package main

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/tenantgate/tenantgate/auth"
)

// decoder fills the configuration from a parsed document. It is stricter than
// the YAML library and knows where it is: every mistake is reported, each with
// its key path, and none of them ends the walk.
type decoder struct {
	*problems
	dir    string                      // that relative files start from
	getenv func(string) (string, bool) // looks up ${NAME}
}

// shortestHidden is the length of the shortest value of a variable that is kept
// out of reports: replacing shorter ones would garble them.
const shortestHidden = 4

// environmentValue is a scalar that stands for an environment variable.
var environmentValue = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// decode fills into, which holds the defaults already, from node.
func (d *decoder) decode(path string, node *yaml.Node, into reflect.Value) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Style&yaml.TaggedStyle != 0 {
		d.addf(path, "the tag %s is not supported; remove it", node.Tag)
		return
	}
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" {
		return // a key without a value keeps its default
	}
	switch into.Kind() {
	case reflect.Struct:
		d.decodeStruct(path, node, into)
	case reflect.Map:
		d.decodeMap(path, node, into)
	case reflect.Slice:
		d.decodeSlice(path, node, into)
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.decode(path, node, into.Elem())
	default:
		d.decodeScalar(path, node, into)
	}
}

// decodeStruct fills a section whose keys are known.
func (d *decoder) decodeStruct(path string, node *yaml.Node, into reflect.Value) {
	fields := map[string]reflect.Value{}
	var names []string
	for i := range into.NumField() {
		if name := keyName(into.Type().Field(i)); name != "" {
			fields[name] = into.Field(i)
			names = append(names, name)
		}
	}
	d.eachPair(path, node, func(at, name string, value *yaml.Node) {
		if field, ok := fields[name]; ok {
			d.decode(at, value, field)
			return
		}
		switch section, near := sectionOf(name), closest(name, names); {
		case near != "":
			d.addf(at, "unknown key; did you mean %s?", near)
		case section != "":
			d.addf(at, "unknown key here; it belongs under %s", section)
		default:
			d.addf(at, "unknown key; the keys here are %s", strings.Join(names, ", "))
		}
	})
}

// decodeMap fills a section whose keys the user chooses.
func (d *decoder) decodeMap(path string, node *yaml.Node, into reflect.Value) {
	into.Set(reflect.MakeMap(into.Type()))
	d.eachPair(path, node, func(at, name string, value *yaml.Node) {
		entry := reflect.New(into.Type().Elem())
		if e, ok := entry.Interface().(*databaseConfig); ok {
			e.setDefaults()
		}
		d.decode(at, value, entry.Elem())
		into.SetMapIndex(reflect.ValueOf(name), entry.Elem())
	})
}

// decodeSlice fills a list.
func (d *decoder) decodeSlice(path string, node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.SequenceNode {
		d.addf(path, "want a list, one entry a line beginning with a dash")
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.lines[at] = item.Line
		d.decode(at, item, into.Index(i))
	}
}

// eachPair calls do for every key of a mapping, and reports keys that are
// repeated or no plain text.
func (d *decoder) eachPair(path string, node *yaml.Node, do func(at, name string, value *yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		d.addf(path, "want a section of keys and values")
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		switch first, repeated := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.found = append(d.found, problem{path, key.Line, "a key must be plain text"})
			continue
		case key.ShortTag() == "!!merge":
			d.found = append(d.found, problem{path, key.Line, "merge keys (<<) are not supported; write the keys out"})
			continue
		case repeated:
			d.found = append(d.found, problem{at, key.Line, fmt.Sprintf("given twice, first on line %d; keep one", first)})
			continue
		}
		seen[key.Value] = key.Line
		d.lines[at] = key.Line
		do(at, key.Value, value)
	}
}

// decodeScalar fills one value, from the environment when it is ${NAME}.
func (d *decoder) decodeScalar(path string, node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.ScalarNode {
		d.addf(path, "want a single value")
		return
	}
	text, shown := node.Value, strconv.Quote(node.Value)
	if name := environmentValue.FindStringSubmatch(text); name != nil {
		if name[0] != text {
			d.addf(path, "%s stands only for a whole value, not for a part of one; put the whole value into the variable or a file", name[0])
			return
		}
		value, ok := d.getenv(name[1])
		if !ok {
			d.addf(path, "the environment variable %s is not set; set it or remove the key", name[1])
			return
		}
		if len(value) >= shortestHidden {
			d.hidden[value] = text
		}
		text, shown = value, "the value of "+text
	}
	if want := setScalar(into, text, d.dir); want != "" {
		d.addf(path, "%s is not valid; %s", shown, want)
	}
}

// setScalar stores text in a field of any scalar type that config uses. It
// returns what it wants to see when text is not that.
func setScalar(into reflect.Value, text, dir string) (want string) {
	switch v := into.Addr().Interface().(type) {
	case *string:
		*v = text
	case *dsnText:
		*v = dsnText(text)
	case *urlText:
		*v = urlText(text)
	case *auth.Secret:
		*v = auth.Secret(text)
	case *filePath:
		*v = filePath(text).in(dir)
	case *bool:
		if text != "true" && text != "false" {
			return "want true or false"
		}
		*v = text == "true"
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return "want a whole number"
		}
		*v = n
	case *size:
		n, err := parseSize(text)
		if err != nil {
			return err.Error()
		}
		*v = n
	case *time.Duration:
		n, err := time.ParseDuration(text)
		if err != nil {
			return "want a duration such as 30s, 5m or 1h"
		}
		*v = n
	default:
		panic(fmt.Sprintf("config has a field of type %s", into.Type()))
	}
	return ""
}

// keyName returns the key that a field of config stands for, or "" for a field
// that is not in the file.
func keyName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
	return name
}

// sectionOf returns the path of the one section that has a key of this name,
// or "" when none or several have.
func sectionOf(name string) string {
	var found []string
	var walk func(path string, t reflect.Type)
	walk = func(path string, t reflect.Type) {
		if t == reflect.TypeFor[tenantLimits]() {
			return // its limits are first of all those of limits and timeouts
		}
		for i := range t.NumField() {
			key := keyName(t.Field(i))
			if key == name && path != "" {
				found = append(found, path)
			}
			at := strings.TrimPrefix(path+"."+key, ".")
			switch ft := t.Field(i).Type; {
			case ft.Kind() == reflect.Struct:
				walk(at, ft)
			case ft.Kind() == reflect.Map && ft.Elem().Kind() == reflect.Struct:
				walk(at+".<name>", ft.Elem())
			case ft.Kind() == reflect.Slice:
				walk(at+"[]", ft.Elem())
			}
		}
	}
	walk("", reflect.TypeFor[config]())
	if found = slices.Compact(found); len(found) == 1 {
		return found[0]
	}
	return ""
}
