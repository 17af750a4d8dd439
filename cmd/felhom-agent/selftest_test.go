package main

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox"
)

// The rights must be there everywhere: an entry on / that reaches no further, and one on a path below
// that shuts the token out, which PVE then leaves out of its list, are both told.
func TestRightsReachEverywhere(t *testing.T) {
	whole := map[string]bool{}
	here := map[string]bool{}
	for _, privilege := range needed {
		whole[privilege], here[privilege] = true, false
	}
	all := func() proxmox.Permissions {
		return proxmox.Permissions{"/": whole, "/access": whole, "/access/groups": whole, "/nodes": whole, "/pool": whole, "/sdn": whole, "/storage": whole, "/vms": whole}
	}
	for name, c := range map[string]struct {
		change func(proxmox.Permissions)
		says   string
	}{
		"all":                 {func(proxmox.Permissions) {}, "[ ok ] privileges     all 16 that are needed, on /"},
		"shut out of /vms":    {func(p proxmox.Permissions) { delete(p, "/vms") }, "/vms (VM.Allocate, VM.Audit, "},
		"shut out of a guest": {func(p proxmox.Permissions) { p["/vms/131"] = nil }, "/vms/131 (VM.Allocate, VM.Audit, "},
		"less for a storage":  {func(p proxmox.Permissions) { p["/storage/x"] = map[string]bool{"Datastore.Audit": true} }, "/storage/x (Datastore.AllocateSpace)"},
		"only on /": {func(p proxmox.Permissions) {
			clear(p)
			p["/"] = here
		}, "the ACL entry on / does not reach the paths below it: pveum acl modify / --propagate 1"},
	} {
		var out strings.Builder
		st := &selftest{w: &out}
		have := all()
		c.change(have)
		st.rights(have)
		if !strings.Contains(out.String(), c.says) || (st.failed == 0) != strings.HasPrefix(out.String(), "[ ok ]") {
			t.Errorf("%s: want %q in\n%s", name, c.says, out.String())
		}
	}
}
