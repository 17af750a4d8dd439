package spec

import (
	"fmt"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"
)

// source is one file on the walk.
type source struct {
	name   string
	faults *faults
	left   *limits

	isDefaults bool    // what stands here is said of every object of a kind
	keys       *faults // where not nil: takes mistakes in keys; faults takes the others
}

// brings takes n pairs or items off what may be walked in all, and reports
// whether there was as much: aliases multiply without end.
func (s *source) brings(n int) bool {
	s.left.brought -= n
	return s.left.brought >= 0
}

// at is a place on the walk: the file, the line, and the path from the top of
// the file. Below an object, the path of its fields is relative to it.
type at struct {
	src  *source
	obj  *Object // nil outside of objects
	path string  // below obj, else below the file's top
	line int
}

// field is the whole path, as errors name it.
func (a at) field() string {
	if a.obj == nil {
		return a.path
	}
	name := string(a.obj.Ref.Kind) + "." + a.obj.Ref.Name
	if a.src.isDefaults {
		name = defaultsSection + "." + string(a.obj.Ref.Kind)
	}
	if a.path == "" {
		return name
	}
	return name + "." + a.path
}

// child is the place of a key below this place; it is noted in the object, so
// that later messages can point to it.
func (a at) child(key string, line int) at {
	a.path, a.line = join(a.path, key), line
	if a.obj != nil {
		a.obj.lines[a.path] = a.pos()
	}
	return a
}

// of is the place of an entry of a map, which may be one of the defaults.
func (a at) of(p pair) at {
	if p.src != nil {
		a.src = p.src
	}
	return a.child(p.key, p.line)
}

// on is the same path at another line, for the entries of a list.
func (a at) on(n *yaml.Node) at {
	a.line = n.Line
	return a
}

func (a at) pos() Pos { return Pos{a.src.name, a.line} }

// fail notes a mistake here.
func (a at) fail(fix, format string, args ...any) {
	e := &Error{
		File: a.src.name, Line: a.line, Field: a.field(),
		Message: fmt.Sprintf(format, args...), Fix: fix,
	}
	if a.src.isDefaults && slices.ContainsFunc(a.src.faults.list, func(f *Error) bool {
		return f.File == e.File && f.Line == e.Line && f.Field == e.Field && f.Message == e.Message
	}) {
		return // each object has it
	}
	a.src.faults.add(e)
}

// refuse notes the errors of a parser.
func (a at) refuse(err error) {
	each(err, func(err error) {
		message, fix := apart(err)
		a.fail(fix, "%s", message)
	})
}

// what names a node's type for people.
func what(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return "a text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	}
	return "of type " + n.Tag
}

func show(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return what(n)
	}
	return strconv.Quote(shortened(n.Value, 60))
}

// shortened is the beginning of a text, of at most so many characters.
func shortened(s string, most int) string {
	for i := range s {
		if most--; most < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// resolve follows an alias to what its anchor stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// pair is one entry of a map.
type pair struct {
	key   string
	line  int
	value *yaml.Node
	src   *source // of an entry of the defaults; nil: the file that is read
}

// pairs are the entries of a map in the order written, with what << brings in
// at the end: an own key wins over a merged one, an earlier merged map over a
// later one. Keys written twice and keys that are no words are mistakes.
func (a at) pairs(n *yaml.Node) []pair {
	if !a.src.brings(len(n.Content) / 2) {
		a.tooMuch()
		return nil
	}
	own := make([]pair, 0, len(n.Content)/2)
	var merged []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := resolve(n.Content[i]), resolve(n.Content[i+1])
		here := a.on(n.Content[i])
		switch {
		case k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge":
			merged = append(merged, here.merge(v, 0)...)
		case k.Kind != yaml.ScalarNode || null(k):
			here.fail("Begin the line with a name and a colon.", "a key is %s, not a word", what(k))
		case k.Value == "":
			here.fail("Give it a name.", "a key is empty")
		default:
			own = append(own, pair{k.Value, n.Content[i].Line, v, a.src.left.defaults[n.Content[i]]})
		}
	}
	return a.once(own, merged)
}

// once drops what is there already.
func (a at) once(own, merged []pair) []pair {
	known := make(map[string]int, len(own)+len(merged))
	kept := own[:0]
	for _, p := range own {
		if first, twice := known[p.key]; twice {
			c := at{src: a.src, obj: a.obj, path: join(a.path, p.key), line: p.line}
			c.fail("Keep one of the two.", "is written twice (first in line %d)", first)
			continue
		}
		known[p.key] = p.line
		kept = append(kept, p)
	}
	for _, p := range merged {
		if _, twice := known[p.key]; !twice {
			known[p.key] = p.line
			kept = append(kept, p)
		}
	}
	return kept
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

const mergeDepth = 20

// tooMuch says so once.
func (a at) tooMuch() {
	if !a.src.left.said {
		a.src.left.said = true
		a.fail("Write the keys out.", "anchors bring in too much, or themselves")
	}
}

// merge is what "<<: *name" or "<<: [*a, *b]" brings in.
func (a at) merge(n *yaml.Node, depth int) []pair {
	n = resolve(n)
	if depth > mergeDepth || !a.src.brings(len(n.Content)) {
		a.tooMuch()
		return nil
	}
	var got []pair
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if item = resolve(item); item.Kind != yaml.MappingNode {
				a.fail("Write an anchor of a map: <<: *name.", "<< in a list needs maps, this is %s", what(item))
				continue
			}
			got = append(got, a.merge(item, depth+1)...)
		}
	case yaml.MappingNode:
		var own, deeper []pair
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := resolve(n.Content[i]), resolve(n.Content[i+1])
			switch {
			case k.Kind != yaml.ScalarNode:
				a.fail("Begin the line with a name and a colon.", "a key under << is %s, not a word", what(k))
			case k.ShortTag() == "!!merge":
				deeper = append(deeper, a.merge(v, depth+1)...)
			default:
				own = append(own, pair{k.Value, n.Content[i].Line, v, a.src.left.defaults[n.Content[i]]})
			}
		}
		got = a.once(own, deeper)
	default:
		a.fail("Write an anchor of a map: <<: *name.", "<< needs a map or a list of maps, this is %s", what(n))
	}
	return got
}
