package main

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
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
	token, err := proxmox.NewToken("robot@pve!here", "0")
	if err != nil {
		t.Fatal(err)
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
		}, "the ACL entry on / does not reach the paths below it: pveum acl modify / --propagate 1 --users robot@pve --tokens 'robot@pve!here' --roles FelhomAgent"},
		"none at all": {func(p proxmox.Permissions) { clear(p) }, "pveum acl modify / --users robot@pve --roles FelhomAgent; pveum acl modify / --tokens 'robot@pve!here' --roles FelhomAgent"},
	} {
		var out strings.Builder
		st := &selftest{w: &out, node: &node{config: &config{token: token}}}
		have := all()
		c.change(have)
		st.rights(have)
		if !strings.Contains(out.String(), c.says) || (st.failed == 0) != strings.HasPrefix(out.String(), "[ ok ]") {
			t.Errorf("%s: want %q in\n%s", name, c.says, out.String())
		}
	}
}

// A guest that the token is shut out of is in none of the lists of its rights and of guests.
func TestRightsThatAreTakenAway(t *testing.T) {
	sim := pvesim.New()
	if status, body := sim.Do("root@pam", "PUT", "/access/acl", map[string]string{"path": "/vms/101", "roles": "NoAccess", "tokens": sim.TokenID()}); status != 200 {
		t.Fatal(body)
	}
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Transport: sim, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	st := &selftest{view: client.Look(), w: &out}
	have, err := st.permissions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.rights(have); st.failed != 1 || !strings.Contains(out.String(), "/vms/101 (VM.Allocate, VM.Audit, ") {
		t.Error(out.String())
	}
}
