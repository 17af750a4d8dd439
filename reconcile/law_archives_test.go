package reconcile

import (
	"strconv"
	"strings"
)

// onDump: a backup prunes nothing by itself.
func (w *witness) onDump(wr *lawWrite) {
	vmid, err := strconv.Atoi(wr.params["vmid"])
	if err != nil || wr.params["remove"] != "0" {
		w.s.fails("foreign", "a vzdump with %v", wr.params)
	}
	name, _ := w.wish(vmid)
	if _, ours := w.mark(wr, vmid); !ours && wr.world.guests[vmid] != nil && !w.testified(wr, vmid, name) {
		w.s.fails("foreign", "a backup of %d, which is not ours", vmid)
	}
	w.oneWriter(wr, vmid)
	w.notAgain(wr)
	for _, t := range w.running(wr) {
		if f := strings.Fields(t); f[0] == "vzdump" && f[len(f)-1] == lawToken {
			w.s.fails("writers", "a second vzdump beside %s", t)
		}
	}
	if g := wr.world.guests[vmid]; wr.params["mode"] == "stop" && g != nil && g.running {
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
	var a lawArchive
	for key, have := range wr.world.archives {
		if strings.HasSuffix(key, name) {
			a = wr.world.archives[key]
			_ = have
		}
	}
	if a.key == "" {
		return // it is not there any more
	}
	m, marked := lawMarkOf(a.notes)
	ours := marked && m.owner == "pve1" && m.vmid == a.vmid
	if !ours && !(wr.method == "PUT" && a.notes == "") {
		w.s.fails("foreign", "%s of the archive %s, which is not ours: %q", wr.method, a.key, a.notes)
		return
	}
	if wr.method != "DELETE" {
		return
	}
	for _, t := range w.running(wr) {
		if strings.HasPrefix(t, "vzrestore ") && w.reads(t, name) {
			w.s.fails("retention", "%s is deleted while %s reads it", a.key, t)
		}
	}
	if w.s.torn {
		w.s.fails("retention", "%s is deleted, and the storage lists it twice, with different values", a.key)
	}
	if a.protected {
		w.s.fails("retention", "%s is protected", a.key)
	}
	golden := w.want.Golden[m.object] != nil
	newer := false
	for _, other := range wr.world.archives {
		o, ok := lawMarkOf(other.notes)
		same := ok && o.object == m.object && o.owner == m.owner && o.vmid == m.vmid && (golden || o.born == m.born)
		if same && !other.cut && o.size != "" && other.made.After(a.made) {
			newer = true
		}
	}
	if !newer {
		w.s.fails("retention", "%s is deleted, and no newer whole one of its birth is there", a.key)
	}
	if live, ours := w.mark(wr, a.vmid); !golden && (!ours || live.born != m.born) {
		w.s.fails("retention", "%s of an earlier birth is deleted", a.key)
	}
}

// reads reports whether a restore that runs reads an archive.
func (w *witness) reads(task, name string) bool {
	vmid, _ := strconv.Atoi(strings.Fields(task)[1])
	return strings.HasSuffix(w.reading[vmid], name)
}

func cutArchive(s string) (dir, name string, ok bool) {
	i := strings.Index(s, "vzdump-lxc-")
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i:], true
}
