package world

import (
	"time"
)

// An Event is something that happens later by itself: a request whose effect is
// delayed, a guest that runs out of memory.
type Event struct {
	At     time.Time         `yaml:"at"`
	Kind   string            `yaml:"kind"`
	VMID   int               `yaml:"vmid,omitempty"`
	As     string            `yaml:"as,omitempty"`
	Method string            `yaml:"method,omitempty"`
	Path   string            `yaml:"path,omitempty"`
	Params map[string]string `yaml:"params,omitempty"`
	Key    string            `yaml:"key,omitempty"`
}
