package api

import (
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lifecycle"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/snapshots"
	"github.com/felhom/felhom-agent/proxmox/pvesim/volumes"
)

// addVMs adds the methods of virtual machines. Their handlers are those of containers where PVE
// does the same; the path tells which it is.
func addVMs(add func(method, path string, rt request.Route)) {
	const vmKeys = "node! format=node\nvmid! integer 100..999999999 format=vmid\n"
	const snapKeys = vmKeys + "snapname! format=configid len=0..40\n"
	do := func(method, path, params string, perm, run func(*request.Call) error, with ...*schema.Schema) {
		add(method, "/nodes/{node}/qemu"+path, request.Route{Schema: schema.New(params, with...), Perm: perm, Run: run, Protected: true})
	}
	var drives []string
	for kind, n := range map[string]int{"ide": 4, "sata": 6, "scsi": 31, "virtio": 16, "efidisk": 1, "tpmstate": 1} {
		for i := range n {
			drives = append(drives, kind+strconv.Itoa(i))
		}
	}
	do("GET", "", "node! format=node\nfull boolean", nil, guests.List)
	do("POST", "", vmKeys+"archive len=0..255\nbwlimit integer 0..\nforce boolean requires=archive\nha-managed boolean\nlive-restore boolean requires=archive\npool format=poolid\nstart boolean\nstorage format=storage\nunique boolean requires=archive",
		nil, lifecycle.CreateVM, schema.Machine)
	add("GET", "/nodes/{node}/qemu/{vmid}", request.Route{Schema: schema.New(vmKeys), Run: request.OfGuest(request.Index("subdir", "config", "pending", "status", "agent", "snapshot", "resize"))})
	do("DELETE", "/{vmid}", vmKeys+"destroy-unreferenced-disks boolean\npurge boolean\nskiplock boolean", request.VMNeeds("VM.Allocate"), lifecycle.Destroy)
	audit := request.VMNeeds("VM.Audit")
	add("GET", "/nodes/{node}/qemu/{vmid}/config", request.Route{Schema: schema.New(vmKeys + "current boolean\nsnapshot format=configid len=0..40"), Perm: audit, Run: guests.Config})
	add("GET", "/nodes/{node}/qemu/{vmid}/pending", request.Route{Schema: schema.New(vmKeys), Perm: audit, Run: guests.Pending})
	change := vmKeys + "delete format=configid-list list\ndigest len=0..40\nforce boolean\nrevert format=configid-list list\nskiplock boolean\n"
	may := request.VMNeedsAny("VM.Config.Disk", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.HWType", "VM.Config.Options", "VM.Config.Cloudinit")
	do("PUT", "/{vmid}/config", change, may, guests.Update, schema.Machine)
	do("POST", "/{vmid}/config", change+"background_delay integer 1..30", may, guests.Update, schema.Machine)
	do("GET", "/{vmid}/status/current", vmKeys, audit, guests.Status)
	power := request.VMNeeds("VM.PowerMgmt")
	do("POST", "/{vmid}/status/start", vmKeys+"skiplock boolean\ntimeout integer 0..", power, guests.Start)
	do("POST", "/{vmid}/status/stop", vmKeys+"keepActive boolean\noverrule-shutdown boolean\nskiplock boolean\ntimeout integer 0..", power, guests.Stop)
	do("POST", "/{vmid}/status/shutdown", vmKeys+"forceStop boolean\nkeepActive boolean\nskiplock boolean\ntimeout integer 0..", power, guests.Shutdown)
	do("POST", "/{vmid}/status/reboot", vmKeys+"timeout integer 0..", power, guests.Reboot)
	do("GET", "/{vmid}/feature", vmKeys+"feature! enum=snapshot,clone,copy\nsnapname format=configid len=0..40", audit, guests.Feature)
	do("PUT", "/{vmid}/resize", vmKeys+"digest len=0..40\ndisk! enum="+strings.Join(drives, ",")+"\nskiplock boolean\nsize! re=\\+?\\d+(\\.\\d+)?[KMGT]?", request.VMNeeds("VM.Config.Disk"), volumes.Resize)
	do("GET", "/{vmid}/snapshot", vmKeys, audit, snapshots.List)
	do("POST", "/{vmid}/snapshot", snapKeys+"description\nvmstate boolean", request.VMNeeds("VM.Snapshot"), snapshots.Create)
	do("DELETE", "/{vmid}/snapshot/{snapname}", snapKeys+"force boolean", request.VMNeeds("VM.Snapshot"), snapshots.Delete)
	do("GET", "/{vmid}/snapshot/{snapname}/config", snapKeys, request.VMNeedsAny("VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit"), snapshots.GetConfig)
	do("PUT", "/{vmid}/snapshot/{snapname}/config", snapKeys+"description", request.VMNeeds("VM.Snapshot"), snapshots.Describe)
	do("POST", "/{vmid}/snapshot/{snapname}/rollback", snapKeys+"start boolean", request.VMNeedsAny("VM.Snapshot", "VM.Snapshot.Rollback"), snapshots.Rollback)
	do("POST", "/{vmid}/agent/ping", vmKeys, request.VMNeedsAny("VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"), guests.AgentPing)
}
