package applying

import (
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
)

// LastRead is what the last pass read of the storages and of the host, without another request; mounts is nil where there is no root helper. Only
// whom Watch or Planned calls may ask, and whoever ran Once, after it.
func (a *Agent) LastRead() (storages []proxmox.Storage, mounts []privileged.Mount) {
	if a.earlier == nil {
		return nil, nil
	}
	if host := a.earlier.Last.Host; host != nil {
		mounts = append([]privileged.Mount{}, host.Mounts...)
	}
	return a.facts.Storages(), mounts
}
