package applying

import (
	"context"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
)

// LastRead is what the last pass read of the storages and of the host, without another request; mounts is nil where there is no root helper. Only
// whom Watch or Planned calls may ask, and whoever ran Once, after it.
func (a *Agent) LastRead(ctx context.Context) (storages []proxmox.Storage, mounts []privileged.Mount, err error) {
	if a.earlier == nil {
		return nil, nil, nil
	}
	if host := a.earlier.Have.Host; host != nil {
		mounts = append([]privileged.Mount{}, host.Mounts...)
	}
	storages, err = a.earlier.View.ListStorage(ctx)
	return storages, mounts, err
}
