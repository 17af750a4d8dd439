package node

import (
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// Ejected reports whether a disk must not be mounted: it was ejected, and not disconnected
// and connected again since.
func Ejected(o *Observed, disk spec.Disk) (state.Hold, bool) {
	h, ok := o.Stored.Ejected(disk.UUID, o.Now)
	return h, ok && !(h.Gone && Connected(o, h)) && !Reconnected(o, h)
}

// Connected reports whether the disk of a hold is there.
func Connected(o *Observed, h state.Hold) bool {
	return o.Host != nil && slices.ContainsFunc(o.Host.Disks, func(d privileged.Disk) bool { return strings.EqualFold(d.UUID, h.UUID) })
}

// Reconnected reports whether the ejected disk is there as another device: it was
// disconnected between two refreshes.
func Reconnected(o *Observed, h state.Hold) bool {
	return h.Device != "" && o.Host != nil && slices.ContainsFunc(o.Host.Disks, func(d privileged.Disk) bool { return strings.EqualFold(d.UUID, h.UUID) && d.Device != h.Device })
}
