package world

import (
	"regexp"
	"sync"
)

// A NamePattern is a regular expression for names of volumes. A world has few of them and lists
// them all the time, so what was found in a name is remembered.
type NamePattern struct {
	re    *regexp.Regexp
	mu    sync.RWMutex
	found map[string][]string
}

// mostNames bounds what a NamePattern remembers.
const mostNames = 4096

func namePattern(expression string) *NamePattern {
	return &NamePattern{re: regexp.MustCompile(expression), found: map[string][]string{}}
}

// FindStringSubmatch returns the match and its groups, nil without one. They are only read.
func (p *NamePattern) FindStringSubmatch(name string) []string {
	p.mu.RLock()
	m, known := p.found[name]
	p.mu.RUnlock()
	if known {
		return m
	}
	m = p.re.FindStringSubmatch(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.found) >= mostNames {
		clear(p.found)
	}
	p.found[name] = m
	return m
}

// MatchString reports whether there is a match.
func (p *NamePattern) MatchString(name string) bool { return p.FindStringSubmatch(name) != nil }
