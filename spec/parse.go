package spec

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// What the texts may hold in all. An entry is a key, an item of a list or a
// line, and costs about 180 bytes while it is read: 8 MiB of "- 1" would cost 500
// MiB. A household of 10,000 objects has some 190,000.
const (
	mostEntries = 200_000
	mostBrought = 1_000_000 // pairs and items that are walked, those by anchors too
)

// limits are what is left of them.
type limits struct {
	entries, brought int
	said             bool // that something was too much

	byKind   map[Kind]*yaml.Node    // the defaults
	defaults map[*yaml.Node]*source // where each of their keys stands
	resolved map[Ref]*yaml.Node     // where not nil: what each object is after merges
}

// entries is at least a third of the nodes that yaml.v3 makes of a text: one
// character of these begins or ends each.
func (f file) entries() (n int) {
	for _, c := range f.text {
		switch c {
		case '\n', '\r', ',', '[', '{', ':', '-', '?', '*':
			n++
		}
	}
	return n
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)
	yamlAnchor = regexp.MustCompile(`unknown anchor '([^']+)'`)
	section    = regexp.MustCompile(`(?m)^["']?(node|mounts|golden|restores|guests|snapshots|backups)["']? *:`)
)

// lineOf is the line of the first text of a form, 0 where there is none.
func (f file) lineOf(form string) int {
	at := regexp.MustCompile(form).FindIndex(f.text)
	if at == nil {
		return 0
	}
	return f.lineAt(at[1])
}

// lineAt is the line of a byte, counted from 1.
func (f file) lineAt(i int) int { return 1 + bytes.Count(f.text[:i], []byte("\n")) }

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
func (f file) parse(faults *faults, left *limits) (doc *yaml.Node) {
	fail := func(line int, fix, message string) {
		faults.add(&Error{File: f.name, Line: line, Message: message, Fix: fix})
	}
	if i, what, fix := f.notText(); i >= 0 {
		fail(f.lineAt(i), fix, what)
		return nil
	}
	if left.entries -= f.entries(); left.entries < 0 {
		fail(0, "Remove what does not belong to it.", fmt.Sprintf("makes more than %d keys, items and lines of the desired state", mostEntries))
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(f.text))
	next := func() (*yaml.Node, bool) {
		n := new(yaml.Node)
		err := dec.Decode(n)
		if err != nil && !errors.Is(err, io.EOF) {
			fail(f.explain(err))
		}
		return n, err == nil
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

// explain says what is wrong with a text that yaml.v3 does not understand, and
// in which line.
func (f file) explain(err error) (line int, fix, message string) {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		m = []string{"", ""}
	}
	line, _ = strconv.Atoi(m[1])
	message = "is not YAML: " + strings.TrimPrefix(err.Error(), m[0])
	fix = "Compare indentation, colons, quotes and brackets around this line with a part that works."
	// yaml.v3 tells the line where what it was in begins, or none.
	switch anchor := yamlAnchor.FindStringSubmatch(err.Error()); {
	case strings.Contains(err.Error(), "tab"), strings.Contains(err.Error(), "cannot start any token"):
		fix = "Indent with spaces, not with tabs, and put texts with special characters in quotes."
		line = cmp.Or(f.lineOf(`(?m)^ *\t`), line)
	case anchor != nil:
		line = f.lineOf(`\*` + regexp.QuoteMeta(anchor[1]) + `\b`)
		fix = "Define it above with &" + anchor[1] + ", in the same file."
		if !section.Match(f.text) { // it may be any text that begins with *, also a secret
			message, fix = "is not YAML: unknown anchor (its content is not shown)", "Define it above, in the same file."
		}
	case strings.Contains(err.Error(), "did not find expected"):
		line = f.readTo()
		fix = "Compare indentation, colons, quotes and brackets here and in the line above with a part that works."
	}
	return line, fix, message
}

// notText finds the first byte that keeps a file from being YAML text, -1 where
// there is none.
func (f file) notText() (at int, what, fix string) {
	if i := bytes.IndexByte(f.text, 0); i >= 0 {
		return i, "is not text: it contains a zero byte", "Save it as UTF-8 text."
	}
	if bytes.HasPrefix(f.text, []byte("\xff\xfe")) || bytes.HasPrefix(f.text, []byte("\xfe\xff")) {
		return -1, "", "" // UTF-16, which yaml.v3 reads, begins with its mark
	}
	for i := 0; i < len(f.text); {
		r, size := utf8.DecodeRune(f.text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return i, "is not UTF-8 text", "Save it as UTF-8."
		case !printable(r) && !(i == 0 && r == '\ufeff'):
			return i, fmt.Sprintf("holds the control character U+%04X in column %d", r, f.column(i)), "Remove it; in double quotes it is written " + escaped(r) + "."
		}
		i += size
	}
	return -1, "", ""
}

// printable tells the characters that YAML 1.2 allows in a text (§5.1).
func printable(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r', r == 0x85:
		return true
	case r < ' ', r >= 0x7f && r < 0xa0, r == '\ufeff', r == 0xfffe, r == 0xffff:
		return false
	}
	return true
}

// column counts the characters of a line up to a byte, from 1.
func (f file) column(i int) int {
	return 1 + utf8.RuneCount(f.text[bytes.LastIndexByte(f.text[:i], '\n')+1:i])
}

// escaped is how YAML writes a character in double quotes.
func escaped(r rune) string {
	if r > 0xff {
		return fmt.Sprintf(`\u%04X`, r)
	}
	return fmt.Sprintf(`\x%02X`, r)
}
