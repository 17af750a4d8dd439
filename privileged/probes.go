package privileged

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// mostProbes is how many devices are read at once: disks that sleep spin up side by side, so that reading all takes as long as the slowest of them.
const mostProbes = 128

// remembersDisks says whether what is remembered of disks answers a request, and what it reads is remembered. An operation reads what it needs, and leaves no
// file behind: nothing is mounted, or said to be safe to remove, by what was there earlier.
func (r diskReader) remembersDisks() bool { return r.op == "Disks" || r.op == "Mounts" }

// probeAll says what is on every device of a table, in its order, and then on further ones. A disk about which nothing changed is not read, so that it can
// sleep. See [deviceTable.trusts].
func (r diskReader) probeAll(t deviceTable, further []string) ([]probed, error) {
	memory := map[string]remembered{}
	if r.remembersDisks() {
		memory = r.local.recall()
	}
	found := make([]probed, len(t.devices)+len(further))
	next := map[string]remembered{}
	var ask []int
	for i, d := range t.devices {
		found[i].device = d.path
		if m, ok := memory[d.path]; ok && t.trusts(m, d, time.Now()) {
			found[i], next[d.path] = m.probed(d.path), m
			continue
		}
		ask = append(ask, i)
	}
	for i, name := range further {
		found[len(t.devices)+i].device = name
		ask = append(ask, len(t.devices)+i)
	}
	if err := r.probeEach(found, ask); err != nil {
		return nil, err
	}
	now := time.Now()
	for _, i := range ask {
		if i < len(t.devices) {
			next[found[i].device] = t.rememberedAs(found[i], t.devices[i], memory[found[i].device], now)
		}
	}
	if r.remembersDisks() && (len(ask) > 0 || len(next) != len(memory)) {
		r.local.remember(next)
	}
	return found, nil
}

// probeEach reads the devices with these indices, side by side, each with a limit of its own.
func (r diskReader) probeEach(found []probed, indices []int) error {
	failed := make([]error, len(found))
	slots := make(chan struct{}, mostProbes)
	var all sync.WaitGroup
	for _, i := range indices {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			found[i], _, failed[i] = r.probe(found[i].device)
		})
	}
	all.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// unlisted are the devices of the host's mounts that are no disks of the table, such as logical volumes.
func (t deviceTable) unlisted() (devices []string) {
	for _, l := range t.mounts[:t.host] {
		listed := slices.ContainsFunc(t.devices, func(d device) bool { return d.path == l.source })
		if strings.HasPrefix(l.source, "/dev/") && !listed && !slices.Contains(devices, l.source) {
			devices = append(devices, l.source)
		}
	}
	return devices
}
