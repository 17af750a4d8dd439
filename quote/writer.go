package quote

import (
	"bytes"
	"io"
	"regexp"
	"sync"
	"unicode/utf8"
)

// Writer passes text on without secrets and without characters that a terminal
// obeys, but for newlines and tabs.
type Writer struct {
	mu      sync.Mutex
	w       io.Writer
	ansi    bool
	pending []byte // a character or a sequence that is not complete yet
}

// NewWriter writes to w. With ansi, the sequences that this program writes
// itself pass: colours, cursor up, and clearing below the cursor.
func NewWriter(w io.Writer, ansi bool) *Writer { return &Writer{w: w, ansi: ansi} }

var (
	sequence = regexp.MustCompile(`^\x1b\[[0-9;]{0,16}[AJm]`)
	begun    = regexp.MustCompile(`^\x1b(\[[0-9;]{0,16})?$`)
)

// Write shows p. A secret is found in it as far as it is written in one piece.
// It is safe for concurrent use.
func (t *Writer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := []byte(Text(string(append(t.pending, p...))))
	t.pending = nil
	var b bytes.Buffer
	for len(text) > 0 {
		if t.ansi && text[0] == 0x1b {
			if own := sequence.Find(text); own != nil {
				b.Write(own)
				text = text[len(own):]
				continue
			}
			if begun.Match(text) {
				break
			}
		}
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 && !utf8.FullRune(text) {
			break
		}
		switch {
		case r == '\n' || r == '\t' || !hides(r):
			b.WriteRune(r)
		default:
			b.Write(escape(nil, r))
		}
		text = text[size:]
	}
	t.pending = append(t.pending, text...)
	if _, err := t.w.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
