package reconcile

import "github.com/felhom/felhom-agent/reconcile/journal"

// HistoryFilter says which actions of the journal are listed.
type HistoryFilter = journal.Filter

// Usual is how long actions usually take.
type Usual = journal.Usual

// UsualOf is how long actions usually take, by those that ended well before.
func UsualOf(history []HistoryEntry) Usual { return journal.UsualOf(history) }
