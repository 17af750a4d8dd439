package schema

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
)

// A Props is a parsed property string.
type Props map[string]string

// Parse reads a property string; path is how its errors name it.
// PVE: JSONSchema parse_property_string.
func (sc *Schema) Parse(text, path string) (Props, error) {
	out := make(Props)
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
		if p := sc.Props[k]; p != nil && p.Kind == "boolean" {
			switch strings.ToLower(v) {
			case "1", "on", "yes", "true":
				v = "1"
			case "0", "off", "no", "false":
				v = "0"
			}
		}
		out[k] = v
	}
	errs := sc.Check(out)
	if len(errs) > 0 {
		lines := make([]string, 0, len(errs))
		for _, k := range slices.Sorted(maps.Keys(errs)) {
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

// Text writes a property string as PVE does: the default key first and bare,
// then what must be there sorted, then the rest sorted.
func (sc *Schema) Text(p Props) string {
	var fields []string
	if v, ok := p[sc.primary]; ok && sc.primary != "" {
		fields = append(fields, v)
	}
	var need, rest []string
	for k := range p {
		switch def := sc.Props[k]; {
		case k == sc.primary:
		case def != nil && def.Need:
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
