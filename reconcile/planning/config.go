package planning

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// blockUnreadable blocks an object whose guest has what is not understood, and says so.
func blockUnreadable(p *planner, o *spec.Object, state *node.GuestState) (down string) {
	key, err := node.Unreadable(state.Config)
	if err == nil {
		return ""
	}
	p.block(o, "config."+key, fmt.Sprintf("%s of %d is not understood, so nothing of it is changed: %v", key, state.VMID, err), fmt.Sprintf("see: %s config %d", state.Type.Tool(), state.VMID))
	return "its config is not understood"
}

// planConfig plans the one PUT that brings plain keys, nets, tags and the marker to
// what is declared, and the restart that pending changes need.
func planConfig(p *planner, g *spec.Guest, state *node.GuestState, marker marker.Marker) {
	o := &g.Object
	restart := "restart: auto"
	if g.Restart != spec.RestartAuto {
		restart = "restart: manual"
	}
	d := questions.CompareConfig(p.Questions, o, g.Config, state, marker, restart)
	uniqueNets(p, g, state, d)
	running := state.Status == "running"
	if running && state.HA == "" && !g.Type.VM() { // whose memory changes when it is started again
		if held := memoryBelowUse(p, g, state, d); held {
			return
		}
	}
	if !d.Empty() {
		call := questions.Calls(p.Questions, g).SetConfig(g.VMID, proxmox.ConfigChange{Set: d.Set, Delete: d.Drop, Digest: state.Config.Digest})
		a := plan.Action{ID: g.Ref.String() + "/config", Object: g.Ref, Verb: "set", Symbol: plan.Change, Text: "", Fields: d.Fields,
			Queue: Queue(g.VMID), Timeout: questions.Timeout(o, questions.ShortTask), Call: &call, Effect: plan.Safe}
		if len(d.Fields) == 0 {
			a.Text = fmt.Sprintf("write the ownership marker of %d", g.VMID)
		}
		if slices.ContainsFunc(d.Fields, func(f plan.Field) bool { return (f.Name == "memory" || f.Name == "swap") && less(f.New, f.Old) }) && running && !g.Type.VM() {
			a.Effect = plan.Disruptive
		}
		p.add(a)
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
func planRestart(p *planner, g *spec.Guest, state *node.GuestState) {
	if state.Status != "running" || state.HA != "" || g.State == spec.Stopped { // which is shut down anyway
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
		fields = append(fields, plan.Field{Name: key, Old: questions.People(key, state.Config.Raw[key]), New: questions.People(key, new), When: "needs a restart (restart: auto)"})
	}
	if len(waiting) == 0 {
		return
	}
	if g.Restart != spec.RestartAuto {
		p.block(&g.Object, "config."+waiting[0], fmt.Sprintf("%s: changed, and in force only after a restart", text.List(waiting)),
			fmt.Sprintf("%s reboot %d", g.Type.Tool(), g.VMID), "or restart: auto")
		return
	}
	restart(p, g, state, fields, "")
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
func planProtection(p *planner, g *spec.Guest, state *node.GuestState) {
	want, live := questions.Protection(g, state)
	if want == live {
		return
	}
	call := questions.Calls(p.Questions, g).SetConfig(g.VMID, proxmox.ConfigChange{Set: map[string]string{"protection": want}, Digest: state.Config.Digest})
	p.add(plan.Action{ID: g.Ref.String() + "/protection", Object: g.Ref, Verb: "set", Symbol: plan.Change,
		Fields: []plan.Field{{Name: "protection", Old: live, New: want, When: "now"}}, Queue: Queue(g.VMID), Timeout: questions.Timeout(&g.Object, questions.ShortTask), Call: &call})
}
