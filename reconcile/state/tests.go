package state

import (
	"slices"
	"time"
)

// A Verdict is what a restore test has shown.
type Verdict string

// The verdicts. Only the first two are good news.
const (
	VerdictWorks      Verdict = "works"            // restored, started, and every probe passed
	VerdictBoots      Verdict = "boots"            // restored and started; nothing could look inside
	VerdictFails      Verdict = "fails"            // the restore, the start or a probe failed
	VerdictUnverified Verdict = "could not verify" // nothing was found out: no room, a privilege, the root helper
)

// Good reports whether a verdict counts as a success.
func (v Verdict) Good() bool { return v == VerdictWorks || v == VerdictBoots }

// A TestResult is how one restore test ended.
type TestResult struct {
	Object  string    `json:"object"` // "tests/weekly"
	Verdict Verdict   `json:"verdict"`
	Why     string    `json:"why,omitempty"` // what failed, or what kept it from being found out
	Fix     []string  `json:"fix,omitempty"`
	Ended   time.Time `json:"ended"`
	Archive string    `json:"archive,omitempty"`  // volume id of the backup
	Made    time.Time `json:"made,omitzero"`      // when the backup was made
	Seconds float64   `json:"seconds,omitempty"`  // how long its restore took
	Notes   []string  `json:"proposal,omitempty"` // YAML lines of probes that would have passed
}

func (r TestResult) clone() TestResult {
	r.Fix, r.Notes = slices.Clone(r.Fix), slices.Clone(r.Notes)
	return r
}

// A LastTest is the newest restore test of a guest, and the newest good one.
type LastTest struct {
	TestResult
	// Good is the newest test with a good verdict; nil where there is none.
	Good *TestResult `json:"good,omitempty"`
	// Since is when a test of the guest was first due.
	Since time.Time `json:"since,omitzero"`
}

// With is the last test after another one has ended.
func (l LastTest) With(r TestResult) LastTest {
	l.TestResult = r
	if r.Verdict.Good() {
		l.Good = &r
	}
	return l
}
