package reconcile

import "github.com/felhom/felhom-agent/reconcile/journal"

// HistoryFilter says which actions of the journal are listed.
type HistoryFilter = journal.Filter
