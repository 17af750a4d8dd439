package reconcile

import (
	"context"

	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/spec"
)

// Preview makes a plan. It cannot write: there is nothing in its hands to write with.
func Preview(ctx context.Context, source refresh.Source, want *spec.Desired, journal *journal.Journal) (*plan.Plan, error) {
	have, err := source.Reader(want, journal, nil).Read(ctx)
	if err != nil {
		return nil, err
	}
	return planning.PlanOf(want, have), nil
}
