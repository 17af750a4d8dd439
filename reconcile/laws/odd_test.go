package laws

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// What people and machines do besides: hold a guest, lock it, mount its disks, take rights
// from the token, stop its tasks, delete its snapshots, reboot the node, set its clock.

// odd is one of these things.
func (s *scenario) odd(kind, seed int) {
	g := s.house.guests[seed%len(s.house.guests)]
	on := g.path()
	have := reconciletest.Read(s.sim).Guests[g.vmid]
	s.witness.disturbed()
	switch kind {
	case 0, 1:
		if s.person("PUT", on+"/config", map[string]string{"tags": "felhom-hold"}) == 200 {
			s.witness.heldBy(fmt.Sprint(g.vmid), true)
		}
	case 2:
		if s.person("PUT", on+"/config", map[string]string{"tags": "felt"}) == 200 {
			s.witness.heldBy(fmt.Sprint(g.vmid), false)
		}
	case 3, 4:
		name := pick(s.r, "all", g.section+"/"+g.name)
		s.tell("person: --hold %s", name)
		if err := s.here.store.AddHold(reconcile.Hold{Name: name, Kind: reconcile.HoldPerson, By: "anna", Since: s.sim.Now()}); err != nil {
			s.t.Fatal(err)
		}
		s.witness.heldBy(name, true)
	case 5:
		s.releaseAll()
	case 6:
		s.person("PUT", on+"/config", map[string]string{"lock": pick(s.r, "backup", "snapshot", "migrate", "fstrim", "create")})
	case 7:
		s.shell(fmt.Sprintf("%s unlock %d", g.tool(), g.vmid))
	case 8:
		s.shell(fmt.Sprintf("pct mount %d", g.vmid))
	case 9:
		s.shell(fmt.Sprintf("pct unmount %d", g.vmid))
	case 10, 11:
		path := pick(s.r, fmt.Sprintf("/vms/%d", g.vmid), "/storage/usb-backup", "/storage/local-lvm")
		s.person("PUT", "/access/acl", map[string]string{"path": path, "roles": pick(s.r, "NoAccess", "PVEAuditor"), "tokens": lawToken})
		s.witness.hides(true)
	case 12:
		s.allRights()
	case 13:
		if have != nil && len(have.Snaps) > 0 {
			names := sortedNames(have.Snaps)
			s.person("DELETE", on+"/snapshot/"+names[seed%len(names)], nil)
		}
	case 14:
		s.person("PUT", on+"/config", map[string]string{"protection": fmt.Sprint(seed % 2)})
	case 15:
		s.person("PUT", on+"/config", map[string]string{g.hostname(): pick(s.r, "other", g.name)})
	case 16:
		for _, t := range s.witness.list() {
			if t.EndTime == 0 && t.owner() == lawToken {
				s.person("DELETE", "/nodes/pve1/tasks/"+t.UPID, nil)
				break
			}
		}
	case 18:
		s.person("PUT", "/storage/usb-backup", map[string]string{"disable": fmt.Sprint(seed % 2)})
	case 19:
		s.person("PUT", "/storage/usb-backup", map[string]string{"content": pick(s.r, "iso", "backup", "backup,iso")})
	case 20:
		if len(reconciletest.Read(s.sim).Tasks) > 0 { // what PVE does with one in use nobody has tried
			break
		}
		if s.person("DELETE", "/storage/usb-backup", nil) != 200 {
			s.storageAgain()
		}
	case 21:
		s.person("PUT", "/storage/usb-backup", map[string]string{"prune-backups": pick(s.r, "keep-last=1", "keep-all=1")})
	case 17:
		if seed%3 == 0 {
			s.person("POST", "/nodes/pve1/status", map[string]string{"command": "reboot"})
		}
	}
}

func sortedNames[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *scenario) shell(command string) {
	printed, err := s.sim.Shell("pve1", command)
	s.tell("root: %s: %v %s", command, err, strings.TrimSpace(printed))
}

func (s *scenario) releaseAll() {
	s.tell("person: --release all")
	if _, err := s.here.store.Release("all"); err != nil {
		s.t.Fatal(err)
	}
	for _, ref := range s.inForce().Refs() {
		if _, err := s.here.store.Release(ref.String()); err != nil {
			s.t.Fatal(err)
		}
	}
	s.witness.releasedAll()
}

// allRights gives the token back what people have hidden from it.
func (s *scenario) allRights() {
	for _, path := range append([]string{"/storage/usb-backup", "/storage/local-lvm"}, s.guestPaths()...) {
		for _, role := range []string{"NoAccess", "PVEAuditor"} {
			s.sim.Do("root@pam", "PUT", "/access/acl", map[string]string{"path": path, "roles": role, "tokens": lawToken, "delete": "1"})
		}
	}
	s.tell("person: gives the token its rights back")
	s.witness.hides(false)
}

func (s *scenario) guestPaths() []string {
	paths := append([]string{"/vms/101"}, vmPaths()...)
	for vmid := 110; vmid < 116; vmid++ {
		paths = append(paths, fmt.Sprintf("/vms/%d", vmid))
	}
	return paths
}

// storageAgain defines the storage of the backups as it was.
func (s *scenario) storageAgain() {
	params := map[string]string{"storage": "usb-backup", "type": "dir", "path": "/mnt/usb/backup", "is_mountpoint": "yes", "content": "backup", "prune-backups": "keep-all=1"}
	if s.person("POST", "/storage", params) != 200 {
		s.person("PUT", "/storage/usb-backup", map[string]string{"content": "backup", "prune-backups": "keep-all=1", "disable": "0"})
	}
}

// stepClock sets the node's clock, between two lives of the agent or while it sleeps.
func (s *scenario) stepClock() {
	by := pick(s.r, -20*time.Second, -10*time.Minute, -3*time.Hour, -30*time.Hour, 10*time.Minute, 3*time.Hour, 30*time.Hour, 400*24*time.Hour)
	s.tell("the clock is set by %s", by)
	s.sim.StepClock(by)
	s.witness.stepped(by)
}

// oddlyCalm undoes what would leave the household held for good, mostly.
func (s *scenario) oddlyCalm() {
	if s.profile.odd == 0 || s.r.IntN(4) == 0 {
		return
	}
	s.releaseAll()
	s.allRights()
	s.storageAgain()
	for _, g := range s.house.guests {
		s.shell(fmt.Sprintf("%s unlock %d", g.tool(), g.vmid))
		s.shell(fmt.Sprintf("pct unmount %d", g.vmid))
		if s.r.IntN(2) == 0 {
			s.person("PUT", g.path()+"/config", map[string]string{"tags": "felt", "protection": "0", g.hostname(): g.name})
		}
	}
}

// heldBy notes that people hold something, by VMID or by name, or let it go.
func (w *witness) heldBy(what string, yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if delete(w.held, what); yes {
		w.held[what] = time.Now()
	}
}

func (w *witness) releasedAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for what := range w.held {
		if what == "all" || strings.Contains(what, "/") {
			delete(w.held, what)
		}
	}
}

// stepped shifts what the witness remembers by the node's clock.
func (w *witness) stepped(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jumped = true
	clear(w.down)
	for key, at := range w.unknown {
		w.unknown[key] = at.Add(by)
	}
}

// hides notes that people have hidden from the token what lies on a storage: it may send
// again what it cannot see, and PVE refuses it.
func (w *witness) hides(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hidden = yes
}

// holdSlack is how long before an agent's look something must have been held to be seen.
const holdSlack = 2 * time.Minute

// leftAlone: nothing at all on what is held.
func (w *witness) leftAlone(i *wire, wr *lawWrite) {
	long := func(what string) bool {
		since, held := w.held[what]
		return held && time.Since(since) > holdSlack && wr.readAt.Sub(since) > holdSlack && i.place == w.s.here
	}
	if long("all") {
		w.s.fails("held", "%s %s is sent while everything is held", wr.method, wr.path)
	}
	vmid := wr.params["vmid"]
	if m := lawGuestPath.FindStringSubmatch(wr.path); m != nil {
		vmid = m[1]
	}
	if vmid == "" {
		return
	}
	for _, g := range w.want.AllGuests() {
		if g.VMID.String() != vmid {
			continue
		}
		world := wr.world.Guests[int(g.VMID)]
		tagged := world != nil && slices.Contains(strings.Split(world.Config["tags"], ";"), "felhom-hold")
		if g.Paused || long(g.Ref.String()) || long(vmid) && tagged {
			w.s.fails("held", "%s %s is sent while %s is held", wr.method, wr.path, g.Ref)
		}
	}
}

// notAgain: no second archive for one wish.
func (w *witness) notAgain(wr *lawWrite) {
	m, ok := reconciletest.MarkOf(wr.params["notes-template"])
	b := w.want.Backups[strings.TrimPrefix(m.Object, "backups/")]
	if !ok || b == nil || !w.alone() || w.hidden {
		return
	}
	if _, conf := w.s.sim.Do("root@pam", "GET", "/storage/"+b.Storage, nil); !strings.Contains(conf, `"content":"backup`) {
		return // it lists none, and PVE refuses another
	}
	if g := w.want.Guest(m.Guest); g != nil && g.Absent {
		return // the last one before its deletion, at any time
	}
	now, err := time.Parse(time.DateTime, w.s.sim.Now().Format(time.DateTime)) // as archives are named
	if err != nil {
		w.s.t.Fatal(err)
	}
	since := now.Add(-b.Every).Add(time.Minute)
	if b.At != nil {
		since = time.Date(now.Year(), now.Month(), now.Day(), 2, 30, 0, 0, time.UTC)
		if since.After(now) {
			since = since.AddDate(0, 0, -1)
		}
	}
	for _, a := range wr.world.Archives {
		have, ok := reconciletest.MarkOf(a.Notes)
		if ok && !a.Cut && have.Object == m.Object && have.Guest == m.Guest && have.Vmid == m.Vmid && have.Owner == m.Owner && have.Born == m.Born &&
			!a.Made.Before(since) && !a.Made.After(now) && lawStorageOf(a.Key) == b.Storage {
			w.s.fails("twice", "%s of %s is made at %s although %s is there", m.Object, m.Guest, now.Format(time.DateTime), a.Key)
		}
	}
}

// lawStorageOf is the storage on which a world lists an archive, by its place.
func lawStorageOf(key string) string {
	if storage, _, ok := strings.Cut(key, ":backup/"); ok {
		return storage
	}
	return "usb-backup" // on its disk
}
