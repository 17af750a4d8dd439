package pvesim

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// A property is one parameter of a method, or one key of a property string.
// PVE: JSONSchema check_prop.
type property struct {
	name     string
	kind     string // string, integer, number, boolean, array
	need     bool
	enum     []string
	min, max *float64
	short    int // least length
	long     int // greatest length, 0 for any
	pattern  *regexp.Regexp
	format   func(string) error
	sub      *schema // a property string
	requires string
	count    int // keyN, for N below it
	list     bool
}

// A schema is the parameters of a method.
type schema struct {
	props   map[string]*property
	primary string // of a property string: the key whose name may be left out
}

// formats are the named formats that say why they refuse a value.
var formats map[string]func(string) error

// newSchema reads a schema in a notation of our own, one property a line:
//
//	name[count]! kind min..max enum=a,b len=MIN..MAX re=… format=NAME requires=KEY
//
// where ! means that it must be given and, in a property string, * marks the
// key whose name may be left out.
func newSchema(text string, with ...*schema) *schema {
	sc := &schema{props: make(map[string]*property)}
	for _, other := range with {
		for k, p := range other.props {
			sc.props[k] = p
		}
	}
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		p := &property{name: f[0], kind: "string"}
		name, star := strings.CutSuffix(p.name, "*")
		p.name = name
		if strings.HasSuffix(p.name, "!") {
			p.name, p.need = strings.TrimSuffix(p.name, "!"), true
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
		sc.props[p.name] = p
	}
	return sc
}

func (p *property) read(word string) {
	key, val, ok := strings.Cut(word, "=")
	switch {
	case word == "integer" || word == "number" || word == "boolean" || word == "string" || word == "array":
		p.kind = word
	case word == "list":
		p.list = true
	case ok && key == "enum":
		p.enum = strings.Split(val, ",")
	case ok && key == "re":
		p.pattern = regexp.MustCompile("^(?:" + val + ")$")
	case ok && key == "requires":
		p.requires = val
	case ok && key == "format":
		p.format = func(v string) error { return formats[val](v) }
	case ok && key == "sub":
		p.sub = propertyStrings[val]
		if p.sub == nil {
			panic("pvesim: schema: no property string " + val)
		}
	case ok && key == "len":
		lo, hi, _ := strings.Cut(val, "..")
		p.short, _ = strconv.Atoi(lo)
		p.long, _ = strconv.Atoi(hi)
	case strings.Contains(word, ".."):
		lo, hi, _ := strings.Cut(word, "..")
		if n, err := strconv.ParseFloat(lo, 64); err == nil {
			p.min = &n
		}
		if n, err := strconv.ParseFloat(hi, 64); err == nil {
			p.max = &n
		}
	default:
		panic("pvesim: schema: " + word)
	}
}

// find is the property of a key; net0 is found as net.
func (sc *schema) find(key string) *property {
	if p := sc.props[key]; p != nil && p.count == 0 {
		return p
	}
	i := len(key)
	for i > 0 && key[i-1] >= '0' && key[i-1] <= '9' {
		i--
	}
	if i == len(key) || i == 0 {
		return nil
	}
	p := sc.props[key[:i]]
	n, err := strconv.Atoi(key[i:])
	if p == nil || p.count == 0 || err != nil || n >= p.count || len(key)-i > 1 && key[i] == '0' {
		return nil
	}
	return p
}

const (
	notDefined = "property is not defined in schema and the schema does not allow additional properties"
	missing    = "property is missing and it is not optional"
)

// check validates parameters and rewrites lists; the errors are by key.
func (sc *schema) check(params map[string]string) map[string]string {
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
		p := sc.find(key)
		if p == nil {
			add(key, notDefined)
			continue
		}
		if v == null { // passes, and reaches the method
			continue
		}
		if strings.IndexByte(v, 0) >= 0 && p.list {
			v = strings.ReplaceAll(v, "\x00", ",")
			params[key] = v
		}
		if text := p.check(key, v); text != "" {
			add(key, text)
		}
		if p.requires != "" {
			if _, ok := params[p.requires]; !ok {
				add(p.requires, "missing property required by '"+key+"'")
			}
		}
	}
	for key, p := range sc.props {
		if !p.need {
			continue
		}
		if _, ok := params[key]; !ok {
			add(key, missing)
		}
	}
	return errs
}

// check says what is wrong with a value; "" is nothing.
func (p *property) check(key, v string) string {
	switch p.kind {
	case "integer":
		if !isInteger(v) {
			return "type check ('integer') failed - got '" + v + "'"
		}
	case "number":
		if !isNumber(v) {
			return "type check ('number') failed - got '" + v + "'"
		}
	case "boolean":
		if v != "0" && v != "1" {
			return "type check ('boolean') failed - got '" + v + "'"
		}
	}
	if p.sub != nil {
		if _, err := p.sub.parse(v, key); err != nil {
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
	if p.long > 0 && len([]rune(v)) > p.long {
		return fmt.Sprintf("value may only be %d characters long", p.long)
	}
	if len([]rune(v)) < p.short {
		return fmt.Sprintf("value must be at least %d characters long", p.short)
	}
	if p.max != nil || p.min != nil {
		n, _ := strconv.ParseFloat(v, 64)
		if p.max != nil && n > *p.max {
			return "value must have a maximum value of " + strconv.FormatFloat(*p.max, 'f', -1, 64)
		}
		if p.min != nil && n < *p.min {
			return "value must have a minimum value of " + strconv.FormatFloat(*p.min, 'f', -1, 64)
		}
	}
	if p.enum != nil {
		for _, e := range p.enum {
			if e == v {
				return ""
			}
		}
		return "value '" + v + "' does not have a value in the enumeration '" + strings.Join(p.enum, ", ") + "'"
	}
	if p.pattern != nil && !p.pattern.MatchString(v) {
		return "value does not match the regex pattern"
	}
	return ""
}

func isInteger(v string) bool {
	v = strings.TrimPrefix(v, "-")
	v = strings.TrimPrefix(v, "+")
	if v == "" || len(v) > 18 {
		return false
	}
	for i := 0; i < len(v); i++ {
		if v[i] < '0' || v[i] > '9' {
			return false
		}
	}
	return true
}

var numberRE = regexp.MustCompile(`^[+-]?(\d+(\.\d*)?|\.\d+)$`)

func isNumber(v string) bool { return numberRE.MatchString(v) }

// A props is a parsed property string.
type props map[string]string

// parse reads a property string; path is how its errors name it.
// PVE: JSONSchema parse_property_string.
func (sc *schema) parse(text, path string) (props, error) {
	out := make(props)
	for _, field := range strings.Split(text, ",") {
		if strings.TrimSpace(field) == "" {
			continue
		}
		k, v, ok := strings.Cut(field, "=")
		if !ok || sc.primary != "" && strings.HasPrefix(k, "/") {
			if sc.primary == "" {
				return nil, fmt.Errorf("value without key, but schema does not define a default key")
			}
			if _, twice := out[sc.primary]; twice {
				return nil, fmt.Errorf("duplicate key in comma-separated list property: %s", sc.primary)
			}
			out[sc.primary] = field
			continue
		}
		if _, twice := out[k]; twice {
			return nil, fmt.Errorf("duplicate key in comma-separated list property: %s", k)
		}
		if p := sc.props[k]; p != nil && p.kind == "boolean" {
			switch strings.ToLower(v) {
			case "1", "on", "yes", "true":
				v = "1"
			case "0", "off", "no", "false":
				v = "0"
			}
		}
		out[k] = v
	}
	errs := sc.check(out)
	if len(errs) > 0 {
		lines := make([]string, 0, len(errs))
		for _, k := range sortedKeys(errs) {
			name := k
			if path != "" {
				name = path + "." + k
			}
			lines = append(lines, name+": "+strings.TrimRight(errs[k], "\n"))
		}
		return nil, fmt.Errorf("format error\n%s", strings.Join(lines, "\n"))
	}
	return out, nil
}

// print writes a property string as PVE does: the default key first and bare,
// then what must be there sorted, then the rest sorted.
func (sc *schema) print(p props) string {
	var fields []string
	if v, ok := p[sc.primary]; ok && sc.primary != "" {
		fields = append(fields, v)
	}
	var need, rest []string
	for k := range p {
		switch def := sc.props[k]; {
		case k == sc.primary:
		case def != nil && def.need:
			need = append(need, k)
		default:
			rest = append(rest, k)
		}
	}
	sort.Strings(need)
	sort.Strings(rest)
	for _, k := range append(need, rest...) {
		fields = append(fields, k+"="+p[k])
	}
	return strings.Join(fields, ",")
}
