package questions

import (
	"cmp"
	"fmt"
	"maps"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// BindSource is the path on the host that a declared bind means.
func BindSource(q Questions, declared spec.MountPoint) string {
	if declared.Host != "" {
		return declared.Host
	}
	return strings.TrimSuffix(q.Want.Mounts[declared.Mount].Path, "/") + "/" + strings.Trim(declared.Folder, "/")
}

// NeedsHost is why an operation of the root helper cannot be sent from here.
func NeedsHost(q Questions) *plan.Blocker {
	reason := fmt.Sprintf("needs the host %s", q.Have.Node)
	if q.Have.HostReason != "" {
		reason += ": " + q.Have.HostReason
	}
	fix := "run the agent on " + q.Have.Node + " with a runner (sudo, socket or direct)"
	if strings.Contains(q.Have.HostReason, "does not answer") { // the reason says what is wrong with the way that there is
		fix = "whether it answers then: felhom-agent --selftest"
	}
	return &plan.Blocker{Reason: reason, Fix: []string{fix}}
}

// SameBind reports whether a bind has the declared place and options.
func SameBind(live proxmox.MountPoint, declared spec.MountPoint) bool {
	want := MountOptions(declared)
	want["ro"] = cmp.Or(want["ro"], "0")
	old, new := compare.Overlay(maps.Clone(live), want)
	return old == "" && new == ""
}

// SameDevice reports whether a passed device is the declared one, with its options.
func SameDevice(live, declared proxmox.Device) bool {
	old, new := compare.Overlay(maps.Clone(live), declared)
	return old == "" && new == ""
}
