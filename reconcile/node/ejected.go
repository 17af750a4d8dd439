package node

import (
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// Ejected reports whether a disk is not to be mounted: somebody ejected it, and it was
// not unplugged and plugged in since.
func (o *Observed) Ejected(disk spec.Disk) (state.Hold, bool) {
	h, ok := o.Stored.Ejected(disk.UUID, o.Now)
	return h, ok && !(h.Gone && o.Plugged(h)) && !o.Replugged(h)
}

func (o *Observed) Plugged(h state.Hold) bool {
	return o.Host != nil && slices.ContainsFunc(o.Host.Disks, func(d privileged.Disk) bool { return strings.EqualFold(d.UUID, h.UUID) })
}

// Replugged reports whether the ejected disk is there as another device: it was
// unplugged between two looks.
func (o *Observed) Replugged(h state.Hold) bool {
	return h.Device != "" && o.Host != nil && slices.ContainsFunc(o.Host.Disks, func(d privileged.Disk) bool { return strings.EqualFold(d.UUID, h.UUID) && d.Device != h.Device })
}
