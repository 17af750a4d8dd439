package laws

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// A witness stands between the agent and the node, looks at the world before each
// write, and knows the laws. It shares no code with the planner.
type witness struct {
	s  *scenario
	mu sync.Mutex

	before  *reconciletest.World // when the agent came
	excused map[int]bool         // guests that people made or destroyed
	gone    map[string]bool      // archives that people deleted
	unknown map[string]time.Time // writes whose outcome nobody knows
	rolled  map[string]int       // rollbacks by request
	reading map[int]string       // the archive that the latest create of a guest reads
	down    map[int]time.Time    // guests that the agent has shut down to start them again
	held    map[string]time.Time // what people hold, and since when
	jumped  bool                 // the node's clock was set
	hidden  bool                 // people have taken rights from the token
	want    *spec.Desired        // what the agent goes by that writes just now

	listing     sync.Mutex
	listed      string    // the list of tasks that was read last
	tasksListed []lawTask // the same, decoded; only read
}

func newWitness(s *scenario) *witness {
	return &witness{s: s, excused: map[int]bool{}, gone: map[string]bool{}, unknown: map[string]time.Time{}, rolled: map[string]int{}, reading: map[int]string{}, down: map[int]time.Time{}, held: map[string]time.Time{}}
}

func (w *witness) keep(world *reconciletest.World) { w.before = world }

func (w *witness) excuse(vmid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.excused[vmid] = true
}

func (w *witness) excuseArchive(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone[key] = true
}

const lawToken = "felhom@pve!agent"

var (
	lawGuestPath = regexp.MustCompile(`^/nodes/pve1/(?:lxc|qemu)/(\d+)(/.*)?$`)
	lawNewVolume = regexp.MustCompile(`^[^:,=]+:\d+(\.\d+)?(,|$)`)
	lawMount     = regexp.MustCompile(`^(mp|scsi|virtio|sata|ide|efidisk|tpmstate)\d+$`)
)

// begin judges a write before it leaves.
func (w *witness) begin(i *wire, req *http.Request) *lawWrite {
	w.mu.Lock()
	defer w.mu.Unlock()
	wr := readWrite(req)
	wr.at, wr.world = w.s.sim.Now(), reconciletest.Read(w.s.sim)
	w.want, wr.looked, wr.readAt = i.knows()
	wr.key = i.place.name + wr.key
	w.noLineNoAct(i.incarnation, wr)
	w.apart(i.incarnation, wr)
	w.leftAlone(i, wr)
	w.notAmidBulk(wr)
	if sent, ok := w.unknown[wr.key]; ok && wr.at.Sub(sent) < time.Minute && !w.failedSince(wr, sent) {
		w.s.fails("twice", "%s %s is sent again %s after an answer that was lost", wr.method, wr.path, wr.at.Sub(sent))
	}
	switch m := lawGuestPath.FindStringSubmatch(wr.path); {
	case m != nil:
		vmid, _ := strconv.Atoi(m[1])
		w.onGuest(wr, vmid, m[2])
	case wr.path == "/nodes/pve1/lxc", wr.path == "/nodes/pve1/qemu":
		w.onCreate(wr)
	case wr.path == "/nodes/pve1/vzdump":
		w.onDump(wr)
	case strings.Contains(wr.path, "/content/"):
		w.onArchive(wr)
	default:
		w.s.fails("foreign", "an unexpected write %s %s", wr.method, wr.path)
	}
	return wr
}

// end learns what became of it.
func (w *witness) end(wr *lawWrite, res *http.Response, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || res.StatusCode == 596 {
		w.unknown[wr.key] = w.s.sim.Now()
	} else {
		delete(w.unknown, wr.key)
		if res.StatusCode == 595 && wr.rollback != "" { // PVE's proxy has not delivered it
			w.rolled[wr.rollback]--
		}
		if wr.method == http.MethodPut || strings.HasSuffix(wr.path, "/config") { // what stood there has been seen by whoever has written something else
			maps.DeleteFunc(w.unknown, func(key string, _ time.Time) bool { return strings.Contains(key, wr.method+wr.path+"map[") })
		}
	}
	if m := lawGuestPath.FindStringSubmatch(wr.path); m != nil && m[2] == "/status/shutdown" && err == nil && res.StatusCode == 200 {
		vmid, _ := strconv.Atoi(m[1])
		if _, wish := w.wish(vmid); wish != nil && wish.State == spec.Running && !wish.Absent {
			w.down[vmid] = w.s.sim.Now()
		}
	}
}

// failedSince reports whether a task of the write's lost twin has come and failed, so
// that nothing is unknown any more.
func (w *witness) failedSince(wr *lawWrite, sent time.Time) bool {
	kind, id := applying.TaskOf(&proxmox.Call{Method: wr.method, Path: wr.path, Params: wr.params})
	return slices.ContainsFunc(w.list(), func(t lawTask) bool {
		return t.Type == kind && t.ID == id && t.owner() == lawToken && t.StartTime >= wr.at.Add(-2*time.Minute).Unix() && t.EndTime > 0 && (!t.ok() || len(w.gone) > 0) // or people have deleted what it made
	})
}

// list is the node's list of tasks.
func (w *witness) list() []lawTask {
	_, body := w.s.sim.Do("root@pam", "GET", "/nodes/pve1/tasks", map[string]string{"source": "all", "limit": "2000"})
	w.listing.Lock()
	defer w.listing.Unlock()
	if body != w.listed {
		var list struct{ Data []lawTask }
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			w.s.fails("scenario", "%v", err)
		}
		w.listed, w.tasksListed = body, list.Data
	}
	return w.tasksListed
}

// noLineNoAct: a write without an intent in the journal.
func (w *witness) noLineNoAct(i *incarnation, wr *lawWrite) {
	for _, operation := range i.journal.Open() {
		if operation.Call != nil && operation.Call.Method == wr.method && operation.Call.Path == wr.path {
			return
		}
	}
	w.s.fails("journal", "%s %s is sent, and no line of the journal says so", wr.method, wr.path)
}

// wish is the declared guest or golden of a VMID.
func (w *witness) wish(vmid int) (name string, guest *spec.Guest) {
	for _, g := range w.want.AllGuests() {
		if int(g.VMID) == vmid {
			return g.Ref.Name, g
		}
	}
	for name, golden := range w.want.Golden {
		if int(golden.VMID) == vmid {
			return name, nil
		}
	}
	return "", nil
}

// mark is the marker of a guest if it is ours.
func (w *witness) mark(wr *lawWrite, vmid int) (reconciletest.Mark, bool) {
	g := wr.world.Guests[vmid]
	name, wish := w.wish(vmid)
	if g == nil || name == "" {
		return reconciletest.Mark{}, false
	}
	m, ok := reconciletest.MarkOf(g.Config["description"])
	return m, ok && (m.Object == name || wish != nil && m.Object == wish.Was) && m.Vmid == vmid && m.Owner == "pve1"
}

// onGuest judges a write on one guest.
func (w *witness) onGuest(wr *lawWrite, vmid int, what string) {
	g := wr.world.Guests[vmid]
	name, wish := w.wish(vmid)
	_, ours := w.mark(wr, vmid)
	if wr.changesConfig(what) && wr.params["digest"] == "" {
		w.s.fails("writers", "%s is changed without the digest of what was seen: %v", wr.path, wr.params)
	}
	if wr.method == "DELETE" && what == "" {
		w.onDeletion(wr, vmid)
	}
	if g == nil || g.Config["lock"] == "destroyed" { // a person destroys it since the look
		return // PVE refuses it
	}
	adopts := wr.changesConfig(what) && len(wr.params) == 2 && wr.params["description"] != "" && wish != nil && wish.Adopt && cmp.Or(g.Config["hostname"], g.Config["name"]) == wish.Hostname()
	if !ours && !adopts && !(strings.HasPrefix(what, "/snapshot") && wr.method == "POST" && w.testified(wr, vmid, name)) {
		w.s.fails("foreign", "%s %s %v on %d, which is not ours: %q", wr.method, wr.path, wr.params, vmid, g.Config["description"])
	}
	w.oneWriter(wr, vmid)
	w.snapshotFirst(wr, vmid, what)
	switch {
	case wr.changesConfig(what):
		w.onConfig(wr, vmid, g)
	case what == "/status/shutdown", what == "/status/stop":
		w.oneDisruption(wr, vmid)
	case strings.HasSuffix(what, "/rollback"):
		w.oneDisruption(wr, vmid)
		w.onRollback(wr, wish, path.Base(path.Dir(what)))
	case strings.HasPrefix(what, "/snapshot/") && wr.method == "DELETE":
		snap := g.Snaps[path.Base(what)]
		m, ok := reconciletest.MarkOf(snap["description"])
		if !ok || !strings.HasPrefix(m.Object, "snapshots/") || m.Vmid != vmid || m.Owner != "pve1" {
			w.s.fails("foreign", "the snapshot %s of %d, which is not ours, is deleted", path.Base(what), vmid)
		}
	}
}

// testified reports whether our own archives or snapshots say that a guest without a
// marker is ours.
func (w *witness) testified(wr *lawWrite, vmid int, name string) bool {
	texts := []string{}
	for _, a := range wr.world.ArchivesOf(vmid) {
		texts = append(texts, a.Notes)
	}
	if g := wr.world.Guests[vmid]; g != nil {
		for _, snap := range g.Snaps {
			texts = append(texts, snap["description"])
		}
		if _, marked := reconciletest.MarkOf(g.Config["description"]); marked {
			return false
		}
	}
	return slices.ContainsFunc(texts, func(text string) bool {
		m, ok := reconciletest.MarkOf(text)
		return ok && m.Guest == name && m.Vmid == vmid && m.Owner == "pve1"
	})
}

// oneWriter: never two writers of ours at once in one guest.
func (w *witness) oneWriter(wr *lawWrite, vmid int) {
	for _, t := range w.running(wr) {
		if f := strings.Fields(t); f[1] == fmt.Sprint(vmid) && f[len(f)-1] == lawToken {
			w.s.fails("writers", "%s %s while %s runs", wr.method, wr.path, t)
		}
	}
}

// oneDisruption: never two disruptive acts at once on a node.
func (w *witness) oneDisruption(wr *lawWrite, vmid int) {
	w.oneIsDown(wr, vmid)
	for _, t := range w.running(wr) {
		f := strings.Fields(t)
		if slices.Contains(disruptiveTasks, f[0]) && f[1] != fmt.Sprint(vmid) && f[len(f)-1] == lawToken {
			w.s.fails("disruptive", "%s %s while %s runs", wr.method, wr.path, t)
		}
	}
}

// onConfig judges what a PUT would do to volumes.
func (w *witness) onConfig(wr *lawWrite, vmid int, g *reconciletest.Guest) {
	_, wish := w.wish(vmid)
	for key, value := range wr.params {
		switch {
		case key == "delete":
			for dropped := range strings.SplitSeq(value, ",") {
				if lawMount.MatchString(dropped) || dropped == "rootfs" || strings.HasPrefix(dropped, "unused") {
					w.s.fails("foreign", "%s of %d is taken away", dropped, vmid)
				}
			}
		case lawMount.MatchString(key) || key == "rootfs":
			live := cmp.Or(g.Pending[key], g.Config[key])
			volid, _, _ := strings.Cut(value, ",")
			switch {
			case !lawNewVolume.MatchString(value):
				if owner := reconciletest.Owner(volid); owner != vmid && !strings.HasPrefix(volid, "/") {
					w.s.fails("foreign", "%s of %d becomes %s, a volume of %d", key, vmid, volid, owner)
				}
			case live != "":
				w.s.fails("blank", "%s of %d, which is %s, is replaced by the new volume %s", key, vmid, live, value)
			case len(wr.world.Loose(vmid)) > 0 && (wish == nil || wish.Despite.IsZero()):
				w.s.fails("blank", "%s of %d becomes a new volume while %v is there", key, vmid, wr.world.Loose(vmid))
			}
		}
	}
}

// onRollback: at most once for one request.
func (w *witness) onRollback(wr *lawWrite, wish *spec.Guest, snap string) {
	if wish == nil || wish.Rollback == nil || wish.Rollback.To != snap {
		w.s.fails("foreign", "a rollback to %s that nobody asked for", snap)
		return
	}
	key := wr.path + wish.Rollback.RequestedText
	wr.rollback = key
	if w.rolled[key]++; w.rolled[key] > 1 {
		w.s.fails("twice", "%s is sent again", wr.path)
	}
}

// onCreate applies the law on blanks, word for word.
func (w *witness) onCreate(wr *lawWrite) {
	vmid, _ := strconv.Atoi(wr.params["vmid"])
	name, wish := w.wish(vmid)
	w.oneWriter(wr, vmid)
	w.neverAsked(wr)
	w.reading[vmid] = wr.source()
	if wr.params["force"] == "1" || name == "" {
		w.s.fails("foreign", "a create with %v", wr.params)
		return
	}
	if wr.world.Guests[vmid] != nil {
		if !w.excused[vmid] && w.alone() {
			w.s.fails("twice", "%d is created while it exists", vmid)
		}
		return // PVE refuses it
	}
	if wish != nil && !wish.Despite.IsZero() {
		return
	}
	if loose := wr.world.Loose(vmid); len(loose) > 0 {
		w.s.fails("blank", "%d is created from %s beside %v", vmid, wr.source(), loose)
	}
	if w.ownArchive(wr, vmid, name) {
		return
	}
	if all := wr.world.ArchivesOf(vmid); len(all) > 0 && wr.world.Guests[vmid] == nil {
		w.s.fails("blank", "%d is created from %s although %s exists", vmid, wr.source(), all[0].Key)
	}
	for _, a := range wr.world.Archives {
		if m, ok := reconciletest.MarkOf(a.Notes); ok && m.Owner == "pve1" && cmp.Or(m.Guest, m.Object) == name && a.Vmid != vmid {
			w.s.fails("blank", "%s is created from %s although %s bears its marker", name, wr.source(), a.Key)
		}
	}
}

// ownArchive reports whether what a create restores is the guest's own backup.
func (w *witness) ownArchive(wr *lawWrite, vmid int, name string) bool {
	volid := wr.source()
	if of, _, ok := reconciletest.ArchiveOf(volid); !ok || of != vmid {
		return false
	}
	status, body := w.s.sim.Do("root@pam", "GET", "/nodes/pve1/vzdump/extractconfig", map[string]string{"volume": volid})
	var answer struct{ Data string }
	if status != 200 || json.Unmarshal([]byte(body), &answer) != nil {
		return false
	}
	inside := parseLawConfig(answer.Data)
	if len(reconciletest.MarkerLine.FindAllString(inside["description"], -1)) == 0 {
		return cmp.Or(inside["hostname"], inside["name"]) == name
	}
	_, wish := w.wish(vmid)
	m, ok := reconciletest.MarkOf(inside["description"])
	return ok && (m.Object == name || wish != nil && m.Object == wish.Was) && m.Vmid == vmid && m.Owner == "pve1"
}

func parseLawConfig(text string) map[string]string {
	g := &reconciletest.Guest{Config: map[string]string{}, Pending: map[string]string{}, Snaps: map[string]map[string]string{}}
	section := g.Config
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			section = g.ReadLine(line, section)
		}
	}
	return g.Config
}
