package forecast

import (
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// A backup server lists an archive while it is being made, with a size of 1 and no notes. When
// it is complete it has a size: that of the last complete one, or one that is no sign of damage.
func TestArchiveThatIsListedWhileItIsMade(t *testing.T) {
	began := time.Unix(1763830929, 0).UTC()
	making := proxmox.StorageContent{VolID: "pbs:backup/ct/110/2025-11-22T17:02:09Z", Content: "backup", Subtype: "lxc", VMID: 110, Size: 1, CTime: began}
	older := proxmox.StorageContent{VolID: "pbs:backup/ct/110/2025-11-21T17:02:09Z", Content: "backup", Subtype: "lxc", VMID: 110, Size: 5 * proxmox.GiB, CTime: began.Add(-24 * time.Hour), Notes: "marked"}
	cut := older
	cut.Size, cut.Notes = 1, ""
	for name, c := range map[string]struct {
		listed []proxmox.StorageContent
		size   proxmox.Size
	}{
		"the first one":          {[]proxmox.StorageContent{making}, proxmox.GiB},
		"after a complete one":   {[]proxmox.StorageContent{making, older}, 5 * proxmox.GiB},
		"after one that was cut": {[]proxmox.StorageContent{making, cut}, proxmox.GiB},
	} {
		t.Run(name, func(t *testing.T) {
			have := &node.Observed{Now: began.Add(time.Minute), Storages: map[string]*node.StorageState{"pbs": {Conf: proxmox.Storage{ID: "pbs", Type: "pbs"}}},
				ByID: map[string]*proxmox.StorageContent{}, ByGuest: map[proxmox.VMID][]*proxmox.StorageContent{}}
			for _, v := range c.listed {
				have.ByID[v.VolID] = &v
				have.ByGuest[110] = append(have.ByGuest[110], &v)
			}
			f := New(&spec.Desired{}, have)
			f.Apply(&plan.Action{Call: &proxmox.Call{Method: "POST", Path: "/nodes/pve1/vzdump",
				Params: proxmox.Params{"vmid": "110", "storage": "pbs", "mode": "snapshot", "notes-template": "marked"}}}, began)
			if v := f.changed[making.VolID]; v == nil || v.Size != c.size || v.Notes != "marked" || len(f.changed) != 1 {
				t.Errorf("will be %+v, want a size of %d", v, c.size)
			}
			if have.ByID[making.VolID].Size != 1 {
				t.Error("what was observed has changed")
			}
		})
	}
}
