package forecast

import (
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
)

// test lets a step of a restore test have ended well.
func (f *Forecast) test(a *plan.Action) {
	m := &f.Node.Memory
	m.Tests = slices.Clone(m.Tests)
	step := journal.TestStep{Result: journal.ResultOK, Begun: f.since, Ended: f.Node.Now}
	run := m.TestOf(a.Facts[journal.FactTest])
	if run == nil {
		vmid, _ := proxmox.ParseVMID(a.Facts["makes"])
		m.Tests = append(m.Tests, journal.TestRun{Nonce: a.Facts[journal.FactTest], Object: a.Object.String(), Guest: a.Guest, VMID: vmid, Archive: a.Facts[journal.FactArchive], Restore: step})
		return
	}
	switch a.Verb {
	case journal.VerbTest:
		run.Restore = step
	case journal.VerbTestStart:
		run.Start = &step
	case journal.VerbTestStop:
		run.Stop = &step
	case journal.VerbTestDestroy:
		run.Destroy = &step
		f.destroy(run.VMID)
	}
}
