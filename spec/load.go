package spec

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Loader loads with what is known of the host. Its zero value is what [Load]
// uses.
type Loader struct {
	// Roots are the folders of the host below which the fence mounts disks and
	// binds folders. Empty means /mnt.
	Roots []string
}

// Load reads a file, or all *.yaml and *.yml files of a folder (not of the
// folders in it, and no hidden ones). Where anything is wrong there is no
// Desired, and the error is a *multierror.Error of *Error, by file, then by
// line. Declaring nothing is an error.
func Load(path string) (*Desired, error) { return Loader{}.Load(path) }

// Load is the function [Load] with what the loader knows.
func (l Loader) Load(path string) (*Desired, error) {
	var f faults
	return l.join(path, readFiles(path, &f), &f)
}

// join makes one Desired of the files; path is for messages.
func (l Loader) join(path string, files []file, f *faults) (*Desired, error) {
	d := &Desired{
		Mounts: map[string]*Mount{}, Golden: map[string]*Golden{},
		Restores: map[string]*Guest{}, Guests: map[string]*Guest{},
		Snapshots: map[string]*Snapshot{}, Backups: map[string]*Backup{},
		Hash: fingerprint(files),
	}
	nodes := map[string]bool{}
	for _, file := range files {
		d.Files = append(d.Files, file.name)
		if doc := file.parse(f); doc != nil {
			if node := d.read(&source{name: file.name, faults: f}, doc); node != "" {
				nodes[node] = true
			}
		}
	}
	for node := range nodes {
		if d.Node = node; len(nodes) > 1 {
			d.Node = ""
		}
	}
	if d.Len() == 0 && len(f.list) == 0 {
		f.add(&Error{File: path, Message: "declares nothing", Cure: "Nothing is never what is wanted; declare at least one object, or stop the agent."})
	}
	d.fill()
	l.check(d, f)
	if err := f.err(); err != nil {
		return nil, err
	}
	return d, nil
}

// Fingerprint is the SHA-256 (hex) over names and contents of what Load would
// read. It equals Desired.Hash and finds changes where the kernel tells
// nothing, as on network file systems.
func Fingerprint(path string) (string, error) {
	var f faults
	files := readFiles(path, &f)
	return fingerprint(files), f.err()
}

// file is one file as read.
type file struct {
	name string
	text []byte
}

func fingerprint(files []file) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%q %d\n", f.name, len(f.text))
		h.Write(f.text)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// wanted tells the files of the language from what editors and package
// managers leave beside them.
func wanted(name string) bool {
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml"))
}

func readFiles(path string, f *faults) []file {
	info, err := os.Stat(path)
	if err != nil {
		f.add(unreadable(path, err))
		return nil
	}
	names, dir := []string{filepath.Base(path)}, filepath.Dir(path)
	if info.IsDir() {
		dir = path
		entries, err := os.ReadDir(path)
		if err != nil {
			f.add(unreadable(path, err))
			return nil
		}
		names = nil
		for _, e := range entries { // sorted by name
			if wanted(e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	var files []file
	for _, name := range names {
		text, err := readFile(filepath.Join(dir, name))
		switch {
		case errors.Is(err, errFolder) && info.IsDir():
			continue
		case err != nil:
			e := unreadable(name, err)
			if info.IsDir() && errors.Is(err, fs.ErrNotExist) { // its name was there
				e.Message, e.Cure = "is a link to a file that does not exist", "Correct the link, or remove it."
			}
			f.add(e)
			continue
		}
		files = append(files, file{name, text})
	}
	if len(files) == 0 && len(f.list) == 0 {
		f.add(&Error{File: path, Message: "holds no .yaml file", Cure: "Declare what you want in files whose names end in .yaml; hidden files and folders are not read."})
	}
	return files
}

var (
	errFolder  = errors.New("is a folder")
	errSpecial = errors.New("is no regular file")
	errLarge   = errors.New("is larger than 64 MiB")
)

const largest = 64 << 20

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errFolder
	case !info.Mode().IsRegular(): // a pipe would keep us waiting
		return nil, errSpecial
	case info.Size() > largest:
		return nil, errLarge
	}
	return os.ReadFile(path)
}

func unreadable(name string, err error) *Error {
	e := &Error{File: name, Message: err.Error()}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Message, e.Cure = "does not exist", "Create a folder there with at least one .yaml file, or give the path of yours."
	case errors.Is(err, fs.ErrPermission):
		e.Message, e.Cure = "may not be read", "Let the agent's user read it: chmod a+r for a file, a+rx for a folder."
	case errors.Is(err, errSpecial), errors.Is(err, errLarge):
		e.Cure = "Replace it by an ordinary text file, or remove it."
	default:
		e.Cure = "Correct that and try again."
	}
	return e
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)
	yamlAnchor = regexp.MustCompile(`unknown anchor '([^']+)'`)
)

// lineOf is the line of the first text of a form, 0 where there is none.
func (f file) lineOf(form string) int {
	at := regexp.MustCompile(form).FindIndex(f.text)
	if at == nil {
		return 0
	}
	return 1 + bytes.Count(f.text[:at[1]], []byte("\n"))
}

// readTo is the line up to which yaml.v3 reads a broken file: the one that
// puzzles it, or the next.
func (f file) readTo() int {
	lines := &lineReader{rest: f.text}
	for dec := yaml.NewDecoder(lines); dec.Decode(new(yaml.Node)) == nil; { // an earlier document may be whole
	}
	return lines.read
}

// lineReader hands out a text line by line.
type lineReader struct {
	rest []byte
	read int // lines
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	end := bytes.IndexByte(r.rest, '\n') + 1
	if end == 0 {
		end = len(r.rest)
	}
	n := copy(p, r.rest[:end])
	if n == end {
		r.read++
	}
	r.rest = r.rest[n:]
	return n, nil
}

// parse reads the node tree of the one document of a file; nil where there is
// none. yaml.v3's decoder is not used any further: it stops checking keys
// below types that decode themselves, reads 0201 as 129, and drops further
// documents in silence.
func (f file) parse(faults *faults) (doc *yaml.Node) {
	fail := func(line int, cure, message string) {
		faults.add(&Error{File: f.name, Line: line, Message: message, Cure: cure})
	}
	if i := bytes.IndexByte(f.text, 0); i >= 0 {
		fail(1+bytes.Count(f.text[:i], []byte("\n")), "Save it as UTF-8 text.", "is no text: it holds a zero byte")
		return nil
	}
	if i := firstInvalid(f.text); i >= 0 {
		fail(1+bytes.Count(f.text[:i], []byte("\n")), "Save it as UTF-8.", "is no UTF-8 text")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(f.text))
	next := func() (*yaml.Node, bool) {
		n := new(yaml.Node)
		err := dec.Decode(n)
		if err == nil || errors.Is(err, io.EOF) {
			return n, err == nil
		}
		m := yamlLine.FindStringSubmatch(err.Error())
		if m == nil {
			m = []string{"", ""}
		}
		line, _ := strconv.Atoi(m[1])
		cure := "Compare indentation, colons, quotes and brackets around this line with a part that works."
		// yaml.v3 tells the line where what it was in begins, or none.
		switch anchor := yamlAnchor.FindStringSubmatch(err.Error()); {
		case strings.Contains(err.Error(), "tab"), strings.Contains(err.Error(), "cannot start any token"):
			cure = "Indent with blanks, not with tabs, and put texts with special characters in quotes."
			line = cmp.Or(f.lineOf(`(?m)^ *\t`), line)
		case anchor != nil:
			cure = "Define it above with &" + anchor[1] + ", in the same file."
			line = f.lineOf(`\*` + regexp.QuoteMeta(anchor[1]) + `\b`)
		case strings.Contains(err.Error(), "did not find expected"):
			line = f.readTo()
			cure = "Compare indentation, colons, quotes and brackets here and in the line above with a part that works."
		}
		fail(line, cure, "is not YAML: "+strings.TrimPrefix(err.Error(), m[0]))
		return nil, false
	}
	first, ok := next()
	if !ok {
		return nil
	}
	if second, ok := next(); ok {
		fail(second.Line, "Put it into a file of its own, or remove the --- above it.", "a second document begins here, which would not be read")
	}
	if len(first.Content) == 0 || null(first.Content[0]) {
		return nil
	}
	return first.Content[0]
}

var sections = []string{"node", string(KindMount), string(KindGolden), string(KindRestore), string(KindGuest), string(KindSnapshot), string(KindBackup)}

// read takes one file in and returns the node that it names.
func (d *Desired) read(src *source, doc *yaml.Node) (node string) {
	top := at{src: src, line: doc.Line}
	if doc.Kind != yaml.MappingNode {
		top.fail("Begin with a section: restores:, guests:, mounts:, golden:, snapshots: or backups:.", "needs sections at the top, this is %s", show(doc))
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
			here.fail(suggest(p.key, sections)+" Your own keys begin with x-.", "is not a section I know")
		case null(p.value):
			here.fail("Declare something in it, or remove the line.", "is empty")
		case p.key == "node":
		default:
			d.readSection(here, Kind(p.key), node, p.value)
		}
	}
	return node
}

func (d *Desired) readSection(a at, k Kind, node string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		a.fail("Write names with what belongs to them below: "+string(k)+": {NAME: {…}}.", "needs a map of objects, this is %s", show(n))
		return
	}
	for _, p := range a.pairs(n) {
		o := Object{Ref: Ref{k, p.key}, Pos: Pos{a.src.name, p.line}, lines: map[string]int{}}
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
		switch k {
		case KindMount:
			d.Mounts[p.key] = readObject(here, mountShape, p.value, node)
		case KindGolden:
			d.Golden[p.key] = readObject(here, goldenShape, p.value, node)
		case KindRestore:
			d.Restores[p.key] = readObject(here, restoreShape, p.value, node)
		case KindGuest:
			d.Guests[p.key] = readObject(here, guestShape, p.value, node)
			d.Guests[p.key].Adopt = true
		case KindSnapshot:
			d.Snapshots[p.key] = readObject(here, snapshotShape, p.value, node)
		case KindBackup:
			d.Backups[p.key] = readObject(here, backupShape, p.value, node)
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

// firstInvalid is where a text stops being UTF-8, or -1. Text in UTF-16, which yaml.v3 reads, begins with its mark.
func firstInvalid(text []byte) int {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return -1
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
