package spec

import (
	"fmt"
	"slices"
	"time"
)

// Guard says how a change of a guest proves itself: a snapshot is taken before it, and the probes must hold after it,
// else the guest is rolled back.
type Guard struct {
	Probes  []Probe
	Hold    time.Duration // how long they must hold without a break
	Within  time.Duration // by when they must have held so long
	Require bool          // where it is not possible, nothing is changed
}

const (
	guardHold   = 2 * time.Minute
	guardWithin = 10 * time.Minute
)

// guardProbeShape is a probe after a change: there is no backup whose age would be asked for.
var guardProbeShape = shaped(map[string]string{
	"newest":     "It is for backups. Probe unit, process, tcp, http or file.",
	"newer-than": "It is for backups. Leave it out.",
},
	slices.DeleteFunc(probeFields(), func(f field[Probe]) bool { return f.Path == "newest" || f.Path == "newer-than" })...,
)

var guardShape = shaped(map[string]string{
	"probes":  "Write probe: with a list.",
	"command": "Commands are not run in guests. Probe what they would show: unit, process, tcp, http or file.",
},
	of("probe", Agent, listOf("list of probes", guardProbeShape.value("map")), func(g *Guard, v []Probe) { g.Probes = v }, "What must hold after the change, inside the guest. Needs the root helper; which root has to allow for this guest.").
		must("Say what must hold: probe: [{unit: nginx}, {tcp: 80}]."),
	of("hold", Agent, atLeast(time.Second), func(g *Guard, v time.Duration) { g.Hold = v }, "How long all probes must pass without a break (default: 2m)."),
	of("within", Agent, atLeast(time.Second), func(g *Guard, v time.Duration) { g.Within = v }, "By when all probes must have passed for so long, counted from the change (default: 10m)."),
	of("require", Agent, boolean, func(g *Guard, v bool) { g.Require = v }, "true: where no snapshot is possible, the change is blocked, not made unguarded."),
)

// checkGuard checks how a guest is guarded.
func checkGuard(c *checker, g *Guest) {
	o := &g.Object
	if g.Guard == nil {
		return
	}
	switch {
	case g.Type.VM():
		c.fail(o, "guard", "Remove it.", "VMs are not guarded: probes are for containers")
	case g.State != Running:
		c.fail(o, "guard", "Add state: running.", "probes need a guest that runs")
	case g.Guard.Within <= g.Guard.Hold:
		c.fail(o, "guard.within", fmt.Sprintf("Write more than %s.", printDuration(g.Guard.Hold)), "leaves no time: the probes must hold for %s", printDuration(g.Guard.Hold))
	case g.Guard.Within > longestAwake:
		c.fail(o, "guard.within", fmt.Sprintf("Write %s or less.", printDuration(longestAwake)), "is longer than %s", printDuration(longestAwake))
	case len(g.Guard.Probes) > mostProbes:
		c.fail(o, "guard.probe", fmt.Sprintf("Write at most %d.", mostProbes), "has %d probes", len(g.Guard.Probes))
	}
	for _, p := range g.Guard.Probes {
		testChecker{c}.probe(o, "guard.probe", p)
	}
}
