package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
)

// storages looks at those that hold backups, as a backup to them would. One with a
// retention of its own may be somebody else's: wrong is only that there is no other.
func (t *selftest) storages(ctx context.Context) {
	confs, err := t.view.ListStorage(ctx)
	if err != nil {
		t.fail("storages", "%v", err)
		return
	}
	states, err := t.view.NodeStorage(ctx, t.node.Source.Node)
	if err != nil {
		t.fail("storages", "%v", err)
		return
	}
	active, left := map[string]bool{}, map[string]proxmox.Size{}
	for _, s := range states {
		active[s.ID], left[s.ID] = s.Active, s.Avail
	}
	confs = slices.DeleteFunc(confs, func(s proxmox.Storage) bool { // those of other nodes
		return len(s.Nodes) > 0 && !slices.Contains(s.Nodes, t.node.Source.Node)
	})
	var names []string
	for _, s := range confs {
		name := s.ID
		if !active[s.ID] {
			name += " (not active)"
		}
		names = append(names, name)
	}
	if len(confs) == 0 {
		t.fail("storages", "the token sees none: it needs Datastore.Audit")
		return
	}
	t.ok("storages", "%s", strings.Join(names, ", "))
	kept, pruned := 0, ""
	for _, s := range confs {
		if !slices.Contains(s.Content, "backup") || s.Disabled {
			continue
		}
		retention, ok := t.retention(ctx, s, active[s.ID])
		switch what := whetherActive(s, active[s.ID]); {
		case !ok:
			continue
		case retention != "":
			pruned = s.ID
			t.ok("backup storage", "%s %s, but not for backups of this agent, which PVE would delete or refuse by %s. To set it off: pvesm set %s --prune-backups keep-all=1", s.ID, what, retention, s.ID)
			continue
		case strings.HasPrefix(s.Path, "/mnt/") && !onlyMounted(s):
			t.ok("backup storage", "%s %s, keeps all; is %s a disk that may be away? Then PVE would fill the root disk: pvesm set %s --is_mountpoint yes", s.ID, what, s.Path, s.ID)
		case onlyMounted(s):
			t.ok("backup storage", "%s %s, keeps all, only while its disk is mounted (is_mountpoint)", s.ID, what)
		default:
			t.ok("backup storage", "%s %s, keeps all", s.ID, what)
		}
		kept++
		if active[s.ID] && s.Type != "pbs" { // a backup server stores differences
			t.room(ctx, s.ID, left[s.ID])
		}
	}
	if kept == 0 && pruned != "" {
		t.fail("backup storage", "there is none that keeps all. Set the retention of one off: pvesm set %s --prune-backups keep-all=1", pruned)
	}
}

// whetherActive says whether a storage can be used, and of one of a backup server whether what
// it holds can be read without a key.
func whetherActive(s proxmox.Storage, active bool) string {
	what := "is active"
	switch {
	case !active && s.Type == "pbs":
		what = "is not active now (does its server answer?)"
	case !active:
		what = "is not active now (is its disk away?)"
	}
	if s.Type != "pbs" {
		return what
	}
	if _, encrypted := s.EncryptionKey(); encrypted {
		return what + ", encrypted (keep its key away from this host too: no restore without it)"
	}
	return what + ", not encrypted"
}

// onlyMounted reports whether PVE uses a storage only while something is mounted there.
func onlyMounted(s proxmox.Storage) bool { return s.IsMountpoint != "" && s.IsMountpoint != "no" }

// retention names what PVE itself deletes archives by, "" where it keeps all; ok is false
// where that is not known.
func (t *selftest) retention(ctx context.Context, s proxmox.Storage, active bool) (text string, ok bool) {
	keep, text := s.PruneBackups, "its own retention"
	if keep == "" && active {
		var err error
		if keep, err = t.view.BackupRetention(ctx, t.node.Source.Node, s.ID); err != nil {
			t.fail("backup storage", "%s: what PVE itself keeps on it is not known: %v", s.ID, err)
			return "", false
		}
		text = "the retention in /etc/vzdump.conf"
	}
	if keep == "" || keep == "keep-all=1" {
		return "", true
	}
	return text + " (" + keep + ")", true
}

// room compares what is left on a storage with the largest of the containers' newest
// archives on it.
func (t *selftest) room(ctx context.Context, storage string, left proxmox.Size) {
	content, err := t.view.StorageContent(ctx, t.node.Source.Node, storage, proxmox.ContentFilter{Content: "backup"})
	if err != nil {
		t.fail("backup storage", "%s cannot be read: %v", storage, err)
		return
	}
	newest := map[proxmox.VMID]proxmox.StorageContent{}
	for _, v := range content {
		if v.Subtype != "qemu" && v.CTime.After(newest[v.VMID].CTime) {
			newest[v.VMID] = v
		}
	}
	var largest proxmox.StorageContent
	for _, vmid := range slices.Sorted(maps.Keys(newest)) {
		if newest[vmid].Size > largest.Size {
			largest = newest[vmid]
		}
	}
	if left < largest.Size {
		t.fail("backup storage", "%s has %s left, and the newest archive of %s has %s: the next one does not fit. Free space, or connect a larger disk", storage, left.Human(), largest.VMID, largest.Size.Human())
	}
}
