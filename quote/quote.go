// Package quote decides what may be shown of text that came from outside: from
// a file, PVE, the root helper, a program or an environment. It keeps secrets
// back, and keeps control characters from reaching a terminal, a log or a page.
//
// [Secret] makes a secret known. [Text] takes secrets out, and [Line] makes one
// line of what is left; everything else here ends in these two. [Fprintf] is
// for text that is composed of own words and foreign values, [NewWriter] is the
// last line before a terminal, a log or a file.
package quote

import (
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Hidden is shown in the place of a secret.
const Hidden = "********"

var known struct {
	sync.RWMutex
	secrets []string // the longest first, so that one inside another leaves no rest
}

// shortest is the length in bytes below which a secret is not looked for: it
// would be found in words. PVE's secrets have 36.
const shortest = 8

// Secret makes a secret known to this process. From then on nothing here shows
// it. One of fewer than 8 bytes is not taken.
func Secret(s string) {
	known.Lock()
	defer known.Unlock()
	if len(s) < shortest || slices.Contains(known.secrets, s) {
		return
	}
	known.secrets = append(slices.Clone(known.secrets), s)
	slices.SortStableFunc(known.secrets, func(a, b string) int { return len(b) - len(a) })
}

var (
	// A token as PVE writes it into a header, and as people paste it: USER@REALM!NAME=SECRET.
	tokenForm = regexp.MustCompile(`(![A-Za-z][A-Za-z0-9._-]*(?:=|%3[Dd]))[^\s"'` + "`" + `,;]+`)
	// The secret that PVE makes for a token is a random UUID. It cannot be told from that of a disk.
	uuidForm = regexp.MustCompile(`(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b`)
	keyForm  = regexp.MustCompile(`(?i)secret|passw|passphrase|token|credential|api_?key|private_?key|authorization|cookie|\bpsk\b`)
	quoted   = regexp.MustCompile(`"(?:[^"\\]|\\.)*(?:"|$)`)
)

// Text is what may be shown of a text: no known secret is in it, and nothing
// that follows the = of a token ID.
func Text(s string) string {
	known.RLock()
	secrets := known.secrets
	known.RUnlock()
	for _, secret := range secrets {
		s = strings.ReplaceAll(s, secret, Hidden)
	}
	if strings.Contains(s, "!") { // quickly, for most
		s = tokenForm.ReplaceAllString(s, "${1}"+Hidden)
	}
	return s
}

// Beside is what may be shown of a message about the value of a key, such as
// "guests.web.config.memory". Beside a key that looks like a secret nothing in
// double quotes stays, and a UUID, which is the form of PVE's secrets, stays
// only where the key says that it is one.
func Beside(key, message string) string {
	if keyForm.MatchString(key) && !strings.HasSuffix(strings.ToLower(key), "token_id") {
		message = quoted.ReplaceAllString(message, `"`+Hidden+`"`)
	}
	if last := key[strings.LastIndexByte(key, '.')+1:]; last != "uuid" {
		message = uuidForm.ReplaceAllString(message, Hidden)
	}
	return Text(message)
}

// hides tells the characters that a terminal obeys or that turn text around:
// C0, DEL, C1, all format characters (among them those of Unicode's
// bidirectional algorithm), the separators of lines and paragraphs, and blanks
// that look like a blank and are another.
func hides(r rune) bool {
	return unicode.IsControl(r) || r > ' ' && unicode.In(r, unicode.Cf, unicode.Z)
}

// escape appends a character in the form of JSON, so that text in JSON stays JSON.
func escape(to []byte, r rune) []byte {
	switch r {
	case '\n':
		return append(to, `\n`...)
	case '\t':
		return append(to, `\t`...)
	case '\r':
		return append(to, `\r`...)
	}
	if r > 0xffff {
		r -= 0x10000
		return fmt.Appendf(to, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
	}
	return fmt.Appendf(to, `\u%04x`, r)
}

// Line is what may be shown of a text, as a part of one line: newlines and
// other characters that do not show themselves are written as in JSON, and
// bytes that are no UTF-8 as U+FFFD.
func Line(s string) string {
	s = Text(s)
	if utf8.ValidString(s) && !strings.ContainsFunc(s, hides) {
		return s
	}
	var b []byte
	for _, r := range s {
		if hides(r) {
			b = escape(b, r)
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return string(b)
}

// Own is text of this program's own, with lines and colours that stay.
type Own string

// Fprintf is fmt.Fprintf, where the format is the program's and the values are
// foreign: texts, lists of texts, errors and what prints itself are shown as
// [Line] shows them, but for [Own].
func Fprintf(w io.Writer, format string, values ...any) (int, error) {
	return fmt.Fprintf(w, format, shown(values)...)
}

// Sprintf is to Fprintf as fmt.Sprintf is to fmt.Fprintf.
func Sprintf(format string, values ...any) string { return fmt.Sprintf(format, shown(values)...) }

func shown(values []any) []any {
	all := make([]any, len(values))
	for i, value := range values {
		all[i] = show(value)
	}
	return all
}

func show(value any) any {
	switch v := value.(type) {
	case Own:
		return string(v)
	case string:
		return Line(v)
	case []string:
		lines := make([]string, len(v))
		for i, s := range v {
			lines[i] = Line(s)
		}
		return lines
	case error:
		return Line(v.Error())
	}
	v := reflect.ValueOf(value)
	if printer, ok := value.(fmt.Stringer); ok && (v.Kind() == reflect.Struct || v.Kind() == reflect.String || v.Kind() == reflect.Pointer && !v.IsNil()) {
		return Line(printer.String())
	}
	if v.Kind() == reflect.String {
		return Line(v.String())
	}
	return value
}
