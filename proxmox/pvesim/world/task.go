package world

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
)

// Request are the config keys that the caller gave.
func (t *Task) Request() map[string]string {
	set := make(map[string]string)
	for k, v := range t.Args {
		if key, ok := strings.CutPrefix(k, "p:"); ok {
			set[key] = v
		}
	}
	return set
}

// Created are the volumes that the task made.
func (t *Task) Created() []lxcconf.MountPoint {
	var all []lxcconf.MountPoint
	for k, v := range t.Args {
		if key, ok := strings.CutPrefix(k, "new:"); ok {
			if m, err := lxcconf.ParseMountPoint(key, v); err == nil {
				all = append(all, m)
			}
		}
	}
	sort.Slice(all, func(i, j int) bool { return lxcconf.MpOrder(all[i].Key) < lxcconf.MpOrder(all[j].Key) })
	return all
}

// A Task is one worker. It is data, so that a world file can hold it half way:
// each phase of it is a step that is due at a time.
type Task struct {
	Type     string            `yaml:"type"`
	ID       string            `yaml:"id,omitempty"`
	User     string            `yaml:"user"`
	PID      int               `yaml:"pid"`
	PStart   int64             `yaml:"pstart"`
	Start    int64             `yaml:"start"`
	End      int64             `yaml:"end,omitempty"`
	Status   string            `yaml:"status,omitempty"` // how it ended
	Log      []string          `yaml:"log,omitempty"`
	Args     map[string]string `yaml:"args,omitempty"`
	Phase    int               `yaml:"phase,omitempty"`
	Due      time.Time         `yaml:"due,omitempty"`
	Length   time.Duration     `yaml:"length,omitempty"`
	Wait     string            `yaml:"wait,omitempty"` // the lock that it waits for
	Until    time.Time         `yaml:"until,omitempty"`
	Holds    []string          `yaml:"holds,omitempty"` // the locks that it has
	Hung     bool              `yaml:"hung,omitempty"`
	Warnings int               `yaml:"warnings,omitempty"`
	Fault    string            `yaml:"fault,omitempty"`
	Text     string            `yaml:"text,omitempty"` // of the fault
	// Unwatched is set where the daemon that began it was restarted: it goes on, and is not
	// listed as active any more.
	Unwatched bool `yaml:"unwatched,omitempty"`

	Node *Node  `yaml:"-"`
	name string // the UPID
}

// UPID is the task's ID in the API.
func (t *Task) UPID() string {
	if t.name == "" {
		t.name = fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:%s:", t.nodeName(), t.PID, t.PStart, t.Start, t.Type, t.ID, t.User)
	}
	return t.name
}

func (t *Task) nodeName() string {
	if t.Node == nil {
		return ""
	}
	return t.Node.Name
}

// VMID is the guest that the task is about.
func (t *Task) VMID() int { return notation.Atoi(t.ID) }

// Logf adds lines to the task's log.
func (t *Task) Logf(format string, args ...any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	t.Log = append(t.Log, strings.Split(text, "\n")...)
}

// Midway is the phase at which a fault hits.
func (t *Task) Midway() int {
	if t.Type == "vzdump" {
		return 2
	}
	return 1
}

// Failure is a task's last line for an error.
func (t *Task) Failure(err error) string {
	text := strings.TrimRight(refusal.InTask(err), "\n")
	switch t.Type {
	case "vzcreate":
		text = "unable to create CT " + t.ID + " - " + text
	case "vzrestore":
		text = "unable to restore CT " + t.ID + " - " + text
	case "qmcreate":
		text = "unable to create VM " + t.ID + " - " + text
	case "qmrestore":
		text = "unable to restore VM " + t.ID + " - " + text
	case "vzclone":
		text = "clone failed: " + text
	case "vzdump":
		if t.Phase >= 1 {
			text = "job errors"
		}
	}
	return text
}
