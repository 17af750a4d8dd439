package forecast

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// notesOf is the text of a notes template; see [proxmox.NotesTemplate].
var notesOf = strings.NewReplacer(`\n`, "\n", `\\`, `\`)

// backUp adds the archive of one vzdump. Its size is that of the guest's last one.
func (f *Forecast) backUp(params proxmox.Params) {
	vmid, err := proxmox.ParseVMID(params["vmid"])
	if err != nil {
		return
	}
	if state := f.guest(vmid); state != nil && params["mode"] == "stop" && state.Status == "running" {
		starts(state) // it is shut down and started again
	}
	storage := params["storage"]
	notes := notesOf.Replace(params["notes-template"])
	kind, short, format := proxmox.LXC, "ct", "tar.zst"
	if state := f.Node.Guests[vmid]; state != nil && state.Type.VM() {
		kind, short, format = state.Type, "vm", "vma.zst"
	}
	v := &proxmox.StorageContent{Content: "backup", Subtype: kind.String(), VMID: vmid, Size: proxmox.GiB, Format: format}
	list := node.ArchivesOf(f.Node, storage, vmid, kind)
	for _, last := range slices.Backward(list) { // one that is being made has no size yet
		if last.Size > 1 {
			v.Size = last.Size
		}
	}
	if len(list) > 0 && list[0].CTime.After(f.since.Add(-2*time.Second)) && list[0].Notes == "" {
		size := v.Size
		if v = &list[0]; v.Size <= 1 { // it is being made already, and listed
			v.Size = size
		}
	}
	for v.CTime = f.since; v.VolID == ""; { // two of one guest are never of one second
		volid := fmt.Sprintf("%s:backup/vzdump-%s-%d-%s.%s", storage, kind, vmid, v.CTime.Format("2006_01_02-15_04_05"), format)
		if state := f.Node.Storages[storage]; state != nil && state.Conf.Type == "pbs" {
			v.Format, volid = "pbs-"+short, fmt.Sprintf("%s:backup/%s/%d/%s", storage, short, vmid, v.CTime.UTC().Format("2006-01-02T15:04:05Z"))
		}
		if f.changed[volid] != nil || f.Node.Volume(volid) != nil {
			v.CTime = v.CTime.Add(time.Second)
			continue
		}
		v.VolID = volid
	}
	v.Notes = notes
	f.changed[v.VolID] = v
	f.Node.Foretold[v.VolID] = true
	f.Node.Memory.Archives[v.VolID] = journal.ArchiveState{Whole: true, Marker: v.Notes}
	f.pack(v.VolID, vmid)
}

// pack is the config inside an archive that has not been read: that of its guest.
func (f *Forecast) pack(volid string, vmid proxmox.VMID) {
	if _, read := f.Node.Inside[volid]; read {
		return
	}
	if state := f.Node.Guests[vmid]; state != nil && state.Config != nil {
		f.Node.Inside[volid] = node.Inside{Config: *state.Config}
	}
}

// content does what a request to one volume of a storage does.
func (f *Forecast) content(call proxmox.Call, volid string) {
	if call.Method == "DELETE" {
		f.changed[volid] = nil
		return
	}
	if v := f.Node.Volume(volid); v != nil {
		noted := *v
		noted.Notes = call.Params["notes"]
		f.changed[volid] = &noted
		f.pack(v.VolID, v.VMID)
	}
}

// Settle brings the lists of volumes up to date with what has changed since the last
// time, in one pass over the storages that are concerned.
func (f *Forecast) Settle() {
	if len(f.changed) == 0 {
		return
	}
	if !f.indexed {
		f.Node.ByID, f.Node.ByGuest, f.Node.ByObject = orNew(f.Node.ByID), orNew(f.Node.ByGuest), orNew(f.Node.ByObject)
		f.indexed = true
	}
	storages, guests := map[string]bool{}, map[proxmox.VMID]bool{}
	for volid, v := range f.changed {
		storages[text.ProxmoxStorage(volid)] = true
		for _, one := range []*proxmox.StorageContent{v, f.Node.ByID[volid]} {
			if one != nil {
				guests[one.VMID] = true
			}
		}
		delete(f.Node.ByID, volid)
	}
	for id := range storages {
		if old := f.Node.Storages[id]; old != nil {
			state := *old
			state.Content = slices.DeleteFunc(slices.Clone(old.Content), func(v proxmox.StorageContent) bool { _, gone := f.changed[v.VolID]; return gone })
			for _, volid := range text.Keys(f.changed) {
				if v := f.changed[volid]; v != nil && text.ProxmoxStorage(volid) == id {
					state.Content = append(state.Content, *v)
				}
			}
			f.Node.Storages[id] = &state
		}
	}
	kept := func(all []*proxmox.StorageContent) []*proxmox.StorageContent {
		return slices.DeleteFunc(slices.Clone(all), func(v *proxmox.StorageContent) bool { _, gone := f.changed[v.VolID]; return gone })
	}
	for vmid := range guests {
		f.Node.ByGuest[vmid] = kept(f.Node.ByGuest[vmid])
	}
	for _, volid := range text.Keys(f.changed) {
		v := f.changed[volid]
		if v == nil {
			continue
		}
		f.Node.ByID[volid] = v
		f.Node.ByGuest[v.VMID] = append(f.Node.ByGuest[v.VMID], v)
		if m, ok := f.Node.MarkerOf(v.Notes); ok && m.Owner == f.Node.Owner {
			name := text.OrElse(m.Facts["guest"], m.Object)
			f.Node.ByObject[name] = append(kept(f.Node.ByObject[name]), v)
		}
	}
	clear(f.changed)
}
