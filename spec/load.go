package spec

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Loader loads with what is known of the host. Its zero value is what [Load]
// uses.
type Loader struct {
	// Roots are the folders of the host below which the fence mounts disks and
	// binds folders. Empty means /mnt.
	Roots []string
	// IDMap are the folders of the host whose binds may map IDs of a guest
	// to those of the host. Empty means none.
	IDMap []string

	resolved map[Ref]*yaml.Node // see Resolved
}

// Load reads a file, or all *.yaml and *.yml files of a folder (not of the
// folders in it, and no hidden ones): at most 2,000 files and 8 MiB in all.
// Where anything is wrong there is no Desired, and the error is a
// *multierror.Error of *Error, by file, then by line. Declaring nothing is an
// error.
func Load(path string) (*Desired, error) { return Loader{}.Load(path) }

// Load is the function [Load] with what the loader knows.
func (l Loader) Load(path string) (*Desired, error) {
	var f faults
	files, passedOver := readFiles(path, &f)
	d, err := l.join(path, files, &f)
	if d != nil {
		d.PassedOver = passedOver
	}
	return d, err
}

// join makes one Desired of the files; path is for messages.
func (l Loader) join(path string, files []file, f *faults) (*Desired, error) {
	d := &Desired{
		Mounts: map[string]*Mount{}, Golden: map[string]*Golden{},
		Restores: map[string]*Guest{}, Guests: map[string]*Guest{},
		Snapshots: map[string]*Snapshot{}, Backups: map[string]*Backup{}, Tests: map[string]*Test{},
		Hash: fingerprint(files),
	}
	nodes := map[string]bool{}
	left := limits{entries: mostEntries, brought: mostBrought, resolved: l.resolved}
	type document struct {
		src *source
		doc *yaml.Node
	}
	var documents []document
	for _, file := range files {
		d.Files = append(d.Files, file.name)
		if doc := file.parse(f, &left); doc != nil {
			src := &source{name: file.name, faults: f, left: &left}
			documents = append(documents, document{src, doc})
			readDefaults(at{src: src, line: doc.Line}, doc)
		}
	}
	for _, from := range documents {
		if node := d.read(from.src, from.doc); node != "" {
			nodes[node] = true
		}
	}
	for node := range nodes {
		if d.Node = node; len(nodes) > 1 {
			d.Node = ""
		}
	}
	if d.Len() == 0 && len(f.list) == 0 {
		f.add(&Error{File: path, Message: "declares nothing", Fix: "Nothing is never what is wanted; declare at least one object, or stop the agent."})
	}
	d.fill()
	l.check(d, f)
	if err := f.err(); err != nil {
		return nil, err
	}
	return d, nil
}

var sections = []string{"node", string(KindMount), string(KindGolden), string(KindRestore), string(KindGuest), string(KindSnapshot), string(KindBackup), string(KindTest), defaultsSection}

// read takes one file in and returns the node that it names.
func (d *Desired) read(src *source, doc *yaml.Node) (node string) {
	top := at{src: src, line: doc.Line}
	if !ours(doc) { // so it may be anything, a file of secrets too
		top.fail("Begin with a section: restores:, guests:, mounts:, golden:, snapshots:, backups: or tests:.", "needs sections at the top, this is %s (its content is not shown)", what(doc))
		return ""
	}
	pairs := top.pairs(doc)
	for _, p := range pairs {
		if p.key == "node" && !null(p.value) {
			node, _ = name("node name", checkNode).read(top.child("node", p.line), p.value)
		}
	}
	for _, p := range pairs {
		here := top.child(p.key, p.line)
		switch {
		case strings.HasPrefix(p.key, "x-"):
		case !slices.Contains(sections, p.key):
			here.fail(suggest(p.key, sections)+" Your own keys begin with x-.", "unknown section")
		case null(p.value):
			here.fail("Declare something in it, or remove the line.", "is empty")
		case p.key == "node" || p.key == defaultsSection:
		default:
			d.readSection(here, Kind(p.key), node, p.value)
		}
	}
	return node
}

// ours reports whether a document is a map with a section of the language, or with a key that is nearly one. Of any
// other nothing is quoted.
func ours(doc *yaml.Node) bool {
	if doc.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		key := resolve(doc.Content[i])
		if slices.Contains(sections, key.Value) || strings.HasPrefix(key.Value, "x-") || Nearest(key.Value, sections) != "" {
			return true
		}
	}
	return false
}

func (d *Desired) readSection(a at, k Kind, node string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		a.fail("Write names with what belongs to them below: "+string(k)+": {NAME: {…}}.", "needs a map of objects, this is %s", show(n))
		return
	}
	for _, p := range a.pairs(n) {
		o := Object{Ref: Ref{k, p.key}, Pos: Pos{a.src.name, p.line}, lines: map[string]Pos{}}
		here := at{src: a.src, obj: &o, line: p.line}
		here.named()
		if first := d.Object(o.Ref); first != nil {
			here.fail("Keep one of the two.", "is declared twice (first in %s)", first.Pos)
			continue
		}
		if null(p.value) {
			here.fail("Write what belongs to it below, or remove the name.", "is empty")
			continue
		}
		value := p.value
		if k == KindRestore || k == KindGuest {
			value = here.withDefaults(k, value)
		}
		if here.src.left.resolved != nil {
			here.src.left.resolved[o.Ref] = here.flat(value, mergeDepth)
		}
		switch k {
		case KindMount:
			d.Mounts[p.key] = readObject(here, mountShape, value, node)
		case KindGolden:
			d.Golden[p.key] = readObject(here, goldenShape, value, node)
		case KindRestore:
			d.Restores[p.key] = readObject(here, restoreShape, value, node)
		case KindGuest:
			d.Guests[p.key] = readObject(here, guestShape, value, node)
			d.Guests[p.key].Adopt = true
		case KindSnapshot:
			d.Snapshots[p.key] = readObject(here, snapshotShape, value, node)
		case KindBackup:
			d.Backups[p.key] = readObject(here, backupShape, value, node)
		case KindTest:
			d.Tests[p.key] = readObject(here, testShape, value, node)
		}
	}
}

// readObject reads what a name stands for. An object with mistakes is kept, so
// that what refers to it is not called a mistake as well.
func readObject[T any, P declared[T]](a at, s *shape[T], n *yaml.Node, node string) P {
	p := P(new(T))
	*p.object() = *a.obj
	a.obj = p.object()
	s.fill(a, n, (*T)(p))
	if a.obj.Node == "" {
		a.obj.Node = node
	}
	return p
}
