package recovery

import (
	"iter"
	"maps"
)

// Privileges are those that the agent's token must have on /: these and no others. They exist in PVE 8 and 9.
var Privileges = []string{
	"Datastore.AllocateSpace", "Datastore.Audit", "Pool.Audit", "SDN.Use", "Sys.Audit", "VM.Allocate", "VM.Audit", "VM.Backup",
	"VM.Config.CPU", "VM.Config.Disk", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options", "VM.PowerMgmt", "VM.Snapshot", "VM.Snapshot.Rollback",
}

// Role is the role that has them.
const Role = "FelhomAgent"

func mapKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
