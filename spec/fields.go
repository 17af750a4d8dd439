package spec

import (
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"gopkg.in/yaml.v3"
)

// Class says when a change of a field takes effect, as PVE does it on a
// running guest (PVE: LXC::Config, vmconfig_hotplug_pending).
type Class string

// The classes.
const (
	Live         Class = "live"
	NeedsRestart Class = "needs restart"
	BirthOnly    Class = "creation"    // read when the object is created; later a difference is a note
	RootOnly     Class = "root helper" // changed through the root helper
	Agent        Class = "agent"       // read by the agent alone, PVE never sees it
)

// Field is one line of the table of the language.
type Field struct {
	Kind  Kind
	Path  string // below the object: "config.netN.ip"
	Type  string // as in the documentation: "size", "duration", "list of names"
	Class Class
	Doc   string
}

// Fields is the table of the language, by kind, in the order in which it is
// declared here.
func Fields() []Field {
	var all []Field
	add := func(k Kind, fields []Field) {
		for _, f := range fields {
			f.Kind = k
			all = append(all, f)
		}
	}
	add(KindMount, mountShape.table())
	add(KindGolden, goldenShape.table())
	add(KindRestore, restoreShape.table())
	add(KindGuest, guestShape.table())
	add(KindSnapshot, snapshotShape.table())
	add(KindBackup, backupShape.table())
	add(KindTest, testShape.table())
	return all
}

// value is a type of the language: what it is called, how it is read, what an
// editor is told about it.
type value[V any] struct {
	name   string
	schema *jsonschema.Schema
	below  []Field // the fields of a map
	read   func(at, *yaml.Node) (V, bool)
	parse  func(string) (V, error) // of scalars: as in a property string
}

// field is one line of a shape: the key, and how its value gets into a T.
type field[T any] struct {
	Field
	numbered int    // of "netN": how many there are; 0: the key is the key
	missing  string // the fix where it is missing; empty: not required
	unless   string // the key with which it may be missing; empty: none
	schema   *jsonschema.Schema
	below    []Field
	read     func(a at, n *yaml.Node, to *T, number int)
	parse    func(a at, text string, to *T) // of scalars
}

// of is a field that set puts into a T.
func of[T, V any](key string, class Class, v value[V], set func(*T, V), doc string) field[T] {
	return numberedOf(key, 0, class, v, func(to *T, _ int, got V) { set(to, got) }, doc)
}

// numberedOf is a family of fields such as net0 to net31, its key "netN".
func numberedOf[T, V any](key string, count int, class Class, v value[V], set func(*T, int, V), doc string) field[T] {
	f := field[T]{
		Field:    Field{Path: key, Type: v.name, Class: class, Doc: doc},
		numbered: count, schema: v.schema, below: v.below,
		read: func(a at, n *yaml.Node, to *T, number int) {
			if got, ok := v.read(a, n); ok {
				set(to, number, got)
			}
		},
	}
	if v.parse != nil {
		f.parse = func(a at, text string, to *T) {
			got, err := v.parse(text)
			if err != nil {
				a.refuse(err)
				return
			}
			set(to, 0, got)
		}
	}
	return f
}

// must makes a field required; the fix says what to write.
func (f field[T]) must(fix string) field[T] {
	f.missing = fix
	return f
}

// mustUnless makes a field required where another key is not there.
func (f field[T]) mustUnless(key, fix string) field[T] {
	f.missing, f.unless = fix, key
	return f
}

// shape is a map of the language: its fields, and a word about keys that one
// might look for there.
type shape[T any] struct {
	fields    []field[T]
	index     map[string]int
	elsewhere map[string]string // the fixes of keys that are not here on purpose
}

func shaped[T any](elsewhere map[string]string, fields ...field[T]) *shape[T] {
	s := &shape[T]{fields: fields, index: map[string]int{}, elsewhere: elsewhere}
	for i, f := range fields {
		s.index[strings.TrimSuffix(f.Path, "N")] = i
		if f.numbered == 0 {
			s.index[f.Path] = i
		}
	}
	return s
}

// lookup finds the field of a key, and the number of "net3".
func (s *shape[T]) lookup(key string) (f *field[T], number int, ok bool) {
	if i, ok := s.index[key]; ok && s.fields[i].numbered == 0 {
		return &s.fields[i], 0, true
	}
	stem := strings.TrimRight(key, "0123456789")
	i, ok := s.index[stem]
	if !ok || s.fields[i].numbered == 0 || stem == key {
		return nil, 0, false
	}
	digits := key[len(stem):]
	number, err := strconv.Atoi(digits)
	if err != nil || number >= s.fields[i].numbered || (digits[0] == '0' && digits != "0") {
		return nil, 0, false
	}
	return &s.fields[i], number, true
}

// keys are the known keys, for suggestions.
func (s *shape[T]) keys() []string {
	var known []string
	for _, f := range s.fields {
		if f.numbered > 0 {
			known = append(known, strings.TrimSuffix(f.Path, "N")+"0")
		} else {
			known = append(known, f.Path)
		}
	}
	return known
}

func (s *shape[T]) unknown(a at, key string) {
	if a.src.keys != nil {
		src := *a.src
		src.faults, a.src = src.keys, &src
	}
	stem := strings.TrimRight(key, "0123456789")
	fix, ok := s.elsewhere[key]
	if !ok && stem != key { // unused3 is like unused0
		fix, ok = s.elsewhere[stem+"0"]
	}
	if ok {
		a.fail(fix, "does not belong here")
	} else if i, ok := s.index[stem]; ok && s.fields[i].numbered > 0 {
		a.fail("Write "+stem+"0 to "+stem+strconv.Itoa(s.fields[i].numbered-1)+".", "PVE has no %s", key)
	} else {
		a.fail(suggest(key, s.keys()), "unknown key")
	}
}

// fill reads a map into to. It reports whether n was a map at all.
func (s *shape[T]) fill(a at, n *yaml.Node, to *T) bool {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		a.fail("Write "+s.example()+".", "needs a map, this is %s", show(n))
		return false
	}
	seen := make([]bool, len(s.fields))
	for _, p := range a.pairs(n) {
		f, number, ok := s.lookup(p.key)
		here := a.of(p)
		if !ok {
			s.unknown(here, p.key)
			continue
		}
		seen[s.index[strings.TrimSuffix(f.Path, "N")]] = true
		if null(p.value) {
			here.fail("Write a value after the colon, or remove the line.", "has no value")
			continue
		}
		f.read(here, p.value, to, number)
	}
	for i, f := range s.fields {
		if other, ok := s.index[f.unless]; f.missing != "" && !seen[i] && !(ok && seen[other]) {
			c := a
			c.path = join(a.path, f.Path)
			c.fail(f.missing, "is missing")
		}
	}
	return true
}

// fillText reads the keys of a property string.
func (s *shape[T]) fillText(a at, m map[string]string, to *T) {
	for key, text := range m {
		f, _, ok := s.lookup(key)
		here := a.child(key, a.line)
		switch {
		case !ok:
			s.unknown(here, key)
		case f.parse == nil:
			here.fail("Write all of it as a map.", "cannot stand in a string")
		default:
			f.parse(here, text, to)
		}
	}
}

// example is "{storage: …, size: …}".
func (s *shape[T]) example() string {
	keys := s.keys()
	return "{" + strings.Join(keys[:min(2, len(keys))], ": …, ") + ": …}"
}

// value makes a type of the shape.
func (s *shape[T]) value(name string) value[T] {
	return value[T]{
		name: name, schema: s.schema(), below: s.table(),
		read: func(a at, n *yaml.Node) (T, bool) {
			var v T
			ok := s.fill(a, n, &v)
			return v, ok
		},
	}
}

// table flattens the shape.
func (s *shape[T]) table() []Field {
	var all []Field
	for _, f := range s.fields {
		all = append(all, f.Field)
		for _, b := range f.below {
			b.Path = f.Path + "." + b.Path
			all = append(all, b)
		}
	}
	return all
}

// inherit makes the fields of a part of T fields of T.
func inherit[T, P any](part func(*T) *P, fields []field[P]) []field[T] {
	var all []field[T]
	for _, f := range fields {
		g := field[T]{
			Field: f.Field, numbered: f.numbered, missing: f.missing, unless: f.unless, schema: f.schema, below: f.below,
			read: func(a at, n *yaml.Node, to *T, number int) { f.read(a, n, part(to), number) },
		}
		if f.parse != nil {
			g.parse = func(a at, text string, to *T) { f.parse(a, text, part(to)) }
		}
		all = append(all, g)
	}
	return all
}

// objectFields are what every object may say.
func objectFields[T any](part func(*T) *Object) []field[T] {
	return inherit(part, []field[Object]{
		of("paused", Agent, boolean, func(o *Object, v bool) { o.Paused = v }, "While this is true, the object is not changed."),
		of("node", BirthOnly, name("node name", checkNode), func(o *Object, v string) { o.Node = v }, "The node where the object is created; default the file's node."),
		of("was", Agent, text, func(o *Object, v string) { o.Was = v }, "The object's earlier name; the ownership marker with that name is accepted and rewritten."),
		of("drift", Agent, oneOf(DriftHeal, DriftReport), func(o *Object, v Drift) { o.Drift = v }, "What happens to changes made elsewhere: heal (default under restores) or report (default under guests)."),
		of("timeout", Agent, atLeast(time.Second), func(o *Object, v time.Duration) { o.Timeout = v }, "How long the agent waits for a task of the object; default 24h for backups and restores, 10m for others."),
		of("despite", Agent, zoned, func(o *Object, v time.Time) { o.Despite = v }, "Create the guest despite existing data that is older than this time."),
	})
}
