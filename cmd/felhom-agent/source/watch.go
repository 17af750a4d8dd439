package source

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/spec"
)

// Load returns the desired state in force, after a look whether the files have changed. A broken edit is
// told of once, and changes nothing.
func (s *Source) Load() *spec.Desired {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, err := spec.Fingerprint(s.Path)
	if err != nil {
		seen = err.Error()
	}
	if seen == s.seen {
		return s.good
	}
	s.seen = seen
	want, err := s.Read()
	switch {
	case err != nil:
		var text strings.Builder
		WriteErrors(&text, err)
		s.Broken = strings.TrimSpace(text.String())
		if s.good != nil {
			fmt.Fprintf(&text, "The last valid state stays in force.")
		} else {
			fmt.Fprintf(&text, "Nothing is done until it is valid.")
		}
		s.Told(text.String())
	default:
		if s.Broken != "" {
			s.Told(fmt.Sprintf("%s is valid again.", s.Path))
		}
		s.good, s.Broken = want, ""
		if text := PassedOver(want); text != s.passed {
			if s.passed = text; text != "" {
				s.Told(text)
			}
		}
	}
	return s.good
}

// Mistakes are what is wrong with the files now, a line each.
func (s *Source) Mistakes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Broken == "" {
		return nil
	}
	return strings.Split(s.Broken, "\n")
}

// Await waits for a first valid state.
func (s *Source) Await(ctx context.Context, nudge <-chan struct{}, interval time.Duration) bool {
	for s.Load() == nil {
		select {
		case <-ctx.Done():
			return false
		case <-nudge:
		case <-time.After(interval):
		}
	}
	return true
}
