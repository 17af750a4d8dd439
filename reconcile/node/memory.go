package node

import (
	"strconv"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// defaultMemory is what a container has of memory and of swap where its config does not
// say, in MiB (PVE: LXC/Config.pm).
const defaultMemory = 512

// Limit is a memory limit in MiB as a config writes it; the default where it does not.
func Limit(value string) int64 {
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return n
	}
	return defaultMemory
}

// Lowers reports whether a declared limit, memory or swap, is below the one in force.
func Lowers(want spec.Config, have *proxmox.GuestConfig, key string) bool {
	value, declared := want.Values[key]
	return declared && have != nil && Limit(value) < Limit(have.Raw[key])
}

// LowersMemory reports whether a limit of a guest's memory is to be lowered.
func LowersMemory(want spec.Config, have *proxmox.GuestConfig) bool {
	return Lowers(want, have, "memory") || Lowers(want, have, "swap")
}
