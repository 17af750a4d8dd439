package world

import (
	"fmt"
	"strings"
	"time"
)

// A Fault is something that goes wrong. Faults are part of the world, so that a
// test that fails with one can be kept as one file.
type Fault struct {
	// Match is a request, as method and path below /api2/json ("POST */status/start";
	// a * stands for anything), or a task by its type and ID ("task vzdump", "task vzsnapshot 101").
	Match string `yaml:"match"`
	// Skip lets that many matches pass first; Times is how many are hit then (0 means one, -1 all).
	Skip  int `yaml:"skip,omitempty"`
	Times int `yaml:"times,omitempty"`
	// Effect of a request: refused (595, never delivered), lost (596, no effect), lost-after (596 after
	// the effect), twice (a list names each entry twice; Text "KEY=VALUE" changes the second of
	// those that have the key), late (596, the effect comes after For, 30 s by default), eof (no answer,
	// no effect), eof-after (no answer after the effect), error (500 with Text, no effect), error-after
	// (500 with Text after the effect), stopping (500 as long as a container of the node stops, and only
	// then), slow (answers after For).
	// Effect of a task: fail (with Text, half way), warn (ends with a warning), die (no last line: its
	// end is an unexpected status, and its locks stay), hang (never ends), hollow (ends with OK half way,
	// and its locks stay: a snapshot whose guest dies meanwhile).
	Effect string        `yaml:"effect"`
	Text   string        `yaml:"text,omitempty"`
	For    time.Duration `yaml:"for,omitempty"`

	Seen int `yaml:"seen,omitempty"` // how many matches there were
	Hit  int `yaml:"hit,omitempty"`  // how many of them were hit
}

// Check says what is wrong with a fault.
func (f *Fault) Check() error {
	switch f.Effect {
	case "refused", "lost", "lost-after", "late", "eof", "eof-after", "error", "error-after", "stopping", "slow", "twice":
		if strings.HasPrefix(f.Match, "task ") {
			return fmt.Errorf("fault %q: effect %q is one of requests; tasks know fail, warn, die, hang, hollow", f.Match, f.Effect)
		}
	case "fail", "warn", "die", "hang", "hollow":
		if !strings.HasPrefix(f.Match, "task ") {
			return fmt.Errorf("fault %q: effect %q is one of tasks; match them like \"task vzdump 101\"", f.Match, f.Effect)
		}
	default:
		return fmt.Errorf("fault %q: no effect %q; see the type Fault", f.Match, f.Effect)
	}
	return nil
}

// Glob matches with * for anything, slashes too; a task's ID may be left out.
func Glob(pattern, text string) bool {
	if strings.HasPrefix(pattern, "task ") != strings.HasPrefix(text, "task ") {
		return false
	}
	if strings.HasPrefix(pattern, "task ") && strings.Count(pattern, " ") == 1 {
		pattern += " *"
	}
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	if !strings.HasPrefix(text, head) {
		return false
	}
	text = text[len(head):]
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], more
	}
}
