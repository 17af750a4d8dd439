package spec

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// defaultsSection is the section with what every restore or guest is to have that does not say otherwise.
const defaultsSection = "defaults"

// noDefaults are the fields that belong to one guest alone.
var noDefaults = []string{"vmid", "was", "is", "ensure", "rollback", "despite"}

// readDefaults notes the defaults of a file. Their keys are checked here, for there may be no object of the kind yet; the rest as parts of the objects
// that get them.
func readDefaults(top at, doc *yaml.Node) {
	if !ours(doc) {
		return
	}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		if resolve(doc.Content[i]).Value != defaultsSection {
			continue
		}
		here := top.child(defaultsSection, doc.Content[i].Line)
		n := resolve(doc.Content[i+1])
		if null(n) {
			continue // said where the sections are read
		}
		if n.Kind != yaml.MappingNode {
			here.fail("Write defaults: {restores: {…}, guests: {…}}.", "needs a map, this is %s", show(n))
			continue
		}
		for _, p := range here.pairs(n) {
			here.of(p).noteDefaults(Kind(p.key), p.value)
		}
	}
}

// noteDefaults keeps the defaults of a kind, and where each of their keys stands.
func (a at) noteDefaults(k Kind, n *yaml.Node) {
	left := a.src.left
	switch {
	case k != KindRestore && k != KindGuest:
		a.fail("Defaults are for restores and guests.", "unknown section")
		return
	case null(n):
		a.fail("Write what they all have below, or remove the line.", "is empty")
		return
	case n.Kind != yaml.MappingNode:
		a.fail("Write it as in an object: {config: {onboot: true}}.", "needs a map, this is %s", show(n))
		return
	case left.byKind[k] != nil:
		a.fail("Keep one of the two.", "is declared twice (first in %s)", Pos{left.defaults[left.byKind[k].Content[0]].name, left.byKind[k].Line})
		return
	case len(n.Content) == 0:
		return
	}
	for _, p := range a.pairs(n) {
		if slices.Contains(noDefaults, p.key) {
			a.of(p).fail("Write it in the object.", "belongs to one guest")
			return
		}
	}
	if left.byKind == nil {
		left.byKind, left.defaults = map[Kind]*yaml.Node{}, map[*yaml.Node]*source{}
	}
	src := *a.src
	src.isDefaults = true
	keys := src
	keys.keys, keys.faults = src.faults, &faults{}
	here := at{src: &keys, obj: &Object{Ref: Ref{Kind: k}, lines: map[string]Pos{}}, line: a.line}
	if k == KindRestore {
		restoreShape.fill(here, n, &Guest{})
	} else {
		guestShape.fill(here, n, &Guest{})
	}
	left.byKind[k] = n
	note(n, &src, left.defaults)
}

// note keeps the source of all keys of a map and of what is in it.
func note(n *yaml.Node, src *source, to map[*yaml.Node]*source) {
	for i, below := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			to[below] = src
		}
		note(below, src, to)
	}
}

// withDefaults is an object with the defaults of its kind merged into it. What it says itself wins, map by map.
func (a at) withDefaults(k Kind, own *yaml.Node) *yaml.Node {
	given := a.src.left.byKind[k]
	own = resolve(own)
	if given == nil || own.Kind != yaml.MappingNode {
		return own
	}
	return a.under(own, given)
}

// under puts a map of defaults under an own one: its keys count where the own map, and what that merges with <<, has none.
func (a at) under(own, given *yaml.Node) *yaml.Node {
	if !a.src.brings(len(given.Content)) {
		a.tooMuch()
		return own
	}
	result := *own
	result.Content = slices.Clone(own.Content)
	for i := 0; i+1 < len(result.Content); i += 2 {
		key, value := resolve(result.Content[i]), resolve(result.Content[i+1])
		for j := 0; j+1 < len(given.Content); j += 2 {
			below := resolve(given.Content[j+1])
			if given.Content[j].Value == key.Value && value.Kind == yaml.MappingNode && below.Kind == yaml.MappingNode {
				result.Content[i+1] = a.under(value, below)
			}
		}
	}
	result.Content = append(result.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!merge", Value: "<<", Line: own.Line}, given)
	return &result
}

// Resolved is the desired state as YAML in one document, as it is after defaults, anchors and merges, with an object for
// each guest where one is for several.
func (l Loader) Resolved(path string) ([]byte, error) {
	var f faults
	files, _ := readFiles(path, &f)
	l.resolved = map[Ref]*yaml.Node{}
	d, err := l.join(path, files, &f)
	if err != nil {
		return nil, err
	}
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, k := range Kinds() {
		section := &yaml.Node{Kind: yaml.MappingNode}
		for _, ref := range d.Refs() {
			if ref.Kind != k {
				continue
			}
			series, guest, several := strings.Cut(ref.Name, "/")
			n := l.resolved[Ref{k, series}]
			if several {
				n = forGuest(n, guest)
			}
			section.Content = append(section.Content, scalarNode(ref.Name), n)
		}
		if len(section.Content) > 0 {
			root.Content = append(root.Content, scalarNode(k.String()), section)
		}
	}
	return yaml.Marshal(root)
}

func scalarNode(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// forGuest is a snapshot object for several guests as that of one.
func forGuest(n *yaml.Node, guest string) *yaml.Node {
	one := *n
	one.Content = []*yaml.Node{scalarNode("guest"), scalarNode(guest)}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i].Value; key != "guests" && key != "except" {
			one.Content = append(one.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &one
}

// flat is a node without aliases and merges, so many levels deep: what is anchored in itself has no end.
func (a at) flat(n *yaml.Node, levels int) *yaml.Node {
	n = resolve(n)
	if levels == 0 {
		a.tooMuch()
		return n
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style &^ yaml.TaggedStyle}
	switch n.Kind {
	case yaml.MappingNode:
		out.Style = 0
		for _, p := range a.pairs(n) {
			out.Content = append(out.Content, scalarNode(p.key), a.of(p).flat(p.value, levels-1))
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if !a.src.brings(1) {
				a.tooMuch()
				break
			}
			out.Content = append(out.Content, a.flat(item, levels-1))
		}
	}
	return out
}
