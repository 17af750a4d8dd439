package applying

import (
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/spec"
)

// remember keeps what a pass was told, and what it has planned, for the next one.
func (a *Agent) remember(want *spec.Desired, l *refresh.Reader, p *passed) {
	a.planned = p.planned
	if p.part {
		a.earlier = l.Earlier
		a.earlier.Last = l.Have
		return
	}
	a.earlier = &refresh.Earlier{View: l.View, Have: l.Have, Last: l.Have, Want: node.Typed(want, l.Have), Hash: want.Hash, Full: l.Started}
	if l.Earlier != nil {
		a.earlier.Full = l.Earlier.Full
	}
}

// stillKnown is what the next look may take from the one before: nothing, unless it
// comes because operations of ours have ended, or a test guest was probed, and not long after.
func (a *Agent) stillKnown(want *spec.Desired, finished []ending) *refresh.Earlier {
	e := a.earlier
	if e == nil || len(finished) == 0 && !a.tester.news() || e.Hash != want.Hash {
		return nil
	}
	if e.Age = refresh.FactsAge; !slices.ContainsFunc(finished, func(f ending) bool { return !ofTest(f.operation) }) {
		e.Age = refresh.TestsAge // the steps of a night of tests follow upon each other, and are no reason to read everything
		// The lists are asked for where another test may begin, and where something ran or is not known to have ended.
		e.Lists = e.Last == e.Have && len(a.O.Journal.Open()) == 0 && !slices.ContainsFunc(finished, func(f ending) bool { return f.operation.Call.Destroys() }) &&
			!slices.ContainsFunc(e.Have.Tasks, func(t proxmox.Task) bool { return t.Running() })
	}
	if e.Tasks == nil {
		e.Tasks, e.Queues, e.Storages = map[proxmox.UPID]bool{}, map[string]bool{}, map[string]bool{}
	}
	e.Guests, e.Begun = nil, e.Last.Now
	if len(finished) == 1 && ofTest(finished[0].operation) && finished[0].operation.Call.Destroys() {
		e.Guests = a.flights.listedNow()
	}
	for _, f := range finished {
		e.Touch(f.operation)
	}
	for _, operation := range a.O.Journal.Open() {
		e.Touch(operation)
	}
	return e
}
