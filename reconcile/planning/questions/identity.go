package questions

import (
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// StartsNot says why PVE could not start a guest: two of its interfaces have one name.
func StartsNot(q Questions, state *node.GuestState) *plan.Blocker {
	if state == nil || state.Config == nil {
		return nil
	}
	for _, c := range node.Standing(state) {
		if c.Kind == node.ClaimName {
			return &plan.Blocker{Reason: fmt.Sprintf("%d does not start: %s and %s both have the %s", state.VMID, c.Other, c.Key, c.Claim),
				Fix: []string{fmt.Sprintf("rename one: pct set %d --%s name=NAME,...", state.VMID, c.Key)}}
		}
	}
	return nil
}

// CreatedWith are the values with which a guest is created and which are added at once after
// that, and the keys that the YAML declares.
func CreatedWith(q Questions, g *spec.Guest, c *node.Choice, b *CreationPlan) (values map[string]string, declared map[string]bool) {
	values, declared = map[string]string{}, map[string]bool{}
	for key, value := range c.Inside.Raw {
		mp, err := proxmox.ParseMountPoint(value)
		if volume := err == nil && mp.Kind() == proxmox.VolumeMount; strings.HasPrefix(key, "dev") || node.MountKey.MatchString(key) && volume && b.Spec.RootFS == "" {
			values[key] = value
		}
	}
	for i, value := range b.Spec.MountPoints {
		values[fmt.Sprintf("mp%d", i)] = value
	}
	for key, value := range b.Spec.Config {
		if NetKey.MatchString(key) {
			values[key] = value
		}
	}
	for i, mp := range g.Config.Mounts {
		key := fmt.Sprintf("mp%d", i)
		if declared[key] = true; mp.Bind() {
			values[key] = proxmox.MountPoint{"volume": BindSource(q, mp), "mp": mp.Path}.String()
		}
	}
	for i := range g.Config.Nets {
		declared[fmt.Sprintf("net%d", i)] = true
	}
	for i, device := range g.Config.Devices {
		key := fmt.Sprintf("dev%d", i)
		declared[key], values[key] = true, device.String()
	}
	return values, declared
}
