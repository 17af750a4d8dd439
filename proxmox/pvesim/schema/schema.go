// Package schema checks parameters and parses property strings as PVE's JSON schema does, with its
// words for what is wrong. A schema is text, one property a line. It is pure.
package schema

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
)

// A property is one parameter of a method, or one key of a property string.
// PVE: JSONSchema check_prop.
type property struct {
	name     string
	Kind     string // string, integer, number, boolean, array
	Need     bool
	Enum     []string
	Min, Max *float64
	Short    int // least length
	Long     int // greatest length, 0 for any
	pattern  *regexp.Regexp
	format   func(string) error
	Sub      *Schema // a property string
	requires string
	count    int // keyN, for N below it
	list     bool
}

// A Schema is the parameters of a method.
type Schema struct {
	Props   map[string]*property
	primary string // of a property string: the key whose name may be left out
}

// New reads a schema in a notation of our own, one property a line:
//
//	name[count]! kind min..max enum=a,b len=MIN..MAX re=… format=NAME requires=KEY
//
// where ! means that it must be given and, in a property string, * marks the
// key whose name may be left out.
func New(text string, with ...*Schema) *Schema {
	sc := &Schema{Props: make(map[string]*property)}
	for _, other := range with {
		for k, p := range other.Props {
			sc.Props[k] = p
		}
	}
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		p := &property{name: f[0], Kind: "string"}
		name, star := strings.CutSuffix(p.name, "*")
		p.name = name
		if strings.HasSuffix(p.name, "!") {
			p.name, p.Need = strings.TrimSuffix(p.name, "!"), true
		}
		if name, rest, ok := strings.Cut(p.name, "["); ok {
			p.name = name
			p.count, _ = strconv.Atoi(strings.TrimSuffix(rest, "]"))
		}
		if star {
			sc.primary = p.name
		}
		for _, word := range f[1:] {
			p.read(word)
		}
		sc.Props[p.name] = p
	}
	return sc
}

func (p *property) read(word string) {
	key, val, ok := strings.Cut(word, "=")
	switch {
	case word == "integer" || word == "number" || word == "boolean" || word == "string" || word == "array":
		p.Kind = word
	case word == "list":
		p.list = true
	case ok && key == "enum":
		p.Enum = strings.Split(val, ",")
	case ok && key == "re":
		p.pattern = regexp.MustCompile("^(?:" + val + ")$")
	case ok && key == "requires":
		p.requires = val
	case ok && key == "format":
		p.format = func(v string) error { return formats[val](v) }
	case ok && key == "sub":
		p.Sub = propertyStrings[val]
		if p.Sub == nil {
			panic("pvesim: schema: no property string " + val)
		}
	case ok && key == "len":
		lo, hi, _ := strings.Cut(val, "..")
		p.Short, _ = strconv.Atoi(lo)
		p.Long, _ = strconv.Atoi(hi)
	case strings.Contains(word, ".."):
		lo, hi, _ := strings.Cut(word, "..")
		if n, err := strconv.ParseFloat(lo, 64); err == nil {
			p.Min = &n
		}
		if n, err := strconv.ParseFloat(hi, 64); err == nil {
			p.Max = &n
		}
	default:
		panic("pvesim: schema: " + word)
	}
}

// Find is the property of a key; net0 is found as net.
func (sc *Schema) Find(key string) *property {
	if p := sc.Props[key]; p != nil && p.count == 0 {
		return p
	}
	i := len(key)
	for i > 0 && key[i-1] >= '0' && key[i-1] <= '9' {
		i--
	}
	if i == len(key) || i == 0 {
		return nil
	}
	p := sc.Props[key[:i]]
	n, err := strconv.Atoi(key[i:])
	if p == nil || p.count == 0 || err != nil || n >= p.count || len(key)-i > 1 && key[i] == '0' {
		return nil
	}
	return p
}

const (
	notDefined = "property is not defined in schema and the schema does not allow additional properties"
	// Missing is what is wrong with a parameter that must be given.
	Missing = "property is missing and it is not optional"
)

// Check validates parameters and rewrites lists; the errors are by key.
func (sc *Schema) Check(params map[string]string) map[string]string {
	var errs map[string]string
	add := func(key, text string) {
		if errs == nil {
			errs = make(map[string]string)
		}
		if errs[key] == "" {
			errs[key] = text
		}
	}
	for key, v := range params {
		p := sc.Find(key)
		if p == nil {
			add(key, notDefined)
			continue
		}
		if v == Null { // passes, and reaches the method
			continue
		}
		if strings.IndexByte(v, 0) >= 0 && p.list {
			v = strings.ReplaceAll(v, "\x00", ",")
			params[key] = v
		}
		if text := p.Check(key, v); text != "" {
			add(key, text)
		}
		if p.requires != "" {
			if _, ok := params[p.requires]; !ok {
				add(p.requires, "missing property required by '"+key+"'")
			}
		}
	}
	for key, p := range sc.Props {
		if !p.Need {
			continue
		}
		if _, ok := params[key]; !ok {
			add(key, Missing)
		}
	}
	return errs
}

// Check says what is wrong with a value; "" is nothing.
func (p *property) Check(key, v string) string {
	switch p.Kind {
	case "integer":
		if !notation.IsInteger(v) {
			return "type check ('integer') failed - got '" + v + "'"
		}
	case "number":
		if !notation.IsNumber(v) {
			return "type check ('number') failed - got '" + v + "'"
		}
	case "boolean":
		if v != "0" && v != "1" {
			return "type check ('boolean') failed - got '" + v + "'"
		}
	}
	if p.Sub != nil {
		if _, err := p.Sub.Parse(v, key); err != nil {
			return "invalid format - " + err.Error() + "\n"
		}
	}
	if p.format != nil {
		if err := p.format(v); err != nil {
			text := err.Error()
			if rest, ok := strings.CutPrefix(text, "format error\n"); ok { // a property string of its own
				text = "format error\n" + key + "." + strings.ReplaceAll(rest, "\n", "\n"+key+".")
			}
			return "invalid format - " + text + "\n"
		}
	}
	if p.Long > 0 && len([]rune(v)) > p.Long {
		return fmt.Sprintf("value may only be %d characters long", p.Long)
	}
	if len([]rune(v)) < p.Short {
		return fmt.Sprintf("value must be at least %d characters long", p.Short)
	}
	if p.Max != nil || p.Min != nil {
		n, _ := strconv.ParseFloat(v, 64)
		if p.Max != nil && n > *p.Max {
			return "value must have a maximum value of " + strconv.FormatFloat(*p.Max, 'f', -1, 64)
		}
		if p.Min != nil && n < *p.Min {
			return "value must have a minimum value of " + strconv.FormatFloat(*p.Min, 'f', -1, 64)
		}
	}
	if p.Enum != nil {
		for _, e := range p.Enum {
			if e == v {
				return ""
			}
		}
		return "value '" + v + "' does not have a value in the enumeration '" + strings.Join(p.Enum, ", ") + "'"
	}
	if p.pattern != nil && !p.pattern.MatchString(v) {
		return "value does not match the regex pattern"
	}
	return ""
}

// Null is a JSON null among the parameters.
const Null = "\x00null"
