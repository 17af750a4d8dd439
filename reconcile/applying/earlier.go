package applying

import (
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/spec"
)

// remember keeps what a pass was told for the next one.
func (a *Agent) remember(want *spec.Desired, l *refresh.Reader) {
	a.earlier = &refresh.Earlier{View: l.View, Have: l.Have, Hash: want.Hash, Full: l.Started}
	if l.Earlier != nil {
		a.earlier.Full = l.Earlier.Full
	}
}

// stillKnown is what the next look may take from the one before: nothing, unless it
// comes because operations of ours have ended, and not long after.
func (a *Agent) stillKnown(want *spec.Desired, finished []ending) *refresh.Earlier {
	e := a.earlier
	if e == nil || len(finished) == 0 || e.Hash != want.Hash || time.Since(e.Full) > refresh.FactsAge {
		return nil
	}
	e.Tasks, e.Queues, e.Storages = map[proxmox.UPID]bool{}, map[string]bool{}, map[string]bool{}
	for _, f := range finished {
		e.Touch(f.operation)
	}
	for _, operation := range a.O.Journal.Open() {
		e.Touch(operation)
	}
	return e
}
