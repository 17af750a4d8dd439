package storages

import (
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
)

// VolumeAccess is who may use a volume for a guest. PVE: Storage check_volume_access.
func VolumeAccess(cl *cluster.Cluster, w *rights.Subject, vmid int, volid, want string) error {
	id, name, ok := strings.Cut(volid, ":")
	if !ok || strings.HasPrefix(volid, "/") {
		if w.Root() {
			return nil
		}
		return refusal.Fail("Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 651.")
	}
	st := cl.Storages[id]
	if st == nil {
		return refusal.Fail("storage '%s' does not exist", id)
	}
	kind, owner, err := st.KindOf(name)
	if err != nil {
		return err
	}
	if want != kind && !(want == "rootdir" && kind == "images") {
		return refusal.Fail("unable to use volume %s - content type needs to be '%s'", volid, want)
	}
	if cl.Rights.Can(w, rights.OnStorage(id), "Datastore.Allocate") {
		return nil
	}
	switch {
	case kind == "iso" || kind == "vztmpl":
		return cl.Rights.NeedAny(w, rights.OnStorage(id), "Datastore.AllocateSpace", "Datastore.Audit")
	case owner != 0 && owner == vmid:
		return nil
	case kind == "backup" && owner != 0:
		if err := cl.Rights.Need(w, rights.OnStorage(id), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		return cl.Rights.Need(w, rights.OnVM(owner), "VM.Backup")
	case kind == "images" && owner != 0:
		if err := cl.Rights.Need(w, rights.OnStorage(id), "Datastore.Audit"); err != nil {
			return err
		}
		return cl.Rights.Need(w, rights.OnVM(owner), "VM.Config.Disk")
	}
	return refusal.Fail("missing privileges to access %s", volid)
}
