package planning

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// unique blocks a change that would give two settings of a guest one identity, and reports
// whether the change may be made.
func unique(p *planner, g *spec.Guest, state *node.GuestState, set map[string]string) bool {
	values := node.Effective(state.Config)
	found := node.WouldClash(state, set)
	for _, c := range found {
		has := c.Other
		if mp, err := proxmox.ParseMountPoint(values[c.Other]); err == nil && c.Kind == node.ClaimPath {
			has += " (" + mp.Volume() + ")"
		}
		blockClash(p, g, c, has)
	}
	return len(found) == 0
}

// blockClash says who has the identity already and what to write instead.
func blockClash(p *planner, g *spec.Guest, c node.Clash, has string) {
	var reason string
	var fix []string
	switch {
	case c.Covers:
		reason = fmt.Sprintf("%s would hide %s, which is mounted at %s", c.Key, has, c.Name)
		fix = []string{fmt.Sprintf("give %s another mp", c.Key)}
	case c.Kind == node.ClaimPath:
		reason = fmt.Sprintf("%s would be mounted at %s, where %s already is", c.Key, c.Name, has)
		fix = []string{fmt.Sprintf("declare it as %s, or give %s another mp", c.Other, c.Key)}
	case c.Kind == node.ClaimDevice:
		reason = fmt.Sprintf("%s would pass %s, which %s already passes", c.Key, c.Name, has)
		fix = []string{fmt.Sprintf("declare it as %s", c.Other)}
	default:
		reason = fmt.Sprintf("%s would have the %s, which %s already has", c.Key, c.Claim, has)
		fix = []string{fmt.Sprintf("write another one: %s: {%s: ...}", c.Key, map[string]string{node.ClaimName: "name", node.ClaimMAC: "hwaddr"}[c.Kind])}
	}
	if strings.HasPrefix(c.Other, "lxc.") {
		fix = []string{fmt.Sprintf("remove that line from /etc/pve/lxc/%d.conf as root, or change %s", g.VMID, c.Key)}
	}
	p.block(&g.Object, "config."+c.Key, reason, fix...)
}

// uniqueNets takes out of a change the interfaces that would have the name or address of
// another one, and blocks them. All interfaces of a change are set by one request, so two
// of them may exchange their names.
func uniqueNets(p *planner, g *spec.Guest, state *node.GuestState, d *questions.Difference) {
	var set map[string]string
	for key, value := range d.Set {
		if _, net := proxmox.NumberedKey(key, "net"); net {
			if set == nil {
				set = map[string]string{}
			}
			set[key] = value
		}
	}
	for _, c := range node.WouldClash(state, set) {
		if _, still := d.Set[c.Key]; !still {
			continue
		}
		blockClash(p, g, c, c.Other)
		delete(d.Set, c.Key)
		d.Fields = slices.DeleteFunc(d.Fields, func(f plan.Field) bool { return f.Name == c.Key })
	}
}

// presentClashes blocks what a guest has twice already, where the YAML declares one of the
// two: whoever made the other, its owner decides which one goes.
func presentClashes(p *planner, g *spec.Guest, state *node.GuestState) {
	for _, c := range node.Standing(state) {
		if !declares(g, c.Key) && !declares(g, c.Other) {
			continue
		}
		verb := "have"
		if c.Kind == node.ClaimPath {
			verb = "are mounted at"
		}
		p.block(&g.Object, "config."+c.Key, fmt.Sprintf("%s and %s of %d both %s the %s", c.Other, c.Key, g.VMID, verb, c.Claim),
			fmt.Sprintf("decide which one goes: %s set %d --delete %s", g.Type.Tool(), g.VMID, c.Key))
	}
}

// createdTwice blocks the creation of a guest that would have two settings of one identity: of
// what the archive brings and what the YAML adds. A folder of the host that the archive has
// and this restore leaves out counts too: an empty volume would stand in its place.
func createdTwice(p *planner, g *spec.Guest, c *node.Choice, b *questions.CreationPlan) bool {
	values, declared := questions.CreatedWith(p.Questions, g, c, b)
	all := node.Claims(values, nil)
	has := map[string]string{}
	for i, mp := range c.Inside.MountPoints() {
		key := fmt.Sprintf("mp%d", i)
		if bind := mp.Kind() != proxmox.VolumeMount; bind && !g.Config.Mounts[i].Bind() && !questions.Released(p.Questions, g) {
			key += " of the archive"
			all[key] = []node.Claim{{Kind: node.ClaimPath, Name: path.Clean("/" + mp.Path())}}
		}
		has[node.RawKey(key)] = fmt.Sprintf("mp%d (%s)", i, mp.Volume())
	}
	for i, line := range c.Inside.LXC { // which no restore by a token brings back
		if !questions.Released(p.Questions, g) {
			all[fmt.Sprintf("%s %d", line[0], i)] = node.RawClaims(line[0], line[1])
		}
	}
	found := append(node.Clashes(all, declared), node.Covered(all, declared, false)...)
	for _, c := range found {
		blockClash(p, g, c, text.OrElse(has[c.Other], c.Other))
	}
	return len(found) > 0
}
