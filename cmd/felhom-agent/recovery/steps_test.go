package recovery

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// The role of a recovered host has what the YAML of its kit needs: one with VMs needs more.
func TestTheRoleHasWhatVMsNeed(t *testing.T) {
	for name, c := range map[string]struct {
		guests map[string]*spec.Guest
		role   []string // that there is already
		want   string
	}{
		"containers":             {map[string]*spec.Guest{"dns": {}}, nil, "create it with 16 privileges"},
		"VMs":                    {map[string]*spec.Guest{"dns": {}, "hass": {Type: proxmox.QEMU}}, nil, "create it with 17 privileges"},
		"VMs, of a role of 16":   {map[string]*spec.Guest{"hass": {Type: proxmox.QEMU}}, Privileges, "add Mapping.Use"},
		"containers, had it all": {map[string]*spec.Guest{"dns": {}}, append([]string{"Mapping.Use"}, Privileges...), ""},
	} {
		have := &State{Roles: map[string][]string{}}
		if c.role != nil {
			have.Roles[Role] = c.role
		}
		got := ""
		for _, s := range accessSteps(&spec.Desired{Guests: c.guests}, have, "felhom@pve!agent") {
			if strings.HasPrefix(s.What, "role ") {
				got = s.Text
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
