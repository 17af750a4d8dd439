package questions

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// A Difference is what one PUT would change of a guest's config.
type Difference struct {
	Set    map[string]string
	Drop   []string
	Fields []plan.Field
}

func (d *Difference) Empty() bool { return len(d.Set)+len(d.Drop) == 0 }

func (d *Difference) add(key, value string, f plan.Field) {
	if d.Set == nil {
		d.Set = map[string]string{}
	}
	d.Set[key] = value
	d.Fields = append(d.Fields, f)
}

// CompareConfig compares the declared keys, in PVE's canonical form, with what the
// guest has. Mount points, devices and protection are not a part of it.
func CompareConfig(q Questions, o *spec.Object, want spec.Config, state *node.GuestState, m marker.Marker, restart string) *Difference {
	d, values := &Difference{}, node.Effective(state.Config)
	when := func(key string) string {
		switch {
		case state.Status != "running", AppliesLive(state.Config.Type, key, values[key] != ""):
			return "now"
		case restart == "":
			return "at next start"
		}
		return "needs a restart (" + restart + ")"
	}
	d.compareValues(want, values, when)
	for _, i := range numbers(want.Nets) {
		d.compareNet(q.Have.Owner, state.Config, i, want.Nets[i], values, when)
	}
	d.compareStartup(want, values)
	if len(want.Features) > 0 && o.Ref.Kind != spec.KindGolden {
		features, _ := proxmox.ParseFeatures(values["features"])
		features = compare.OrEmpty(features)
		if old, new := compare.OverlayFlags(features, want.Features); old != "" || new != "" {
			d.add("features", features.String(), plan.Field{Name: "features", Old: old, New: new, When: when("features")})
		}
	}
	if lacksTag(values["tags"], want.Tags) {
		all := AddTags(values["tags"], want.Tags)
		tidy := func(list string) string { return strings.Join(proxmox.ParseTags(list), " ") }
		d.add("tags", all, plan.Field{Name: "tags", Old: tidy(values["tags"]), New: tidy(all), When: "now"})
	}
	d.compareNotes(want, state, m)
	return d
}

// compareValues compares the keys that are one value each.
func (d *Difference) compareValues(want spec.Config, values map[string]string, when func(key string) string) {
	var differ []string
	for key, value := range want.Values {
		if key != "protection" && !compare.SameValue(key, value, values[key]) && !sameAgent(key, value, values[key]) {
			differ = append(differ, key)
		}
	}
	slices.Sort(differ)
	for _, key := range differ {
		value, live := want.Values[key], values[key]
		if key == "agent" {
			value = withAgent(live, value)
		}
		f := plan.Field{Name: key, Old: People(key, live), New: People(key, value), When: when(key)}
		if value == "" {
			d.Drop = append(d.Drop, key)
			f.New = "(unset)"
			d.Fields = append(d.Fields, f)
			continue
		}
		d.add(key, value, f)
	}
}

// compareNet compares the declared keys of one interface. What is not declared of it stays.
func (d *Difference) compareNet(owner string, config *proxmox.GuestConfig, i int, want proxmox.Net, values map[string]string, when func(key string) string) {
	key, kind, vmid := "net"+strconv.Itoa(i), config.Type, config.VMID
	if proxmox.NetSays(values[key], want) {
		return
	}
	live, _ := proxmox.ParseNet(values[key])
	if len(live) > 0 && compare.Covers(live, want) {
		return
	}
	net := maps.Clone(live)
	if net == nil {
		net = newNet(kind, i)
		net["hwaddr"] = Mac(owner, vmid, i)
	}
	old, new := compare.Overlay(net, want)
	if len(live) > 0 && old == "" && new == "" {
		return
	}
	if len(live) == 0 { // there is nothing yet that it could replace
		old = ""
	}
	d.add(key, net.String(), plan.Field{Name: key, Old: old, New: new, When: when(key)})
}

func (d *Difference) compareStartup(want spec.Config, values map[string]string) {
	if want.Startup != nil && len(want.Startup) == 0 && values["startup"] != "" {
		d.Drop = append(d.Drop, "startup")
		d.Fields = append(d.Fields, plan.Field{Name: "startup", Old: values["startup"], New: "(unset)", When: "now"})
	}
	if len(want.Startup) > 0 {
		startup, _ := proxmox.ParseStartup(values["startup"])
		startup = compare.OrEmpty(startup)
		if old, new := compare.Overlay(startup, want.Startup); old != "" || new != "" {
			d.add("startup", startup.String(), plan.Field{Name: "startup", Old: old, New: new, When: "now"})
		}
	}
}

// compareNotes compares the text in the Notes and the ownership marker below it.
func (d *Difference) compareNotes(want spec.Config, state *node.GuestState, m marker.Marker) {
	text := marker.WithoutMarker(state.Config.Description())
	if want.Description != nil && proxmox.CanonicalDescription(*want.Description) != proxmox.CanonicalDescription(text) {
		d.Fields = append(d.Fields, plan.Field{Name: "description", Old: FirstLine(text), New: FirstLine(*want.Description), When: "now"})
		text = *want.Description
	}
	if onlyMarkerMoved(state, m, text) {
		return
	}
	description := marker.Describe(text, m)
	if strings.TrimRight(state.Config.Description(), "\n") == description {
		return
	}
	if d.Set == nil {
		d.Set = map[string]string{}
	}
	d.Set["description"] = description
}

// numbers are the numbers of a row, ascending.
func numbers[V any](row map[int]V) []int {
	all := slices.AppendSeq(make([]int, 0, len(row)), maps.Keys(row))
	slices.Sort(all)
	return all
}

// onlyMarkerMoved reports whether the description differs from ours only in where
// its marker stands or how it is wrapped, which is no reason to write it.
func onlyMarkerMoved(state *node.GuestState, m marker.Marker, text string) bool {
	have, ok := marker.OneMarker(state.Config.Description())
	return ok && have.Equal(m) && marker.WithoutMarker(state.Config.Description()) == strings.TrimRight(text, "\n")
}

// People prints a value with its unit.
func People(key, value string) string {
	switch {
	case value == "":
		return "(unset)"
	case key == "memory" || key == "swap" || key == "balloon":
		return strings.TrimPrefix(value, "current=") + " MiB"
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

// NetKey matches the nets that PVE deletes live: its pattern takes one digit.
var NetKey = regexp.MustCompile(`^net\d+$`)

// AppliesLive reports whether a running guest takes a change of a key at once
// (PVE::LXC::Config vmconfig_hotplug_pending; PVE::QemuServer, the same name, with the default
// of hotplug).
func AppliesLive(t proxmox.GuestType, key string, existed bool) bool {
	if t.VM() {
		_, net := proxmox.NumberedKey(key, "net")
		return net || slices.Contains([]string{"description", "name", "onboot", "protection", "tags", "cpulimit", "cpuunits"}, key)
	}
	switch key {
	case "description", "onboot", "startup", "protection", "hostname", "hookscript", "cores", "tags", "memory", "swap", "cpulimit", "cpuunits":
		return true
	}
	if _, net := proxmox.NumberedKey(key, "net"); net {
		return true
	}
	return !existed && (strings.HasPrefix(key, "mp") || strings.HasPrefix(key, "dev"))
}

// Protection is what the YAML says of it, else what it is, and what it is.
func Protection(g *spec.Guest, state *node.GuestState) (want, live string) {
	live = cmp.Or(node.Effective(state.Config)["protection"], "0")
	if want, declared := g.Config.Values["protection"]; declared {
		return cmp.Or(want, "0"), live
	}
	return live, live
}
