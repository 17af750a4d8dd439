package pvesim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
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

func (f *Fault) check() error {
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

// Inject adds a fault to the world.
func (s *Sim) Inject(f Fault) error {
	if err := f.check(); err != nil {
		return fmt.Errorf("pvesim: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w.Faults = append(s.w.Faults, &f)
	return nil
}

// fault is the first one that hits what happens now.
func (s *Sim) fault(what string) *Fault {
	for _, f := range s.w.Faults {
		if !glob(f.Match, what) || f.Effect == "stopping" && !s.stopping() {
			continue
		}
		f.Seen++
		times := f.Times
		if times == 0 {
			times = 1
		}
		if f.Seen <= f.Skip || times > 0 && f.Hit >= times {
			continue
		}
		f.Hit++
		return f
	}
	return nil
}

// stopping reports whether a container is being stopped.
func (s *Sim) stopping() bool {
	return slices.ContainsFunc(s.running, func(t *task) bool {
		return t.Type == "vzstop" || t.Type == "vzshutdown" || t.Type == "vzreboot"
	})
}

// glob matches with * for anything, slashes too; a task's ID may be left out.
func glob(pattern, text string) bool {
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

// answerFault answers a call, unless a fault comes between.
func (s *Sim) answerFault(ctx context.Context, c *call) (answer, error) {
	if len(s.w.Faults) == 0 {
		return s.outcome(ctx, c)
	}
	f := s.fault(c.method + " " + c.path)
	if f == nil {
		return s.outcome(ctx, c)
	}
	text := func(def string) string {
		if f.Text != "" {
			return f.Text
		}
		return def
	}
	wait := func() error {
		if f.For > 0 {
			return s.sleepUntil(ctx, s.now.Add(f.For), nil)
		}
		return nil
	}
	switch f.Effect {
	case "refused":
		return plain(595, text("Connection refused"), ""), wait()
	case "lost":
		return plain(596, text("Connection timed out"), ""), wait()
	case "lost-after":
		if _, err := s.outcome(ctx, c); err != nil {
			return answer{}, err
		}
		return plain(596, text("Broken pipe"), ""), wait()
	case "late":
		d := f.For
		if d == 0 {
			d = 30 * time.Second
		}
		if c.who != nil {
			s.w.Events = append(s.w.Events, &event{At: s.now.Add(d), Kind: "request",
				As: c.who.id, Method: c.method, Path: c.path, Params: c.params})
		}
		return plain(596, text("Connection timed out"), ""), nil
	case "eof":
		return answer{eof: true}, wait()
	case "eof-after":
		if _, err := s.outcome(ctx, c); err != nil {
			return answer{}, err
		}
		return answer{eof: true}, wait()
	case "twice":
		a, err := s.outcome(ctx, c)
		if err == nil && a.code == 200 {
			a.body = repeated(a.body, f.Text)
		}
		return a, err
	case "error-after":
		if _, err := s.outcome(ctx, c); err != nil {
			return answer{}, err
		}
		return respond(c, fail("%s", text("got an error"))), wait()
	case "stopping": // as seen on a node of PVE 9.2.11
		return respond(c, fail("%s", text("failed to read from command socket: Connection reset by peer"))), wait()
	case "error":
		return respond(c, fail("%s", text("got an error"))), wait()
	default: // slow
		if err := wait(); err != nil {
			return answer{}, err
		}
		return s.outcome(ctx, c)
	}
}

// repeated is an answer whose list names each entry twice, the second time with another value.
func repeated(body []byte, change string) []byte {
	var wire map[string]json.RawMessage
	var list []map[string]json.RawMessage
	if json.Unmarshal(body, &wire) != nil || json.Unmarshal(wire["data"], &list) != nil {
		return body
	}
	key, value, changes := strings.Cut(change, "=")
	var twice []map[string]json.RawMessage
	for _, entry := range list {
		second := maps.Clone(entry)
		if _, there := entry[key]; there && changes {
			second[key], _ = json.Marshal(value)
		}
		twice = append(twice, entry, second)
	}
	wire["data"], _ = json.Marshal(twice)
	body, _ = json.Marshal(wire)
	return body
}

// outcome dispatches a call; an error is the caller's context that ended.
func (s *Sim) outcome(ctx context.Context, c *call) (answer, error) {
	err := s.dispatch(ctx, c)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return answer{}, err
	}
	return respond(c, err), nil
}
