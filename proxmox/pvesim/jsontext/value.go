package jsontext

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Any writes a value of a world file.
func (d *Doc) Any(v any) {
	switch v := v.(type) {
	case map[string]any:
		d.Open()
		for _, k := range slices.Sorted(maps.Keys(v)) {
			d.Key(k)
			d.Any(v[k])
		}
		d.Close()
	case []any:
		d.List()
		for _, item := range v {
			d.Any(item)
		}
		d.End()
	case int:
		d.Comma()
		d.B = append(d.B, strconv.Itoa(v)...)
	case nil:
		d.Comma()
		d.B = append(d.B, "null"...)
	default:
		d.Text(fmt.Sprint(v))
	}
}

// Nothing writes keys, separated by spaces, each with 0.
func (d *Doc) Nothing(keys string) {
	for _, k := range strings.Fields(keys) {
		d.Num(k, 0)
	}
}
