package privileged

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// mostProbes is how many disks are read at once: disks that sleep spin up side by side.
const mostProbes = 32

// remembered is what was read on a device, and by what it is known that nothing else can be there now.
type remembered struct {
	Print  string   `json:"print"`
	UUID   string   `json:"uuid,omitempty"`
	Label  string   `json:"label,omitempty"`
	FSType string   `json:"fstype,omitempty"`
	Member string   `json:"member,omitempty"`
	Kinds  []string `json:"kinds,omitempty"`
	ESP    bool     `json:"esp,omitempty"`
	Size   int64    `json:"size,omitempty"`
}

// probeAll says what is on every device of a table, in its order. A disk that sleeps is not woken for what is known: only what the kernel or udev shows as
// changed is read again, and everything when again is set. What the host has mounted is always read: only so is it seen that it no longer answers, and the
// kernel keeps the blocks that are read of a mounted disk. Without a Dir nothing is remembered.
func (r diskReader) probeAll(t deviceTable, again bool) ([]probed, error) {
	memory := r.local.recall()
	found := make([]probed, len(t.devices))
	failed := make([]error, len(t.devices))
	slots := make(chan struct{}, mostProbes)
	var all sync.WaitGroup
	next := map[string]remembered{}
	for i, d := range t.devices {
		if r, ok := memory[d.path]; ok && !again && r.Print == d.print() && !t.onHost(d) {
			found[i] = probed{device: d.path, uuid: r.UUID, label: r.Label, fstype: r.FSType, member: r.Member, kinds: r.Kinds, esp: r.ESP, size: r.Size}
			continue
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i], _, failed[i] = r.probe(d.path)
		})
	}
	all.Wait()
	for i, p := range found {
		if failed[i] != nil {
			return nil, failed[i]
		}
		if !p.silent {
			next[p.device] = remembered{t.devices[i].print(), p.uuid, p.label, p.fstype, p.member, p.kinds, p.esp, p.size}
		}
	}
	if r.op == "Disks" || r.op == "Mounts" { // an operation leaves no file behind
		r.local.remember(memory, next)
	}
	return found, nil
}

// recall reads what the last refresh found; nothing where that cannot be read, for then everything is read again.
func (l *Local) recall() map[string]remembered {
	memory := map[string]remembered{}
	if l.Dir == "" {
		return memory
	}
	data, err := readMemory(l.memoryFile())
	if err != nil || json.Unmarshal(data, &memory) != nil || memory == nil {
		return map[string]remembered{}
	}
	return memory
}

// mostMemory is what the memory of some thousand devices takes; a file that has more is not it.
const mostMemory = 4 << 20

func readMemory(name string) ([]byte, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > mostMemory {
		return nil, errors.New("it is not what was written")
	}
	return os.ReadFile(name)
}

// remember keeps what was found for the next process. That it cannot is no error: the disks are read again.
func (l *Local) remember(old, now map[string]remembered) {
	if l.Dir == "" || maps.EqualFunc(old, now, func(a, b remembered) bool {
		return a.Print == b.Print && a.UUID == b.UUID && slices.Equal(a.Kinds, b.Kinds)
	}) {
		return
	}
	data, err := json.Marshal(now)
	if err != nil || os.MkdirAll(l.Dir, 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(l.Dir, "devices-") // two processes may end a refresh at the same time
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if errors.Join(err, f.Close()) != nil || os.Rename(f.Name(), l.memoryFile()) != nil {
		os.Remove(f.Name())
	}
}

func (l *Local) memoryFile() string { return filepath.Join(l.Dir, "devices.known") }
