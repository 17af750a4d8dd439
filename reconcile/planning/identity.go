package planning

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// unique blocks a change that would give two settings of a guest one identity, and reports
// whether the change may be made.
func (p *Planner) unique(g *spec.Guest, state *node.GuestState, set map[string]string) bool {
	values := node.Effective(state.Config)
	found := node.WouldClash(state, set)
	for _, c := range found {
		has := c.Other
		if mp, err := proxmox.ParseMountPoint(values[c.Other]); err == nil && c.Kind == node.ClaimPath {
			has += " (" + mp.Volume() + ")"
		}
		p.holdClash(g, c, has)
	}
	return len(found) == 0
}

// holdClash says who has the identity already and what to write instead.
func (p *Planner) holdClash(g *spec.Guest, c node.Clash, has string) {
	var reason string
	var cure []string
	switch {
	case c.Covers:
		reason = fmt.Sprintf("%s would hide %s, which is mounted at %s", c.Key, has, c.Name)
		cure = []string{fmt.Sprintf("give %s another mp", c.Key)}
	case c.Kind == node.ClaimPath:
		reason = fmt.Sprintf("%s would be mounted at %s, where %s already is", c.Key, c.Name, has)
		cure = []string{fmt.Sprintf("declare it as %s, or give %s another mp", c.Other, c.Key)}
	case c.Kind == node.ClaimDevice:
		reason = fmt.Sprintf("%s would pass %s, which %s already passes", c.Key, c.Name, has)
		cure = []string{fmt.Sprintf("declare it as %s", c.Other)}
	default:
		reason = fmt.Sprintf("%s would have the %s, which %s already has", c.Key, c.Claim, has)
		cure = []string{fmt.Sprintf("write another one: %s: {%s: ...}", c.Key, map[string]string{node.ClaimName: "name", node.ClaimMAC: "hwaddr"}[c.Kind])}
	}
	if strings.HasPrefix(c.Other, "lxc.") {
		cure = []string{fmt.Sprintf("remove that line from /etc/pve/lxc/%d.conf as root, or change %s", g.VMID, c.Key)}
	}
	p.hold(&g.Object, "config."+c.Key, reason, cure...)
}

// uniqueNets takes out of a change the interfaces that would have the name or address of
// another one, and blocks them. All interfaces of a change are set by one request, so two
// of them may exchange their names.
func (p *Planner) uniqueNets(g *spec.Guest, state *node.GuestState, d *difference) {
	set := map[string]string{}
	for key, value := range d.set {
		if netKey.MatchString(key) {
			set[key] = value
		}
	}
	for _, c := range node.WouldClash(state, set) {
		if _, still := d.set[c.Key]; !still {
			continue
		}
		p.holdClash(g, c, c.Other)
		delete(d.set, c.Key)
		d.fields = slices.DeleteFunc(d.fields, func(f plan.Field) bool { return f.Name == c.Key })
	}
}

// presentClashes blocks what a guest has twice already, where the YAML declares one of the
// two: whoever made the other, its owner decides which one goes.
func (p *Planner) presentClashes(g *spec.Guest, state *node.GuestState) {
	for _, c := range node.Standing(state) {
		if !declares(g, c.Key) && !declares(g, c.Other) {
			continue
		}
		verb := "have"
		if c.Kind == node.ClaimPath {
			verb = "are mounted at"
		}
		p.hold(&g.Object, "config."+c.Key, fmt.Sprintf("%s and %s of %d both %s the %s", c.Other, c.Key, g.VMID, verb, c.Claim),
			fmt.Sprintf("decide which one goes: pct set %d --delete %s", g.VMID, c.Key))
	}
}

// startsNot says why PVE could not start a guest: two of its interfaces have one name.
func (p *Planner) startsNot(state *node.GuestState) *plan.Blocker {
	if state == nil || state.Config == nil {
		return nil
	}
	for _, c := range node.Standing(state) {
		if c.Kind == node.ClaimName {
			return &plan.Blocker{Reason: fmt.Sprintf("%d does not start: %s and %s both have the %s", state.VMID, c.Other, c.Key, c.Claim),
				Cure: []string{fmt.Sprintf("rename one: pct set %d --%s name=NAME,...", state.VMID, c.Key)}}
		}
	}
	return nil
}

// bornTwice blocks the creation of a guest that would have two settings of one identity: of
// what the archive brings and what the YAML adds. A folder of the host that the archive has
// and this restore leaves out counts too: an empty volume would stand in its place.
func (p *Planner) bornTwice(g *spec.Guest, c *node.Choice, b *birth) bool {
	values, declared := p.bornWith(g, c, b)
	all := node.Claims(values, nil)
	has := map[string]string{}
	for i, mp := range c.Inside.MountPoints() {
		key := fmt.Sprintf("mp%d", i)
		if bind := mp.Kind() != proxmox.VolumeMount; bind && !g.Config.Mounts[i].Bind() && !p.released(g) {
			key += " of the archive"
			all[key] = []node.Claim{{Kind: node.ClaimPath, Name: path.Clean("/" + mp.Path())}}
		}
		has[node.RawKey(key)] = fmt.Sprintf("mp%d (%s)", i, mp.Volume())
	}
	for i, line := range c.Inside.LXC { // which no restore by a token brings back
		if !p.released(g) {
			all[fmt.Sprintf("%s %d", line[0], i)] = node.RawClaims(line[0], line[1])
		}
	}
	found := append(node.Clashes(all, declared), node.Covered(all, declared, false)...)
	for _, c := range found {
		p.holdClash(g, c, text.OrElse(has[c.Other], c.Other))
	}
	return len(found) > 0
}

// bornWith are the values with which a guest is created and which are added at once after
// that, and the keys that the YAML declares.
func (p *Planner) bornWith(g *spec.Guest, c *node.Choice, b *birth) (values map[string]string, declared map[string]bool) {
	values, declared = map[string]string{}, map[string]bool{}
	for key, value := range c.Inside.Raw {
		mp, err := proxmox.ParseMountPoint(value)
		if volume := err == nil && mp.Kind() == proxmox.VolumeMount; strings.HasPrefix(key, "dev") || node.MountKey.MatchString(key) && volume && b.spec.RootFS == "" {
			values[key] = value
		}
	}
	for i, value := range b.spec.MountPoints {
		values[fmt.Sprintf("mp%d", i)] = value
	}
	for key, value := range b.spec.Config {
		if netKey.MatchString(key) {
			values[key] = value
		}
	}
	for i, mp := range g.Config.Mounts {
		key := fmt.Sprintf("mp%d", i)
		if declared[key] = true; mp.Bind() {
			values[key] = proxmox.MountPoint{"volume": p.bindSource(mp), "mp": mp.Path}.String()
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
