package reconcile

import "github.com/felhom/felhom-agent/reconcile/saved"

type (
	SavedAbout     = saved.About
	SavedPlan      = saved.Plan
	DifferentError = saved.DifferentError
)

var (
	SavePlan      = saved.Of
	ReadSavedPlan = saved.Read
)
