package spec

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/proxmox"
)

// The errors of the parsers here read "what is wrong: what to do", like those
// of package proxmox; see apart.

// article puts one before the name of a type.
func article(name string) string {
	switch {
	case strings.HasPrefix(name, "true"), strings.Contains(name, "|"):
		return name
	case strings.ContainsRune("aeioI", rune(name[0])):
		return "an " + name
	}
	return "a " + name
}

// scalar makes a type of one word. The YAML must be of one of the tags; a
// property string has no types, so there parse alone decides.
func scalar[V any](name string, schema *jsonschema.Schema, tags []string, fix string, parse func(string) (V, error)) value[V] {
	return value[V]{
		name: name, schema: schema, parse: parse,
		read: func(a at, n *yaml.Node) (v V, ok bool) {
			n = resolve(n)
			if n.Kind != yaml.ScalarNode || !slices.Contains(tags, n.ShortTag()) {
				switch {
				case fix != "":
					a.fail(fix, "needs %s, this is %s", article(name), show(n))
				case n.Kind == yaml.ScalarNode:
					a.fail(fmt.Sprintf("Write it in quotes: %q.", n.Value), "needs %s, %s is %s", article(name), show(n), what(n))
				default:
					a.fail("Write one, without brackets.", "needs %s, this is %s", article(name), what(n))
				}
				return v, false
			}
			v, err := parse(n.Value)
			if err != nil {
				a.refuse(err)
				return v, false
			}
			return v, true
		},
	}
}

var (
	strTags = []string{"!!str", "!!timestamp"}
	intTags = []string{"!!int", "!!float"} // floats, to say something better than "a number" of 08
	anyTags = []string{"!!str", "!!timestamp", "!!int", "!!float", "!!bool"}
)

func typed(name string) *jsonschema.Schema { return &jsonschema.Schema{Type: name} }

func pattern(p string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: p} }

// either are the schemas of something that may be written in several ways.
func either(s ...*jsonschema.Schema) *jsonschema.Schema { return &jsonschema.Schema{AnyOf: s} }

var boolean = scalar("true or false", typed("boolean"), []string{"!!bool"}, "Write true or false.", func(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("invalid value %q: expected true or false", s)
})

// zeroOne is a boolean of PVE, which is 1 or 0 there.
var zeroOne = convert(boolean, func(b bool) string {
	if b {
		return "1"
	}
	return "0"
})

// convert is a type whose value is taken on in another form.
func convert[V, W any](v value[V], f func(V) W) value[W] {
	w := value[W]{
		name: v.name, schema: v.schema, below: v.below,
		read: func(a at, n *yaml.Node) (W, bool) {
			got, ok := v.read(a, n)
			return f(got), ok
		},
	}
	if v.parse != nil {
		w.parse = func(s string) (W, error) {
			got, err := v.parse(s)
			return f(got), err
		}
	}
	return w
}

// text is any text in one line or several.
var text = scalar("text", typed("string"), strTags, "", func(s string) (string, error) { return s, nil })

// name is a text that check accepts.
func name(what string, check func(string) error) value[string] {
	return scalar(what, typed("string"), strTags, "", func(s string) (string, error) { return s, check(s) })
}

// matching is a text of a form, which is compiled when one is read.
func matching(what, form, fix string) value[string] {
	re := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(form) })
	return scalar(what, pattern(form), strTags, "", func(s string) (string, error) {
		if !re().MatchString(s) {
			return "", fmt.Errorf("invalid %s %q: %s", what, s, fix)
		}
		return s, nil
	})
}

// oneOf is one word of a few.
func oneOf[S ~string](words ...S) value[S] {
	var known []string
	schema := typed("string")
	for _, w := range words {
		known = append(known, string(w))
		schema.Enum = append(schema.Enum, string(w))
	}
	return scalar(strings.Join(known, "|"), schema, anyTags, "Write "+orList(known)+".", func(s string) (S, error) {
		if !slices.Contains(words, S(s)) {
			return "", fmt.Errorf("invalid value %q: expected %s", s, orList(known))
		}
		return S(s), nil
	})
}

func orList(words []string) string {
	return strings.Replace(list(words), " and ", " or ", 1)
}

var decimalForm = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// parseInt reads a plain decimal number. YAML would read 0201 as 129 and 0x10
// as 16; nobody means that.
func parseInt(s string, low, high int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case !decimalForm.MatchString(s) && len(s) > 1 && s[0] == '0':
		return 0, fmt.Errorf("invalid number %q, a leading 0 means base 8 or 16: expected a decimal number", s)
	case !decimalForm.MatchString(s):
		return 0, fmt.Errorf("invalid number %q: expected an integer in digits", s)
	case err != nil || n < low || n > high:
		if high == math.MaxInt32 {
			return 0, fmt.Errorf("%s is out of range: expected %d or more", s, low)
		}
		return 0, fmt.Errorf("%s is out of range: expected a number from %d to %d", s, low, high)
	}
	return n, nil
}

// number is a whole number between two bounds.
func number(low, high int64) value[int] {
	schema := typed("integer")
	schema.Minimum = jsonschema.Ptr(float64(low))
	what := fmt.Sprintf("number %d–%d", low, high)
	if high == math.MaxInt32 {
		what = fmt.Sprintf("number ≥ %d", low)
	} else {
		schema.Maximum = jsonschema.Ptr(float64(high))
	}
	return scalar(what, schema, intTags, "Write a plain number, without quotes.", func(s string) (int, error) {
		n, err := parseInt(s, low, high)
		return int(n), err
	})
}

// digits is a number as PVE stores it.
func digits(low, high int64) value[string] { return convert(number(low, high), strconv.Itoa) }

var decimal = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.[0-9]+)?$`)

// fraction is a decimal number, in its shortest form as PVE stores it.
func fraction(high float64) value[string] {
	schema := typed("number")
	schema.Minimum, schema.Maximum = jsonschema.Ptr(0.0), jsonschema.Ptr(high)
	return scalar("number 0–"+strconv.FormatFloat(high, 'f', -1, 64), schema, intTags, "Write a plain number without quotes, for example 1.5.", func(s string) (string, error) {
		f, err := strconv.ParseFloat(s, 64)
		if !decimal.MatchString(s) || err != nil || f > high {
			return "", fmt.Errorf("invalid number %q: expected a number from 0 to %g, for example 1.5", s, high)
		}
		return strconv.FormatFloat(f, 'f', -1, 64), nil
	})
}

var vmid = func() value[proxmox.VMID] {
	schema := typed("integer")
	schema.Minimum, schema.Maximum = jsonschema.Ptr(100.0), jsonschema.Ptr(999999999.0)
	return scalar("VMID", schema, intTags, "Write a number from 100 to 999999999, without quotes.", func(s string) (proxmox.VMID, error) {
		n, err := parseInt(s, 100, 999999999)
		return proxmox.VMID(n), err
	})
}()

// size is an amount with a unit, or a plain number of the unit that PVE takes
// there. Only whole MiB are sizes to PVE.
func size(unit proxmox.Size, low proxmox.Size) value[proxmox.Size] {
	what := map[proxmox.Size]string{proxmox.MiB: "MiB", proxmox.GiB: "GiB"}[unit]
	schema := either(
		&jsonschema.Schema{Type: "number", Minimum: jsonschema.Ptr(float64(low) / float64(unit))},
		pattern(`^[0-9]+(\.[0-9]+)?([KMGT](iB)?)?$`))
	return scalar("size (a plain number: "+what+")", schema, []string{"!!str", "!!int", "!!float"}, "Write for example 2GiB or 512MiB.", func(s string) (proxmox.Size, error) {
		given := s
		if s != "" && strings.Trim(s, "0123456789.") == "" {
			if len(s) > 1 && s[0] == '0' && s[1] != '.' {
				return 0, fmt.Errorf("invalid number %q, a leading 0 means base 8: expected a number without it", given)
			}
			s += what
		}
		n, err := proxmox.ParseSize(s)
		switch {
		case err != nil:
			return 0, err
		case n%proxmox.MiB != 0:
			return 0, fmt.Errorf("invalid size %q: expected full MiB", given)
		case n < low:
			return 0, fmt.Errorf("%q is less than %s: a plain number counts in %s, else say the unit", given, low, what)
		}
		return n, nil
	})
}

var (
	durationForm = regexp.MustCompile(`^([0-9]+[smhdw])+$`)
	durationPart = regexp.MustCompile(`([0-9]+)([smhdw])`)
	units        = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
)

const longest = 3650 * 24 * time.Hour

// parseDuration reads "24h", "7d", "2w", "1h30m". A day is 24 hours.
func parseDuration(s string) (time.Duration, error) {
	if !durationForm.MatchString(s) {
		return 0, fmt.Errorf("invalid duration %q: expected a number and a unit, for example 30m, 24h, 7d or 2w", s)
	}
	var sum time.Duration
	for _, m := range durationPart.FindAllStringSubmatch(s, -1) {
		n, err := strconv.ParseInt(m[1], 10, 32)
		if err != nil || n > int64((longest-sum)/units[m[2]]) {
			return 0, fmt.Errorf("invalid duration %q, it is longer than ten years: expected less", s)
		}
		sum += time.Duration(n) * units[m[2]]
	}
	return sum, nil
}

// printDuration is the duration as one writes it: "90m", "24h", "3d".
func printDuration(d time.Duration) string {
	switch {
	case d >= 48*time.Hour && d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// atLeast is a duration of some length.
func atLeast(low time.Duration) value[time.Duration] {
	return scalar("duration", pattern(`^([0-9]+[smhdw])+$`), []string{"!!str", "!!int", "!!float"}, "Write a number and a unit, such as 24h or 7d.", func(s string) (time.Duration, error) {
		d, err := parseDuration(s)
		if err == nil && d < low {
			return 0, fmt.Errorf("invalid duration %q, it is too short: expected %s or more", s, printDuration(low))
		}
		return d, err
	})
}

// zoned is a time that means the same everywhere.
var zoned = scalar("time with zone", typed("string"), strTags, "Write it like 2026-11-22T18:00:00Z.", func(s string) (time.Time, error) {
	m, err := ParseMoment(s)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("invalid time %q: expected a time with its zone, for example 2026-11-22T18:00:00Z", s)
	case !m.zoned:
		return time.Time{}, fmt.Errorf("invalid time %q, its zone is missing: expected for example 2026-11-22T18:00:00Z", s)
	}
	return m.t, nil
})

// listOf is a list of a type; empty lists are mistakes.
func listOf[V any](what string, v value[V]) value[[]V] {
	return value[[]V]{
		name: what, schema: &jsonschema.Schema{Type: "array", Items: v.schema, MinItems: jsonschema.Ptr(1)}, below: v.below,
		read: func(a at, n *yaml.Node) ([]V, bool) {
			n = resolve(n)
			if n.Kind != yaml.SequenceNode {
				a.fail("Write it in brackets: [a, b].", "needs a list, this is %s", show(n))
				return nil, false
			}
			if !a.src.brings(len(n.Content)) {
				a.tooMuch()
				return nil, false
			}
			if len(n.Content) == 0 {
				a.fail("Put something in, or remove the line.", "is an empty list")
				return nil, false
			}
			all := make([]V, 0, len(n.Content))
			for _, item := range n.Content {
				here := a.on(item)
				if null(resolve(item)) {
					here.fail("Write a value after the dash, or remove it.", "has an entry without a value")
				} else if got, ok := v.read(here, item); ok {
					all = append(all, got)
				}
			}
			return all, len(all) > 0
		},
	}
}

// names is a list in which nothing stands twice.
func names(what string, v value[string]) value[[]string] {
	l := listOf(what, v)
	read := l.read
	l.read = func(a at, n *yaml.Node) ([]string, bool) {
		got, ok := read(a, n)
		known := map[string]bool{}
		return slices.DeleteFunc(got, func(s string) bool {
			twice := known[s]
			if known[s] = true; twice {
				a.fail("Keep one of the two.", "names %s twice", s)
			}
			return twice
		}), ok
	}
	return l
}

var storage = name("storage name", proxmox.CheckStorageID)

func checkNode(s string) error {
	if err := proxmox.CheckHostname(s); err != nil || strings.Contains(s, ".") {
		return fmt.Errorf("invalid node name %q: expected the node's short name, for example pve1", s)
	}
	return nil
}

func checkVolume(s string) error {
	_, err := proxmox.ParseVolumeID(s)
	return err
}

var volume = name("volume id", checkVolume)

// plainName is the name of an object that is neither a guest nor a snapshot.
var plainName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,38}[A-Za-z0-9])?$`)
