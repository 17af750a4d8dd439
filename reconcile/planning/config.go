package planning

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/deliberate"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// A difference is what one PUT would change of a guest's config.
type difference struct {
	set    map[string]string
	drop   []string
	fields []plan.Field
}

func (d *difference) empty() bool { return len(d.set)+len(d.drop) == 0 }

func (d *difference) add(key, value string, f plan.Field) {
	if d.set == nil {
		d.set = map[string]string{}
	}
	d.set[key] = value
	d.fields = append(d.fields, f)
}

// holdUnreadable holds an object whose guest has what is not understood.
func (p *Planner) holdUnreadable(o *spec.Object, state *node.GuestState) bool {
	key, err := node.Unreadable(state.Config)
	if err == nil {
		return false
	}
	p.hold(o, "config."+key, fmt.Sprintf("%s of %d is not understood, so nothing of it is changed: %v", key, state.VMID, err), fmt.Sprintf("look: pct config %d", state.VMID))
	p.unmet[o.Ref.Name] = "its config is not understood"
	return true
}

// compareConfig compares the declared keys, in PVE's canonical form, with what the
// guest has. Mount points, devices and protection are not a part of it.
func (p *Planner) compareConfig(o *spec.Object, want spec.Config, state *node.GuestState, m marker.Marker, restart string) *difference {
	values := node.Effective(state.Config)
	running := state.Status == "running"
	d := &difference{}
	when := func(key string) string {
		switch {
		case !running, appliesLive(key, values[key] != ""):
			return "now"
		case restart == "":
			return "at next start"
		}
		return "needs a restart (" + restart + ")"
	}
	for _, key := range slices.Sorted(maps.Keys(want.Values)) {
		value, live := want.Values[key], values[key]
		if key == "protection" || compare.SameValue(key, value, live) && !(deliberate.Deliberate.NeverEqual && key == "cores") {
			continue
		}
		f := plan.Field{Name: key, Old: people(key, live), New: people(key, value), When: when(key)}
		if value == "" {
			d.drop = append(d.drop, key)
			f.New = "(unset)"
			d.fields = append(d.fields, f)
			continue
		}
		d.add(key, value, f)
	}
	for _, i := range slices.Sorted(maps.Keys(want.Nets)) {
		key := fmt.Sprintf("net%d", i)
		live, _ := proxmox.ParseNet(values[key])
		net := maps.Clone(live)
		if net == nil {
			net = proxmox.Net{"name": "eth" + strconv.Itoa(i), "hwaddr": mac(p.Have.Owner, state.VMID, i)}
		}
		old, new := compare.Overlay(net, want.Nets[i])
		if len(live) > 0 && old == "" && new == "" {
			continue
		}
		if len(live) == 0 { // there is nothing yet that it could replace
			old = ""
		}
		d.add(key, net.String(), plan.Field{Name: key, Old: old, New: new, When: when(key)})
	}
	if want.Startup != nil && len(want.Startup) == 0 && values["startup"] != "" {
		d.drop = append(d.drop, "startup")
		d.fields = append(d.fields, plan.Field{Name: "startup", Old: values["startup"], New: "(unset)", When: "now"})
	}
	if len(want.Startup) > 0 {
		startup, _ := proxmox.ParseStartup(values["startup"])
		startup = compare.OrEmpty(startup)
		if old, new := compare.Overlay(startup, want.Startup); old != "" || new != "" {
			d.add("startup", startup.String(), plan.Field{Name: "startup", Old: old, New: new, When: "now"})
		}
	}
	if len(want.Features) > 0 && o.Ref.Kind != spec.KindGolden {
		features, _ := proxmox.ParseFeatures(values["features"])
		features = compare.OrEmpty(features)
		if old, new := compare.OverlayFlags(features, want.Features); old != "" || new != "" {
			d.add("features", features.String(), plan.Field{Name: "features", Old: old, New: new, When: when("features")})
		}
	}
	if all := addTags(values["tags"], want.Tags); len(proxmox.ParseTags(all)) > len(proxmox.ParseTags(values["tags"])) {
		tidy := func(list string) string { return strings.Join(proxmox.ParseTags(list), " ") }
		d.add("tags", all, plan.Field{Name: "tags", Old: tidy(values["tags"]), New: tidy(all), When: "now"})
	}
	text := marker.WithoutMarker(state.Config.Description())
	if want.Description != nil && proxmox.CanonicalDescription(*want.Description) != proxmox.CanonicalDescription(text) {
		d.fields = append(d.fields, plan.Field{Name: "description", Old: FirstLine(text), New: FirstLine(*want.Description), When: "now"})
		text = *want.Description
	}
	if description := marker.Describe(text, m); strings.TrimRight(state.Config.Description(), "\n") != description && !d.onlyMarkerMoved(state, m, text) {
		if d.set == nil {
			d.set = map[string]string{}
		}
		d.set["description"] = description
	}
	return d
}

// onlyMarkerMoved reports whether the description differs from ours only in where
// its marker stands or how it is wrapped, which is no reason to write it.
func (d *difference) onlyMarkerMoved(state *node.GuestState, m marker.Marker, text string) bool {
	have, ok := marker.OneMarker(state.Config.Description())
	return ok && have.String() == m.String() && marker.WithoutMarker(state.Config.Description()) == strings.TrimRight(text, "\n")
}

// people prints a value with its unit.
func people(key, value string) string {
	switch {
	case value == "":
		return "(unset)"
	case key == "memory" || key == "swap":
		return value + " MiB"
	}
	return value
}

func FirstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	if letters := []rune(line); len(letters) > 40 {
		line = string(letters[:37]) + "..."
	}
	return strconv.Quote(line)
}

// netKey matches the nets that PVE deletes live: its pattern takes one digit.
var netKey = regexp.MustCompile(`^net\d+$`)

// appliesLive reports whether a running guest takes a change of a key at once
// (PVE::LXC::Config vmconfig_hotplug_pending).
func appliesLive(key string, existed bool) bool {
	switch key {
	case "description", "onboot", "startup", "protection", "hostname", "hookscript", "cores", "tags", "memory", "swap", "cpulimit", "cpuunits":
		return true
	}
	if netKey.MatchString(key) {
		return true
	}
	return !existed && (strings.HasPrefix(key, "mp") || strings.HasPrefix(key, "dev"))
}

// planConfig plans the one PUT that brings plain keys, nets, tags and the marker to
// what is declared, and the restart that pending changes need.
func (p *Planner) planConfig(g *spec.Guest, state *node.GuestState, marker marker.Marker) {
	o := &g.Object
	restart := "restart: auto"
	if g.Restart != spec.RestartAuto {
		restart = "restart: manual"
	}
	d := p.compareConfig(o, g.Config, state, marker, restart)
	p.uniqueNets(g, state, d)
	running := state.Status == "running"
	if running && state.HA == "" {
		if held := p.memoryBelowUse(g, state, d); held {
			return
		}
	}
	if !d.empty() {
		call := proxmox.On(p.Have.Node).SetConfig(g.VMID, proxmox.ConfigChange{Set: d.set, Delete: d.drop, Digest: state.Config.Digest})
		a := plan.Action{ID: g.Ref.String() + "/config", Object: g.Ref, Verb: "set", Symbol: plan.Change, Text: "", Fields: d.fields,
			Lane: Lane(g.VMID), Timeout: timeout(o, ShortTask), Call: &call, Effect: plan.Safe}
		if len(d.fields) == 0 {
			a.Text = fmt.Sprintf("write the marker of %d", g.VMID)
		}
		if slices.ContainsFunc(d.fields, func(f plan.Field) bool { return (f.Name == "memory" || f.Name == "swap") && less(f.New, f.Old) }) && running {
			a.Effect = plan.Disruptive
		}
		p.act(a)
	}
}

func less(a, b string) bool { return leadingNumber(a) < leadingNumber(b) }

func leadingNumber(s string) float64 {
	word, _, _ := strings.Cut(s, " ")
	n, _ := strconv.ParseFloat(word, 64)
	return n
}

// planRestart restarts a running guest for changes that wait for it, where its YAML
// allows that; never by PVE's reboot, which leaves a guest down during a backup.
func (p *Planner) planRestart(g *spec.Guest, state *node.GuestState) {
	if state.Status != "running" || state.HA != "" {
		return
	}
	var waiting []string
	var fields []plan.Field
	for _, key := range pendingKeys(state.Config) {
		if !declares(g, key) {
			continue
		}
		waiting = append(waiting, key)
		new := state.Config.Pending[key]
		if slices.Contains(state.Config.Deleted, key) {
			new = ""
		}
		fields = append(fields, plan.Field{Name: key, Old: people(key, state.Config.Raw[key]), New: people(key, new), When: "needs a restart (restart: auto)"})
	}
	if len(waiting) == 0 {
		return
	}
	if g.Restart != spec.RestartAuto {
		p.hold(&g.Object, "config."+waiting[0], fmt.Sprintf("%s: changed, and in force only after a restart", text.List(waiting)),
			fmt.Sprintf("pct reboot %d", g.VMID), "or restart: auto")
		return
	}
	p.restart(g, state, fields, "")
}

func pendingKeys(config *proxmox.GuestConfig) []string {
	keys := slices.Collect(maps.Keys(config.Pending))
	keys = append(keys, config.Deleted...)
	slices.Sort(keys)
	return slices.Compact(keys)
}

// declares reports whether the YAML says something of a config key.
func declares(g *spec.Guest, key string) bool {
	c := g.Config
	if _, ok := c.Values[key]; ok {
		return true
	}
	number := func(prefix string) (int, bool) {
		n, err := strconv.Atoi(strings.TrimPrefix(key, prefix))
		return n, err == nil && strings.HasPrefix(key, prefix)
	}
	if n, ok := number("net"); ok {
		_, declared := c.Nets[n]
		return declared
	}
	if n, ok := number("mp"); ok {
		_, declared := c.Mounts[n]
		return declared
	}
	if n, ok := number("dev"); ok {
		_, declared := c.Devices[n]
		return declared
	}
	switch key {
	case "features":
		return len(c.Features) > 0
	case "startup":
		return len(c.Startup) > 0
	case "tags":
		return len(c.Tags) > 0
	}
	return false
}

// planProtection sets protection last: PVE refuses mount points of a protected guest.
func (p *Planner) planProtection(g *spec.Guest, state *node.GuestState) {
	want, live := protection(g, state)
	if want == live {
		return
	}
	call := proxmox.On(p.Have.Node).SetConfig(g.VMID, proxmox.ConfigChange{Set: map[string]string{"protection": want}, Digest: state.Config.Digest})
	p.act(plan.Action{ID: g.Ref.String() + "/protection", Object: g.Ref, Verb: "set", Symbol: plan.Change,
		Fields: []plan.Field{{Name: "protection", Old: live, New: want, When: "now"}}, Lane: Lane(g.VMID), Timeout: timeout(&g.Object, ShortTask), Call: &call})
}

// protection is what the YAML says of it, else what it is, and what it is.
func protection(g *spec.Guest, state *node.GuestState) (want, live string) {
	live = cmp.Or(node.Effective(state.Config)["protection"], "0")
	if want, declared := g.Config.Values["protection"]; declared {
		return cmp.Or(want, "0"), live
	}
	return live, live
}
