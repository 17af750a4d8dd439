package laws

import (
	"cmp"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// A lawTask is an entry of the node's task list.
type lawTask struct {
	UPID, Type, ID, User, TokenID, Status string
	StartTime, EndTime                    int64
}

func (t lawTask) owner() string {
	if t.TokenID != "" && !strings.Contains(t.User, "!") {
		return t.User + "!" + t.TokenID
	}
	return t.User
}

func (t lawTask) ok() bool { return t.Status == "OK" || strings.HasPrefix(t.Status, "WARNINGS") }

// atTheEnd judges what has become of the world.
func (w *witness) atTheEnd(journal *reconcile.Journal) {
	w.want = w.s.want
	now := reconciletest.Read(w.s.sim)
	for vmid, g := range w.before.Guests {
		if vmid != 300 && vmid != 150 {
			continue
		}
		if have := now.Guests[vmid]; have == nil || have.Text != g.Text {
			w.s.fails("foreign", "the guest %d of somebody else has changed", vmid)
		}
	}
	for key, a := range w.before.Archives {
		if _, marked := reconciletest.MarkOf(a.Notes); marked || w.gone[key] {
			continue
		}
		if have, ok := now.Archives[key]; !ok || have.Text != a.Text {
			w.s.fails("foreign", "the archive %s of somebody else is gone or changed: %q %q", key, a.Text, have.Text)
		}
	}
	w.tasks(w.list(), journal)
}

// tasks compares the journal with the node's own list of tasks.
func (w *witness) tasks(all []lawTask, j *reconcile.Journal) {
	byUPID := map[string]lawTask{}
	for _, t := range all {
		byUPID[t.UPID] = t
	}
	known := map[string]bool{}
	lost := map[string]bool{}
	elsewhere := reconcile.MemoryJournal()
	elsewhere.Parse(w.s.there.lines)
	for _, operation := range slices.Concat(j.Order, elsewhere.Order) {
		if operation.Upid.IsZero() {
			if operation.Call != nil && (operation.Open() || operation.Result == journal.ResultLost) {
				kind, id := applying.TaskOf(operation.Call)
				lost[kind+" "+id] = true
			}
			continue
		}
		if known[operation.Upid.String()] && w.alone() { // two who lost an answer to the same wish take one task for theirs
			w.s.fails("journal", "two acts claim the task %s", operation.Upid)
		}
		known[operation.Upid.String()] = true
		if operation.Call != nil && !w.alone() { // perhaps its own was lost, and it took another agent's for it
			kind, id := applying.TaskOf(operation.Call)
			lost[kind+" "+id] = true
		}
		t, ok := byUPID[operation.Upid.String()]
		switch {
		case !ok:
			w.s.fails("journal", "it names the task %s, which does not exist", operation.Upid)
		case operation.Result == journal.ResultOK && !t.ok():
			w.s.fails("journal", "it says that %s %s went well: %s", operation.Object, operation.Verb, t.Status)
		case t.owner() != lawToken:
			w.s.fails("journal", "it claims the task %s of %s", t.UPID, t.owner())
		}
	}
	if w.s.here.lines == nil {
		return
	}
	var ours []lawTask
	for _, t := range all {
		if t.owner() != lawToken {
			continue
		}
		ours = append(ours, t)
		if !known[t.UPID] && !lost[t.Type+" "+t.ID] && !w.s.forgot {
			w.s.fails("journal", "it does not know our task %s", t.UPID)
		}
	}
	slices.SortFunc(ours, func(a, b lawTask) int { return cmp.Compare(a.StartTime, b.StartTime) })
	for i, a := range ours {
		for _, b := range ours[i+1:] {
			overlap := b.StartTime < a.EndTime || a.EndTime == 0
			if !overlap {
				continue
			}
			if !w.alone() || w.jumped {
				continue // those who did not know of each other (see apart), or whose dates say nothing
			}
			if a.ID == b.ID && a.Type != "imgdel" && b.Type != "imgdel" {
				w.s.fails("writers", "%s and %s ran at once", a.UPID, b.UPID)
			}
			if d := disruptiveTasks; slices.Contains(d, a.Type) && slices.Contains(d, b.Type) {
				w.s.fails("disruptive", "%s and %s ran at once", a.UPID, b.UPID)
			}
		}
	}
}
