package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// JSON is JSON in which a marker and an arrow (<!--, ->) are not escaped; who prints it into a document says
// whether they stay so.
func JSON(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return b.Bytes(), err
}

// Duration prints a duration for JSON, or "" for none.
func Duration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func Ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func OrElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// Count prints "1 snapshot" or "3 snapshots".
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// List prints "a", "a and b", "a, b and c".
func List(items []string) string {
	switch len(items) {
	case 0:
		return ""
	case 1:
		return items[0]
	}
	return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
}

func Elapsed(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("%d s", int(d.Seconds()))
	}
	return fmt.Sprintf("%d min", int(d.Minutes()))
}

const DateLayout = "Mon 2 Jan 15:04:05 MST"

// commands are first words that stay as they are typed.
var commands = []string{"felhom-agent", "pct", "qm", "qmrestore", "ha-manager", "pvesm", "pveum", "umount", "requested:", "from:", "despite:", "owner:", "is:", "was:"}

// Sentence begins a sentence, where the text is one and no command.
func Sentence(s string) string {
	if first, _, _ := strings.Cut(s, " "); slices.Contains(commands, first) {
		return s
	}
	r, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(string(r)) + s[n:]
}

func Clip(s string, n int) string { return s[:min(n, len(s))] }
