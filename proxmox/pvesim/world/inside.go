package world

import (
	"maps"
	"slices"
)

// Inside is what runs and is stored in a guest, as far as root can find out from outside. It goes
// into the guest's archives and comes back with a restore: an archive whose inside says that a
// service failed is one of a damaged service.
type Inside struct {
	NoSystemd bool                  `yaml:"no-systemd,omitempty"`
	Boots     int                   `yaml:"boots,omitempty"` // seconds after its start during which nothing of it runs and systemd says "starting"
	Units     map[string]string     `yaml:"units,omitempty"` // by name: active, inactive, failed …
	Processes []string              `yaml:"processes,omitempty"`
	Ports     map[int]int           `yaml:"ports,omitempty"` // TCP ports that are listened on, with the status that a GET is answered with; 0: no HTTP
	Files     map[string]InsideFile `yaml:"files,omitempty"` // by absolute path
	// FailsAt are values of the guest's configuration, by key, with any of which every unit fails.
	FailsAt map[string]string `yaml:"fails-at,omitempty"`
}

// An InsideFile is one file in a guest.
type InsideFile struct {
	Text     string `yaml:"text,omitempty"`
	Modified int64  `yaml:"modified,omitempty"` // in Unix seconds
	Link     bool   `yaml:"link,omitempty"`     // a symbolic link that leads out of the guest
}

// Copy shares nothing with the original; a copy of nil is nil.
func (i *Inside) Copy() *Inside {
	if i == nil {
		return nil
	}
	c := *i
	c.Units, c.Ports, c.Files, c.FailsAt = maps.Clone(i.Units), maps.Clone(i.Ports), maps.Clone(i.Files), maps.Clone(i.FailsAt)
	c.Processes = slices.Clone(i.Processes)
	return &c
}

// Failed are the units that failed, by name.
func (i *Inside) Failed() []string {
	var failed []string
	for _, name := range slices.Sorted(maps.Keys(i.Units)) {
		if i.Units[name] == "failed" {
			failed = append(failed, name)
		}
	}
	return failed
}
