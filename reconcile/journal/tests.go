package journal

import (
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/state"
)

// The facts of the actions of a restore test. The nonce is in each of them, and in the notes of the test guest: what
// has a nonce that no restore of this journal has is never touched.
const (
	FactTest    = "test"    // the nonce
	FactGuest   = "guest"   // whose backup is tested
	FactArchive = "reads"   // the volume id of the backup
	FactMade    = "made"    // when the backup was made, RFC 3339
	FactVerdict = "verdict" // of the stop and the deletion: what the test has shown
	FactWhy     = "why"
	FactProbes  = "proposal"
)

// The verbs of the actions of a restore test.
const (
	VerbTest        = "test"         // restore the backup as a test guest
	VerbTestStart   = "start test"   //
	VerbTestStop    = "stop test"    //
	VerbTestDestroy = "destroy test" //
)

// A TestRun is one restore test, as far as the journal tells.
type TestRun struct {
	Nonce, Object, Guest string
	VMID                 proxmox.VMID
	Archive              string
	Made                 time.Time // when the backup was made
	Restore              TestStep
	Start, Stop, Destroy *TestStep // the latest of each; nil: not begun

	Verdict state.Verdict // "" as long as nothing has been found out
	Why     string
	Probes  string // YAML lines of probes that would have passed
}

// A TestStep is one action of a restore test.
type TestStep struct {
	UPID         proxmox.UPID
	Result       string // "" while it is open
	Text         string
	Begun, Ended time.Time
}

// Open reports whether the step has no outcome yet.
func (s *TestStep) Open() bool { return s != nil && s.Result == "" }

// OK reports whether the step ended well.
func (s *TestStep) OK() bool { return s != nil && s.Result == ResultOK }

// Sent reports whether the restore can have had an effect.
func (r *TestRun) Sent() bool {
	return r.Restore.Result != ResultRefused && r.Restore.Result != ResultUnsent
}

// Open reports whether a step of the test has no outcome yet.
func (r *TestRun) Open() bool {
	return r.Restore.Open() || r.Start.Open() || r.Stop.Open() || r.Destroy.Open()
}

// Ended is when the newest step ended; zero: none has.
func (r *TestRun) Ended() time.Time {
	last := r.Restore.Ended
	for _, s := range []*TestStep{r.Start, r.Stop, r.Destroy} {
		if s != nil && s.Ended.After(last) {
			last = s.Ended
		}
	}
	return last
}

// TestOf is the restore test with a nonce, or nil.
func (m *Memory) TestOf(nonce string) *TestRun {
	for i := range m.Tests {
		if nonce != "" && m.Tests[i].Nonce == nonce {
			return &m.Tests[i]
		}
	}
	return nil
}

// noteTest notes an action of a restore test.
func (m *Memory) noteTest(a *Operation) {
	nonce := a.Facts[FactTest]
	if nonce == "" {
		return
	}
	step := TestStep{UPID: a.Upid, Result: a.Result, Text: a.text, Begun: a.Time, Ended: a.ended}
	run := m.TestOf(nonce)
	if a.Verb == VerbTest {
		vmid, err := proxmox.ParseVMID(a.Facts["makes"])
		if err != nil || run != nil {
			return
		}
		made, _ := time.Parse(time.RFC3339, a.Facts[FactMade])
		m.Tests = append(m.Tests, TestRun{Nonce: nonce, Object: a.Object, Guest: a.Facts[FactGuest], VMID: vmid, Archive: a.Facts[FactArchive], Made: made, Restore: step})
		return
	}
	if run == nil {
		return // the journal has lost its restore: it is no test of ours that we can prove
	}
	switch a.Verb {
	case VerbTestStart:
		run.Start = &step
	case VerbTestStop:
		run.Stop = &step
	case VerbTestDestroy:
		run.Destroy = &step
	}
	if v := a.Facts[FactVerdict]; v != "" {
		run.Verdict, run.Why, run.Probes = state.Verdict(v), a.Facts[FactWhy], a.Facts[FactProbes]
	}
}

// TestProbes are what a started test guest has shown to this process.
type TestProbes struct {
	Verdict state.Verdict // "" while it is asked
	Why     string
	Probes  string // YAML lines of probes that would have passed
}
