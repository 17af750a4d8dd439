package refresh

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// Earlier is what the look of the pass before was told. A pass that comes because acts
// of ours have ended reads all lists anew, but of guests and storages only those that
// these operations, or anything else that the lists show, can have changed. What is then
// acted upon is always read in the same pass (basedOn), and so is everything by the
// pass that says that a node is converged.
type Earlier struct {
	View *proxmox.View
	Have *node.Observed
	Last *node.Observed // by the latest pass, which may have read only a part anew; its tasks, queues and storages are below
	Want *spec.Desired  // with the types that its guests were found to have
	Hash string         // of the desired state
	Full time.Time      // when everything was asked, by the agent's clock
	Age  time.Duration  // how long after it that is believed
	// Lists tells that also the lists of tasks and of storages are believed, until an action rests on them: a restore test
	// is all that goes on. The guests and what the cluster has are read by each pass.
	Lists bool
	// Guests has the list of the node's containers that was read a moment ago, when an operation had ended; nil: none was.
	Guests *proxmox.View
	// Acts of ours since: when the first of them was begun, by the node's clock, their tasks, queues and storages.
	Begun    time.Time
	Tasks    map[proxmox.UPID]bool
	Queues   map[string]bool
	Storages map[string]bool
}

// factsAge is how long facts are believed.
func (e *Earlier) factsAge() time.Duration {
	if e == nil {
		return FactsAge
	}
	return max(FactsAge, e.Age)
}

// Touch notes that an operation may have changed something.
func (e *Earlier) Touch(operation *journal.Operation) {
	if operation.Time.Before(e.Begun) {
		e.Begun = operation.Time
	}
	e.Tasks[operation.Upid] = true
	e.Queues[operation.Queue] = true
	if operation.Facts[journal.FactTest] != "" { // what it makes on a storage it takes away; who works on storages reads them
		return
	}
	_, of, _ := strings.Cut(operation.Limit, " ") // "create local-lvm"
	e.Storages[of] = true
	e.Storages[operation.Facts["storage"]] = true
	for storage := range strings.FieldsSeq(operation.Facts[journal.FactStorages]) {
		e.Storages[storage] = true
	}
	if operation.Call != nil {
		storage, _ := contentOf(operation.Call.Path)
		e.Storages[storage] = true
	}
}

// still says of which requests the answers hold, as far as the lists of a new look show.
func (e *Earlier) still(have *node.Observed) func(request string) bool {
	queues, everyGuest, everyStorage := maps.Clone(e.Queues), false, false
	ended := map[proxmox.UPID]bool{} // before anything was read that is taken over
	for _, t := range e.Have.Tasks {
		ended[t.UPID] = !t.Running()
	}
	for _, t := range have.Tasks {
		if e.Tasks[t.UPID] || ended[t.UPID] || !t.Running() && t.EndTime.Before(e.Have.Now.Add(-time.Second)) {
			continue
		}
		owner, _, _ := strings.Cut(t.ID, "@")
		queues["lxc/"+owner] = true
		if !slices.Contains([]string{"start", "stop", "shutdown", "reboot"}, proxmox.TaskAct(t.Type)) {
			everyGuest = everyGuest || owner == "" // a backup of several, say
			everyStorage = true
		}
	}
	return func(request string) bool {
		if m := plan.VmidInPath.FindStringSubmatch(request); m != nil {
			vmid, err := proxmox.ParseVMID(m[1])
			return err == nil && !everyGuest && !queues["lxc/"+m[1]] && sameEntry(e.Have.Guests[vmid], have.Guests[vmid])
		}
		if id, ok := strings.CutPrefix(request, "/cluster/nextid?vmid="); ok {
			return !queues["lxc/"+id]
		}
		if storage, ok := contentOf(request); ok {
			return !everyStorage && !e.Storages[storage] && sameUse(e.Have.Storages[storage], have.Storages[storage])
		}
		return strings.Contains(request, "/vzdump/extractconfig?") // an archive does not change
	}
}

// sameEntry compares what the list of guests shows of one.
func sameEntry(a, b *node.GuestState) bool {
	return a != nil && b != nil && a.Status == b.Status && a.Lock == b.Lock && a.Name == b.Name && slices.Equal(a.Tags, b.Tags) &&
		a.Template == b.Template && a.CPUs == b.CPUs && a.MaxMem == b.MaxMem && a.MaxSwap == b.MaxSwap && a.MaxDisk == b.MaxDisk
}

// sameUse compares how full a storage is.
func sameUse(a, b *node.StorageState) bool {
	return a != nil && b != nil && a.Status != nil && b.Status != nil && a.Status.Active == b.Status.Active && a.Status.Used == b.Status.Used
}

// contentOf is the storage whose content a request asks for.
func contentOf(request string) (storage string, ok bool) {
	_, rest, ok := strings.Cut(request, "/storage/")
	storage, what, _ := strings.Cut(rest, "/")
	return storage, ok && what == "content"
}

// listOf is the list of the node that a request asks for, of those that are believed during a restore test: "" for any other.
func listOf(request string) string {
	path, _, _ := strings.Cut(request, "?")
	if parts := strings.Split(path, "/"); len(parts) == 4 && parts[1] == "nodes" && slices.Contains([]string{"tasks", "storage", "lxc"}, parts[3]) {
		return parts[3]
	}
	return ""
}

// recall makes a look begin with the lists that are believed.
func (e *Earlier) recall(view *proxmox.View) {
	view.Recall(e.View, e.lists)
	if e.Guests != nil {
		view.Recall(e.Guests, func(request string) bool { return listOf(request) == "lxc" })
	}
}

// lists says of which lists the answers hold.
func (e *Earlier) lists(request string) bool {
	return e.Lists && listOf(request) != "" && listOf(request) != "lxc"
}

// BasedOn says on which requests' answers actions rest: on those about their own
// guest, and what makes guests or volumes or works on archives also on what lies on
// storages and stands in the configs of guests that nobody declares. A restore test
// that goes on rests on its own guest, and a deletion also on the tasks; the restore of
// one on what lies on storages only where the lists do not show that it is as it was.
func (e *Earlier) BasedOn(actions []*plan.Action) func(request string) bool {
	queues, lists, others, deletes, genuine := map[string]bool{}, false, false, false, false
	for _, a := range actions {
		queues[a.Queue] = true
		test := a.Facts[journal.FactTest] != ""
		genuine = genuine || !test
		if test && a.Facts["makes"] == "" {
			deletes = deletes || a.Call.Destroys()
			continue
		}
		if others = true; test && !e.Lists {
			continue
		}
		lists = lists || a.Call == nil || a.Call.Method == "PUT" || a.Call.Destroys() || !plan.VmidInPath.MatchString(a.Call.Path)
	}
	return func(request string) bool {
		switch listOf(request) {
		case "tasks":
			return others || deletes
		case "storage":
			return others
		case "lxc":
			return genuine || deletes
		}
		if m := plan.VmidInPath.FindStringSubmatch(request); m != nil {
			return queues["lxc/"+m[1]] || lists && strings.HasSuffix(request, "/config")
		}
		if id, ok := strings.CutPrefix(request, "/cluster/nextid?vmid="); ok {
			return queues["lxc/"+id]
		}
		_, content := contentOf(request)
		return content && lists
	}
}
