package reconcile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// unique blocks a change that would give two settings of a guest one identity, and reports
// whether the change may be made.
func (p *planner) unique(g *spec.Guest, state *GuestState, set map[string]string) bool {
	values := effective(state.Config)
	found := wouldClash(state, set)
	for _, c := range found {
		has := c.other
		if mp, err := proxmox.ParseMountPoint(values[c.other]); err == nil && c.kind == claimPath {
			has += " (" + mp.Volume() + ")"
		}
		p.holdClash(g, c, has)
	}
	return len(found) == 0
}

// holdClash says who has the identity already and what to write instead.
func (p *planner) holdClash(g *spec.Guest, c clash, has string) {
	var reason string
	var cure []string
	switch {
	case c.covers:
		reason = fmt.Sprintf("%s would hide %s, which is mounted at %s", c.key, has, c.name)
		cure = []string{fmt.Sprintf("give %s another mp", c.key)}
	case c.kind == claimPath:
		reason = fmt.Sprintf("%s would be mounted at %s, where %s already is", c.key, c.name, has)
		cure = []string{fmt.Sprintf("declare it as %s, or give %s another mp", c.other, c.key)}
	case c.kind == claimDevice:
		reason = fmt.Sprintf("%s would pass %s, which %s already passes", c.key, c.name, has)
		cure = []string{fmt.Sprintf("declare it as %s", c.other)}
	default:
		reason = fmt.Sprintf("%s would have the %s, which %s already has", c.key, c.claim, has)
		cure = []string{fmt.Sprintf("write another one: %s: {%s: ...}", c.key, map[string]string{claimName: "name", claimMAC: "hwaddr"}[c.kind])}
	}
	if strings.HasPrefix(c.other, "lxc.") {
		cure = []string{fmt.Sprintf("remove that line from /etc/pve/lxc/%d.conf as root, or change %s", g.VMID, c.key)}
	}
	p.hold(&g.Object, "config."+c.key, reason, cure...)
}

// uniqueNets takes out of a change the interfaces that would have the name or address of
// another one, and blocks them. All interfaces of a change are set by one request, so two
// of them may exchange their names.
func (p *planner) uniqueNets(g *spec.Guest, state *GuestState, d *difference) {
	set := map[string]string{}
	for key, value := range d.set {
		if netKey.MatchString(key) {
			set[key] = value
		}
	}
	for _, c := range wouldClash(state, set) {
		if _, still := d.set[c.key]; !still {
			continue
		}
		p.holdClash(g, c, c.other)
		delete(d.set, c.key)
		d.fields = slices.DeleteFunc(d.fields, func(f Field) bool { return f.Name == c.key })
	}
}

// presentClashes blocks what a guest has twice already, where the YAML declares one of the
// two: whoever made the other, its owner decides which one goes.
func (p *planner) presentClashes(g *spec.Guest, state *GuestState) {
	for _, c := range standing(state) {
		if !declares(g, c.key) && !declares(g, c.other) {
			continue
		}
		verb := "have"
		if c.kind == claimPath {
			verb = "are mounted at"
		}
		p.hold(&g.Object, "config."+c.key, fmt.Sprintf("%s and %s of %d both %s the %s", c.other, c.key, g.VMID, verb, c.claim),
			fmt.Sprintf("decide which one goes: pct set %d --delete %s", g.VMID, c.key))
	}
}

// standing lists what a guest has twice after its next start.
func standing(state *GuestState) []clash {
	values := effective(state.Config)
	keys := map[string]bool{}
	for key := range values {
		keys[key] = true
	}
	return clashes(claims(values, state.Config.LXC), keys)
}

// startsNot says why PVE could not start a guest: two of its interfaces have one name.
func (p *planner) startsNot(state *GuestState) *obstacle {
	if state == nil || state.Config == nil {
		return nil
	}
	for _, c := range standing(state) {
		if c.kind == claimName {
			return &obstacle{reason: fmt.Sprintf("%d does not start: %s and %s both have the %s", state.VMID, c.other, c.key, c.claim),
				cure: []string{fmt.Sprintf("rename one: pct set %d --%s name=NAME,...", state.VMID, c.key)}}
		}
	}
	return nil
}

// bornTwice blocks the creation of a guest that would have two settings of one identity: of
// what the archive brings and what the YAML adds. A folder of the host that the archive has
// and this restore leaves out counts too: an empty volume would stand in its place.
func (p *planner) bornTwice(g *spec.Guest, c *choice, b *birth) bool {
	values, declared := p.bornWith(g, c, b)
	all := claims(values, nil)
	has := map[string]string{}
	for i, mp := range c.inside.MountPoints() {
		key := fmt.Sprintf("mp%d", i)
		if bind := mp.Kind() != proxmox.VolumeMount; bind && !g.Config.Mounts[i].Bind() && !p.released(g) {
			key += " of the archive"
			all[key] = []claim{{claimPath, path.Clean("/" + mp.Path())}}
		}
		has[rawKey(key)] = fmt.Sprintf("mp%d (%s)", i, mp.Volume())
	}
	for i, line := range c.inside.LXC { // which no restore by a token brings back
		if !p.released(g) {
			all[fmt.Sprintf("%s %d", line[0], i)] = rawClaims(line[0], line[1])
		}
	}
	found := append(clashes(all, declared), covered(all, declared, false)...)
	for _, c := range found {
		p.holdClash(g, c, orElse(has[c.other], c.other))
	}
	return len(found) > 0
}

// bornWith are the values with which a guest is created and which are added at once after
// that, and the keys that the YAML declares.
func (p *planner) bornWith(g *spec.Guest, c *choice, b *birth) (values map[string]string, declared map[string]bool) {
	values, declared = map[string]string{}, map[string]bool{}
	for key, value := range c.inside.Raw {
		mp, err := proxmox.ParseMountPoint(value)
		if volume := err == nil && mp.Kind() == proxmox.VolumeMount; strings.HasPrefix(key, "dev") || mountKey.MatchString(key) && volume && b.spec.RootFS == "" {
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
