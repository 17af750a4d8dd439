package marker

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// A Marker is the one line by which a guest, a snapshot or an archive says whose
// it is. It stands in a guest's description inside an HTML comment (PVE renders
// notes as Markdown, so nobody sees it), in a snapshot's description, and in the
// first line of an archive's notes, the only line that PVE's listings show:
//
//	felhom-agent/1 web vmid=201 owner=pve1 born=2026-11-22T17:02:09Z
//	felhom-agent/1 backups/nightly vmid=201 owner=pve1 born=… begun=… guest=web host=pve1 size=40802189312
//
// It is read anywhere in the text and written at its end. The facts of a guest are from
// (golden/NAME or the archive that it was made from), want (see wishHash) and rollback; of
// a golden template, revision, digest and sealed; of an archive guest, host (the node that made it), size and begun (when, UTC), or those of
// its golden; of a snapshot guest.
type Marker struct {
	Object string       // "web" for golden, restores and guests, else "snapshots/x" or "backups/x"
	VMID   proxmox.VMID // the guest's
	Owner  string       // the agent's key owner: by default the node's name
	Born   time.Time    // the node's time at which this data began; to the second, UTC
	Facts  map[string]string
}

// markerHead begins every marker; the number is the format's.
const markerHead = "felhom-agent/1 "

// String prints the marker in its one canonical form.
func (m Marker) String() string {
	var b strings.Builder
	b.Grow(160) // most are shorter
	for _, part := range []string{markerHead, m.Object, " vmid=", strconv.Itoa(int(m.VMID)), " owner=", m.Owner} {
		b.WriteString(part)
	}
	if !m.Born.IsZero() {
		b.WriteString(" born=")
		b.WriteString(m.Born.UTC().Format(time.RFC3339))
	}
	for _, key := range slices.Sorted(maps.Keys(m.Facts)) {
		for _, part := range []string{" ", key, "=", m.Facts[key]} {
			b.WriteString(part)
		}
	}
	return b.String()
}

// With returns the marker with one more fact; an empty value drops the fact.
func (m Marker) With(key, value string) Marker {
	facts := maps.Clone(m.Facts)
	if facts == nil {
		facts = map[string]string{}
	}
	if value == "" {
		delete(facts, key)
	} else {
		facts[key] = value
	}
	m.Facts = facts
	return m
}

// FindMarkers returns every marker in text, in order. It is generous in what may
// stand around a marker and strict in the marker itself: an edited note must not turn
// a stranger's text into one.
func FindMarkers(text string) []Marker {
	var found []Marker
	for {
		m, rest, ok := nextMarker(text)
		if !ok {
			return found
		}
		text = rest
		found = append(found, m)
	}
}

// nextMarker reads the first marker in text, and returns what follows it.
func nextMarker(text string) (m Marker, rest string, ok bool) {
	for {
		_, rest, ok := strings.Cut(text, markerHead)
		if !ok {
			return Marker{}, "", false
		}
		text = rest
		object, rest := word(rest)
		if !objectName(object) {
			continue
		}
		m := Marker{Object: object}
		for strings.HasPrefix(rest, " ") {
			pair, after := word(rest[1:])
			key, value, ok := strings.Cut(pair, "=")
			if !ok || value == "" || !factName(key) {
				break
			}
			rest = after
			switch key {
			case "vmid":
				if n, err := strconv.Atoi(value); err == nil {
					m.VMID = proxmox.VMID(n)
				}
			case "owner":
				m.Owner = value
			case "born":
				m.Born, _ = time.Parse(time.RFC3339, value)
			default:
				if m.Facts == nil {
					m.Facts = map[string]string{}
				}
				m.Facts[key] = value
			}
		}
		return m, rest, true
	}
}

// factName reports whether a word can name a fact: "size".
func factName(s string) bool {
	for i := range len(s) {
		if s[i] < 'a' || s[i] > 'z' {
			return false
		}
	}
	return s != ""
}

// word cuts text before the first blank, line end or angle bracket.
func word(text string) (first, rest string) {
	for i := range len(text) {
		switch text[i] {
		case ' ', '\t', '\r', '\n', '<', '>':
			return text[:i], text[i:]
		}
	}
	return text, ""
}

// objectName reports whether a word can name an object: "web", "backups/nightly".
func objectName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._/-", r)
	}) && !strings.ContainsRune("._/-", rune(s[0]))
}

// OneMarker returns the marker of a text that holds exactly one; two markers are
// as foreign as none, for nobody can say which of them is true. Its facts are shared by all who
// ask about this text, so they are only read; see [Marker.With].
func OneMarker(text string) (Marker, bool) {
	if !strings.Contains(text, markerHead) {
		return Marker{}, false
	}
	return read.one(text)
}

// ReadOne is OneMarker for who remembers it.
func ReadOne(text string) (Marker, bool) {
	m, rest, ok := nextMarker(text)
	if !ok {
		return Marker{}, false
	}
	if _, _, second := nextMarker(rest); second {
		return Marker{}, false
	}
	return m, true
}

// read are texts that were read: the same are asked about again and again, in every look and by
// every planner.
var read = memo{of: map[string]noted{}}

// What is remembered is at most so many texts, 2 MB in all, of at most so many bytes. When it is
// full all is forgotten.
const mostRead, longestRead = 2048, 512

type memo struct {
	mu sync.RWMutex
	of map[string]noted
}

// noted is what a text says.
type noted struct {
	marker Marker
	one    bool // it bears one marker
}

func (r *memo) one(text string) (Marker, bool) {
	r.mu.RLock()
	has, known := r.of[text]
	r.mu.RUnlock()
	if known {
		return has.marker, has.one
	}
	keep := len(text) <= longestRead
	if keep {
		text = strings.Clone(text) // which may be a part of something great
	}
	m, one := ReadOne(text)
	if keep {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.of) >= mostRead {
			clear(r.of)
		}
		r.of[text] = noted{m, one}
	}
	return m, one
}

// Equal reports whether two markers print the same.
func (m Marker) Equal(other Marker) bool {
	return m.Object == other.Object && m.VMID == other.VMID && m.Owner == other.Owner && m.Born.Unix() == other.Born.Unix() && m.Born.IsZero() == other.Born.IsZero() && maps.Equal(m.Facts, other.Facts)
}

// isMarkerLine reports whether a line holds nothing but a marker, in its comment or bare.
func isMarkerLine(line string) bool {
	line = strings.TrimLeft(line, " \t")
	if inside, comment := strings.CutPrefix(line, "<!--"); comment {
		line = strings.TrimLeft(inside, " \t")
	}
	return strings.HasPrefix(line, markerHead)
}

// WithoutMarker returns what people wrote in a description: the text without the
// marker's line and without trailing newlines, which PVE adds or loses.
func WithoutMarker(text string) string {
	if strings.Contains(text, markerHead) {
		var b strings.Builder
		for line := range strings.Lines(text) {
			if !isMarkerLine(line) {
				b.WriteString(line)
			}
		}
		text = b.String()
	}
	return strings.TrimRight(text, "\n")
}

// Describe joins what people wrote and the marker into a description for PVE.
func Describe(text string, m Marker) string {
	comment := "<!-- " + m.String() + " -->"
	if text = strings.TrimRight(text, "\n"); text == "" {
		return comment
	}
	return text + "\n" + comment
}
