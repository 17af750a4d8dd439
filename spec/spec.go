package spec

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is a section of the language.
type Kind string

// The kinds, in the order in which they are shown and hashed.
const (
	KindMount    Kind = "mounts"    // USB disks mounted on the host
	KindGolden   Kind = "golden"    // guests built from a template by root and published as an archive
	KindRestore  Kind = "restores"  // guests made by restoring an archive
	KindGuest    Kind = "guests"    // guests that already exist
	KindSnapshot Kind = "snapshots" // named and periodic snapshots
	KindBackup   Kind = "backups"   // periodic backups
	KindTest     Kind = "tests"     // periodic restore tests of backups
)

// Kinds are all kinds in their order.
func Kinds() []Kind {
	return []Kind{KindMount, KindGolden, KindRestore, KindGuest, KindSnapshot, KindBackup, KindTest}
}

// String is the name of the section.
func (k Kind) String() string { return string(k) }

// Ref names an object.
type Ref struct {
	Kind Kind
	Name string
}

// String is "restores/web".
func (r Ref) String() string { return string(r.Kind) + "/" + r.Name }

// ParseRef reads "restores/web". It does not ask whether such an object is
// declared.
func ParseRef(s string) (Ref, error) {
	kind, name, ok := strings.Cut(s, "/")
	if !ok || name == "" {
		return Ref{}, fmt.Errorf("%q names no object: write KIND/NAME, for example restores/web", s)
	}
	if !slices.Contains(Kinds(), Kind(kind)) {
		return Ref{}, fmt.Errorf("%q names no kind of object: the kinds are mounts, golden, restores, guests, snapshots, backups and tests", kind)
	}
	return Ref{Kind(kind), name}, nil
}

// MarshalText prints the reference as it is written: "restores/web".
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText prints.
func (r *Ref) UnmarshalText(text []byte) error {
	ref, err := ParseRef(string(text))
	*r = ref
	return err
}

// Pos is a place in a file. File is what a user would recognise: the path
// below the folder that was loaded, or the file's base name.
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

// String is "pve1.yaml:12".
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// IsZero reports whether the place is unknown.
func (p Pos) IsZero() bool { return p == Pos{} }

// Desired is one checked household. It is not changed after Load.
type Desired struct {
	// Node is the node that the files name at their top, empty where they name
	// none or several. An object's own is in Object.Node.
	Node string

	Mounts    map[string]*Mount
	Golden    map[string]*Golden
	Restores  map[string]*Guest
	Guests    map[string]*Guest
	Snapshots map[string]*Snapshot
	Backups   map[string]*Backup
	Tests     map[string]*Test

	// Files are the names of the files read, sorted, as in Pos.File.
	Files []string
	// PassedOver are up to 20 names in the folder that were not read and are not
	// known for something else: "web.json", "more/" for a folder. Hidden files,
	// what editors leave behind, README, LICENSE and *.md are not among them.
	PassedOver []string
	// Hash is the SHA-256 (hex) over names and contents of the files.
	Hash string
	// Commit is the commit of a repository that the files are (hex), as whoever loads
	// them knows it; Load leaves it empty.
	Commit string

	guests []*Guest // see AllGuests; nil: not sorted yet
}

// Drift says what happens to changes made elsewhere.
type Drift string

// The policies against drift; empty means the kind's default, which is
// DriftHeal under restores and DriftReport under guests.
const (
	DriftHeal   Drift = "heal"   // changed back
	DriftReport Drift = "report" // only shown
)

// Object is what every object has.
type Object struct {
	Ref Ref
	Pos Pos // of the object's name

	Paused  bool
	Node    string        // the object's own, else its file's, else empty
	Was     string        // an earlier name of the object, whose marker is accepted
	Drift   Drift         // empty: the kind's default
	Timeout time.Duration // how long a task of ours is waited for; 0: the default
	Despite time.Time     // create although there is data older than this; zero: never

	guestWas string // of a snapshot object of a series: the earlier name of its guest

	lines map[string]Pos // of the fields that the YAML states; those of defaults are in another file
}

// At is the place of a field such as "config.memory" or "config.net0.ip", else
// of the nearest parent that the YAML states, else of the object.
func (o *Object) At(field string) Pos {
	for field != "" {
		if at, ok := o.lines[field]; ok {
			return at
		}
		field = field[:max(strings.LastIndexByte(field, '.'), 0)]
	}
	return o.Pos
}

// Has reports whether the YAML states the field.
func (o *Object) Has(field string) bool {
	_, ok := o.lines[field]
	return ok
}

// Refs are all objects, by kind, then by name.
func (d *Desired) Refs() []Ref {
	refs := make([]Ref, 0, d.Len())
	for _, k := range Kinds() {
		n := len(refs)
		d.each(k, func(o *Object) { refs = append(refs, o.Ref) })
		slices.SortFunc(refs[n:], func(a, b Ref) int { return strings.Compare(a.Name, b.Name) })
	}
	return refs
}

// Object is the common part of an object, nil where none is declared.
func (d *Desired) Object(r Ref) *Object {
	switch r.Kind {
	case KindMount:
		return common(d.Mounts[r.Name])
	case KindGolden:
		return common(d.Golden[r.Name])
	case KindRestore:
		return common(d.Restores[r.Name])
	case KindGuest:
		return common(d.Guests[r.Name])
	case KindSnapshot:
		return common(d.Snapshots[r.Name])
	case KindBackup:
		return common(d.Backups[r.Name])
	case KindTest:
		return common(d.Tests[r.Name])
	}
	return nil
}

func (o *Object) object() *Object { return o }

// declared is a pointer to any kind's object.
type declared[T any] interface {
	*T
	object() *Object
}

func common[T any, P declared[T]](p P) *Object {
	if p == nil {
		return nil
	}
	return p.object()
}

// each calls f for every object of a kind, in no order.
func (d *Desired) each(k Kind, f func(*Object)) {
	switch k {
	case KindMount:
		visit(d.Mounts, f)
	case KindGolden:
		visit(d.Golden, f)
	case KindRestore:
		visit(d.Restores, f)
	case KindGuest:
		visit(d.Guests, f)
	case KindSnapshot:
		visit(d.Snapshots, f)
	case KindBackup:
		visit(d.Backups, f)
	case KindTest:
		visit(d.Tests, f)
	}
}

func visit[T any, P declared[T]](m map[string]P, f func(*Object)) {
	for _, p := range m {
		f(p.object())
	}
}

// Len is the number of objects.
func (d *Desired) Len() int {
	return len(d.Mounts) + len(d.Golden) + len(d.Restores) + len(d.Guests) + len(d.Snapshots) + len(d.Backups) + len(d.Tests)
}
