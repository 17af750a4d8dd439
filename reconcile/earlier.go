package reconcile

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// earlier is what the look of the pass before was told. A pass that comes because acts
// of ours have ended reads all lists anew, but of guests and storages only those that
// these acts, or anything else that the lists show, can have changed. What is then
// acted upon is always read in the same pass (basedOn), and so is everything by the
// pass that says that a node is converged.
type earlier struct {
	view *proxmox.View
	have *Observed
	hash string    // of the desired state
	full time.Time // when everything was asked, by the agent's clock
	// Acts of ours since: their tasks, lanes and storages.
	tasks    map[proxmox.UPID]bool
	lanes    map[string]bool
	storages map[string]bool
}

// remember keeps what a pass was told for the next one.
func (a *Agent) remember(want *spec.Desired, l *looker) {
	a.earlier = &earlier{view: l.view, have: l.have, hash: want.Hash, full: l.started}
	if l.earlier != nil {
		a.earlier.full = l.earlier.full
	}
}

// stillKnown is what the next look may take from the one before: nothing, unless it
// comes because acts of ours have ended, and not long after.
func (a *Agent) stillKnown(want *spec.Desired, finished []ending) *earlier {
	e := a.earlier
	if e == nil || len(finished) == 0 || e.hash != want.Hash || time.Since(e.full) > factsAge {
		return nil
	}
	e.tasks, e.lanes, e.storages = map[proxmox.UPID]bool{}, map[string]bool{}, map[string]bool{}
	for _, f := range finished {
		e.touch(f.act)
	}
	for _, act := range a.o.Journal.open() {
		e.touch(act)
	}
	return e
}

func (e *earlier) touch(act *act) {
	e.tasks[act.upid] = true
	e.lanes[act.Lane] = true
	_, of, _ := strings.Cut(act.Budget, " ") // "create local-lvm"
	e.storages[of] = true
	e.storages[act.Facts["storage"]] = true
	if act.Call != nil {
		storage, _ := contentOf(act.Call.Path)
		e.storages[storage] = true
	}
}

// still says of which requests the answers hold, as far as the lists of a new look show.
func (e *earlier) still(have *Observed) func(request string) bool {
	lanes, everyGuest, everyStorage := maps.Clone(e.lanes), false, false
	for _, t := range have.Tasks {
		if e.tasks[t.UPID] || !t.Running() && t.EndTime.Before(e.have.Now.Add(-time.Second)) {
			continue
		}
		owner, _, _ := strings.Cut(t.ID, "@")
		lanes["lxc/"+owner] = true
		if !slices.Contains([]string{"vzstart", "vzstop", "vzshutdown", "vzreboot"}, t.Type) {
			everyGuest = everyGuest || owner == "" // a backup of several, say
			everyStorage = true
		}
	}
	return func(request string) bool {
		if m := vmidInPath.FindStringSubmatch(request); m != nil {
			vmid, err := proxmox.ParseVMID(m[1])
			return err == nil && !everyGuest && !lanes["lxc/"+m[1]] && sameEntry(e.have.Guests[vmid], have.Guests[vmid])
		}
		if id, ok := strings.CutPrefix(request, "/cluster/nextid?vmid="); ok {
			return !lanes["lxc/"+id]
		}
		if storage, ok := contentOf(request); ok {
			return !everyStorage && !e.storages[storage] && sameUse(e.have.Storages[storage], have.Storages[storage])
		}
		return strings.Contains(request, "/vzdump/extractconfig?") // an archive does not change
	}
}

// sameEntry compares what the list of guests shows of one.
func sameEntry(a, b *GuestState) bool {
	return a != nil && b != nil && a.Status == b.Status && a.Lock == b.Lock && a.Name == b.Name && slices.Equal(a.Tags, b.Tags) &&
		a.Template == b.Template && a.CPUs == b.CPUs && a.MaxMem == b.MaxMem && a.MaxSwap == b.MaxSwap && a.MaxDisk == b.MaxDisk
}

// sameUse compares how full a storage is.
func sameUse(a, b *StorageState) bool {
	return a != nil && b != nil && a.Status != nil && b.Status != nil && a.Status.Active == b.Status.Active && a.Status.Used == b.Status.Used
}

// contentOf is the storage whose content a request asks for.
func contentOf(request string) (storage string, ok bool) {
	_, rest, ok := strings.Cut(request, "/storage/")
	storage, what, _ := strings.Cut(rest, "/")
	return storage, ok && what == "content"
}

// basedOn says on which requests' answers actions rest: on those about their own
// guest, and what makes guests or volumes or works on archives also on what lies on
// storages and stands in the configs of guests that nobody declares.
func basedOn(actions []*Action) func(request string) bool {
	lanes, lists := map[string]bool{}, false
	for _, a := range actions {
		lanes[a.Lane] = true
		lists = lists || a.Call == nil || a.Call.Method == "PUT" || !vmidInPath.MatchString(a.Call.Path)
	}
	return func(request string) bool {
		if m := vmidInPath.FindStringSubmatch(request); m != nil {
			return lanes["lxc/"+m[1]] || lists && strings.HasSuffix(request, "/config")
		}
		if id, ok := strings.CutPrefix(request, "/cluster/nextid?vmid="); ok {
			return lanes["lxc/"+id]
		}
		_, content := contentOf(request)
		return content && lists
	}
}
