package laws

import (
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// onDump: a backup prunes nothing by itself.
func (w *witness) onDump(wr *lawWrite) {
	vmid, err := strconv.Atoi(wr.params["vmid"])
	if err != nil || wr.params["remove"] != "0" {
		w.s.fails("foreign", "a vzdump with %v", wr.params)
	}
	name, _ := w.wish(vmid)
	if _, ours := w.mark(wr, vmid); !ours && wr.world.Guests[vmid] != nil && wr.world.Guests[vmid].Config["lock"] != "destroyed" && !w.testified(wr, vmid, name) {
		w.s.fails("foreign", "a backup of %d, which is not ours", vmid)
	}
	w.oneWriter(wr, vmid)
	w.notAgain(wr)
	for _, t := range w.running(wr) {
		if f := strings.Fields(t); f[0] == "vzdump" && f[len(f)-1] == lawToken {
			w.s.fails("writers", "a second vzdump beside %s", t)
		}
	}
	if g := wr.world.Guests[vmid]; wr.params["mode"] == "stop" && g != nil && g.Running {
		w.oneDisruption(wr, vmid)
	}
}

// onArchive judges the change and the deletion of an archive.
func (w *witness) onArchive(wr *lawWrite) {
	_, name, ok := cutArchive(wr.path)
	if !ok {
		w.s.fails("foreign", "%s %s", wr.method, wr.path)
		return
	}
	var a reconciletest.Archive
	for key, have := range wr.world.Archives {
		if strings.HasSuffix(key, name) {
			a = wr.world.Archives[key]
			_ = have
		}
	}
	if a.Key == "" {
		return // it is not there any more
	}
	m, marked := reconciletest.MarkOf(a.Notes)
	ours := marked && m.Owner == "pve1" && m.Vmid == a.Vmid
	if !ours && !(wr.method == "PUT" && a.Notes == "") {
		w.s.fails("foreign", "%s of the archive %s, which is not ours: %q", wr.method, a.Key, a.Notes)
		return
	}
	if wr.method != "DELETE" {
		return
	}
	w.askedAgain(wr)
	w.keptThere(wr, m.Object)
	for _, t := range w.running(wr) {
		if (strings.HasPrefix(t, "vzrestore ") || strings.HasPrefix(t, "qmrestore ")) && w.reads(t, name) {
			w.s.fails("retention", "%s is deleted while %s reads it", a.Key, t)
		}
	}
	if w.s.torn {
		w.s.fails("retention", "%s is deleted, and the storage lists it twice, with different values", a.Key)
	}
	if a.Protected {
		w.s.fails("retention", "%s is protected", a.Key)
	}
	golden := w.want.Golden[m.Object] != nil
	newer := false
	for _, other := range wr.world.Archives {
		o, ok := reconciletest.MarkOf(other.Notes)
		same := ok && o.Object == m.Object && o.Owner == m.Owner && o.Vmid == m.Vmid && (golden || o.Born == m.Born)
		if same && !other.Cut && o.Size != "" && other.Made.After(a.Made) {
			newer = true
		}
	}
	if !newer {
		w.s.fails("retention", "%s is deleted, and no newer whole one of its birth is there", a.Key)
	}
	if live, ours := w.mark(wr, a.Vmid); !golden && (!ours || live.Born != m.Born) {
		w.s.fails("retention", "%s of an earlier birth is deleted", a.Key)
	}
}

// reads reports whether a restore that runs reads an archive.
func (w *witness) reads(task, name string) bool {
	vmid, _ := strconv.Atoi(strings.Fields(task)[1])
	return strings.HasSuffix(w.reading[vmid], name)
}

func cutArchive(s string) (dir, name string, ok bool) {
	for _, begin := range []string{"vzdump-lxc-", "vzdump-qemu-", "ct/", "vm/"} {
		if i := strings.Index(s, begin); i >= 0 {
			return s[:i], s[i:], true
		}
	}
	return "", "", false
}

// storagesOf are the storages that may have an archive.
func storagesOf(name string) []string {
	if strings.HasPrefix(name, "ct/") || strings.HasPrefix(name, "vm/") {
		return []string{"pbs"}
	}
	return []string{"usb-backup", "local"}
}
