package recovery

import (
	"iter"
	"maps"
	"slices"

	"github.com/felhom/felhom-agent/spec"
)

// Privileges are those that the agent's token must have on /: these and no others. They exist in PVE 8 and 9.
var Privileges = []string{
	"Datastore.AllocateSpace", "Datastore.Audit", "Pool.Audit", "SDN.Use", "Sys.Audit", "VM.Allocate", "VM.Audit", "VM.Backup",
	"VM.Config.CPU", "VM.Config.Disk", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options", "VM.PowerMgmt", "VM.Snapshot", "VM.Snapshot.Rollback",
}

// VMPrivileges are those that a household with virtual machines needs beyond them: PVE restores a
// virtual machine with mapped devices of the host (USB, PCI, folders, hwrng) only with it.
var VMPrivileges = []string{"Mapping.Use"}

// PrivilegesFor are those that a desired state needs on /.
func PrivilegesFor(want *spec.Desired) []string {
	for _, guests := range []map[string]*spec.Guest{want.Guests, want.Restores} {
		for _, g := range guests {
			if g.Type.VM() {
				return slices.Sorted(slices.Values(slices.Concat(Privileges, VMPrivileges)))
			}
		}
	}
	return Privileges
}

// Role is the role that has them.
const Role = "FelhomAgent"

func mapKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
