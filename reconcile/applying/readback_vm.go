package applying

import (
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// lacksVM looks at what a restore, a rollback or a resize leaves of a virtual machine: one without
// a lock, with drives.
func lacksVM(call *proxmox.Call, kind string, vmid proxmox.VMID, config *proxmox.GuestConfig) (missing, fix string) {
	switch {
	case config.Lock() != "" && kind != "resize":
		return fmt.Sprintf("%d is locked (%s)", vmid, config.Lock()), fmt.Sprintf("see what locks it: qm config %d; if nothing does: qm unlock %d", vmid, vmid)
	case len(config.Drives()) == 0:
		return fmt.Sprintf("%d has no drive", vmid), ""
	}
	switch kind {
	case "rollback":
		if _, name, _ := strings.Cut(strings.TrimSuffix(call.Path, "/rollback"), "/snapshot/"); config.Parent() != name {
			return fmt.Sprintf("%d does not stem from the snapshot %s", vmid, name), ""
		}
	case "resize":
		disk := call.Params["disk"]
		drive := config.Drives()[disk]
		want, err := proxmox.ParseSize(call.Params["size"])
		if size, sized := drive.Size(); err != nil || !sized || size < want {
			return fmt.Sprintf("%s of %d is %s", disk, vmid, text.OrElse(drive["size"], "of no known size")), fmt.Sprintf("qm disk rescan --vmid %d", vmid)
		}
	}
	return "", ""
}
