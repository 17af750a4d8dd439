package laws

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/spec"
)

// What an agent has to mind besides its own operations: agents on other machines, people who
// start or stop all guests, and the guest that it has shut down to start it again.

// alone reports whether all agents of a scenario share one journal.
func (w *witness) alone() bool { return !w.s.profile.elsewhere }

// running are the tasks that run and of which the agent that writes could know: of
// those on another machine it hears only when it looks.
func (w *witness) running(wr *lawWrite) []string {
	if w.alone() {
		return wr.world.Tasks
	}
	var all []string
	for _, t := range w.list() {
		if t.EndTime == 0 && t.StartTime < wr.looked.Unix() {
			all = append(all, fmt.Sprintf("%s %s by %s", t.Type, t.ID, t.owner()))
		}
	}
	return all
}

// apart: an agent waits while tasks of its token run that its journal does not know.
func (w *witness) apart(i *incarnation, wr *lawWrite) {
	if w.alone() {
		return
	}
	known := map[string]bool{}
	i.journal.Mu.Lock()
	for _, operation := range i.journal.Order {
		known[operation.Upid.String()] = true
	}
	i.journal.Mu.Unlock()
	for _, t := range w.list() {
		if t.EndTime == 0 && t.owner() == lawToken && t.StartTime < wr.looked.Unix() && !known[t.UPID] {
			w.s.fails("writers", "%s %s is sent by the %s beside %s, which its journal does not know", wr.method, wr.path, i.place.name, t.UPID)
		}
	}
}

// notAmidBulk: nothing is started, nor ended to be started again, while people start, stop
// or move all guests.
func (w *witness) notAmidBulk(wr *lawWrite) {
	m := lawGuestPath.FindStringSubmatch(wr.path)
	if m == nil {
		return
	}
	vmid, _ := strconv.Atoi(m[1])
	_, wish := w.wish(vmid)
	again := m[2] == "/status/shutdown" && wish != nil && wish.State == spec.Running || strings.HasSuffix(m[2], "/rollback")
	if m[2] != "/status/start" && !again {
		return
	}
	for _, t := range w.list() {
		if t.EndTime == 0 && slices.Contains([]string{"startall", "stopall", "migrateall"}, t.Type) && t.StartTime < wr.looked.Unix() {
			w.s.fails("writers", "%s is sent while %s runs", wr.path, t.UPID)
		}
	}
}

// oneIsDown: a guest that was shut down to be started again runs, or its start has
// failed, before the next one is disturbed.
func (w *witness) oneIsDown(wr *lawWrite, vmid int) {
	for other, since := range w.down {
		name, wish := w.wish(other)
		g := wr.world.Guests[other]
		switch {
		case g == nil || wish == nil || wish.State != spec.Running || wish.Absent || g.Running:
			delete(w.down, other)
		case other != vmid && !w.startFailed(other, since.Unix()) && !w.waitsForPerson(wr, wish):
			w.s.fails("disruptive", "%s %s while %s, which was shut down at %s to be started again, is still down", wr.method, wr.path, name, since.Format("15:04:05"))
		}
	}
}

// waitsForPerson reports whether a guest cannot be started just now, whatever the agent does.
func (w *witness) waitsForPerson(wr *lawWrite, wish *spec.Guest) bool {
	return wish.Paused ||
		slices.ContainsFunc(wish.Needs, func(name string) bool {
			needed := w.want.Guest(name)
			g := wr.world.Guests[int(needed.VMID)]
			return g == nil || !g.Running
		}) ||
		slices.ContainsFunc(slices.Collect(maps.Values(wish.Config.Mounts)), func(mp spec.MountPoint) bool { return mp.Bind() })
}

// startFailed reports whether a start of a guest that does not run has ended: with an error, or
// where PVE says what is not so, with OK.
func (w *witness) startFailed(vmid int, since int64) bool {
	return slices.ContainsFunc(w.list(), func(t lawTask) bool {
		if w.s.profile.hollow && t.ID == fmt.Sprint(vmid) && (t.Type == "vzstart" || t.Type == "qmstart") && t.StartTime >= since && t.EndTime > 0 {
			return true
		}
		return t.ID == fmt.Sprint(vmid) && slices.Contains([]string{"vzstart", "vzshutdown", "qmstart", "qmshutdown"}, t.Type) && t.StartTime >= since && t.EndTime > 0 && !t.ok()
	})
}

// disturbed is told when people do something that may stop or start guests.
func (w *witness) disturbed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.down)
}
