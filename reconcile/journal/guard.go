package journal

// The facts of the steps of a guard: the snapshot that a change begins with, the rollback to it, and its deletion.
const (
	FactGuard = "guard" // the name of the snapshot
	FactWant  = "want"  // what of the YAML is tried
)

// VerbGuardBack is the verb of the rollback of a change that did not prove itself.
const VerbGuardBack = "take back"

// A GuardedChange is a change that was taken back.
type GuardedChange struct {
	Snapshot string
	Want     string // what of the YAML was tried
	Why      string // what did not hold
	Result   string // of the rollback; "" while it runs
}

// noteGuard notes the rollback of a guarded change.
func (m *Memory) noteGuard(a *Operation) {
	if a.Verb != VerbGuardBack || a.Result == ResultUnsent || a.Result == ResultRefused || a.Result == ResultLocked {
		return
	}
	if m.TakenBack == nil {
		m.TakenBack = map[string]GuardedChange{}
	}
	m.TakenBack[a.Object] = GuardedChange{Snapshot: a.Facts[FactGuard], Want: a.Facts[FactWant], Why: a.Facts[FactWhy], Result: a.Result}
}
