package privileged

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"
)

// GuestMemory is what the kernel charges to a running guest, in bytes (cgroup v2: memory.current, memory.swap.current, memory.stat).
type GuestMemory struct {
	Current     int64 `json:"current"`     // all of it
	Swap        int64 `json:"swap"`        // what is swapped out
	Shmem       int64 `json:"shmem"`       // of Current: shared memory and tmpfs, which PVE's `mem` leaves out
	Unevictable int64 `json:"unevictable"` // of Current: locked
	Droppable   int64 `json:"droppable"`   // of Current: clean pages of files, which the kernel gives up before it kills
}

// Pinned is what a limit must leave room for: all that the kernel cannot drop at once, in bytes.
func (m GuestMemory) Pinned() int64 { return max(0, m.Current-m.Droppable) }

// MemoryOf asks what the kernel charges to a running guest; it is refused (missing) for one that does not run.
func MemoryOf(ctx context.Context, a Asker, node string, vmid int) (GuestMemory, error) {
	return ask[GuestMemory](ctx, a, Query{Node: node, Name: "GuestMemory", Args: map[string]string{"vmid": strconv.Itoa(vmid)}})
}

// guestMemory reads the cgroup that PVE limits, /sys/fs/cgroup/lxc/VMID; the guest itself is in its child ns.
func answerGuestMemory(r diskReader) (any, error) {
	dir := "/sys/fs/cgroup/lxc/" + r.args["vmid"] + "/"
	var m GuestMemory
	for name, to := range map[string]*int64{"memory.current": &m.Current, "memory.swap.current": &m.Swap} {
		n, err := r.number(dir + name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && to == &m.Swap: // a kernel without swap accounting
		case errors.Is(err, fs.ErrNotExist):
			return nil, r.miss("vmid", "the container does not run", "")
		case err != nil:
			return nil, r.failed(err, "cannot read "+dir+name)
		}
		*to = n
	}
	data, err := r.host.ReadFile(dir + "memory.stat")
	if err != nil {
		return nil, r.failed(err, "cannot read "+dir+"memory.stat")
	}
	stat := map[string]int64{}
	for line := range strings.SplitSeq(string(data), "\n") {
		if key, value, ok := strings.Cut(line, " "); ok {
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
				stat[key] = n
			}
		}
	}
	m.Shmem, m.Unevictable = stat["shmem"], stat["unevictable"]
	// The lists of file pages hold neither shared memory nor what is locked (Documentation/admin-guide/cgroup-v2.rst, memory.stat).
	m.Droppable = max(0, stat["active_file"]+stat["inactive_file"]-stat["file_dirty"]-stat["file_writeback"])
	return m, nil
}
