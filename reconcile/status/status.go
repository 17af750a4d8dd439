package status

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/view"
	"github.com/felhom/felhom-agent/spec"
)

// Status is what the service last knew, for people and programs: it is written into
// the state directory after every change and read without asking the node.
type Status struct {
	Format    int       `json:"format"` // of this document: 1
	Version   string    `json:"version"`
	Node      string    `json:"node"`
	PID       int       `json:"pid"`
	Process   string    `json:"process,omitempty"`  // when that process began, as the kernel counts: numbers are used again
	Since     time.Time `json:"since,omitzero"`     // the service watches since then
	Refreshed time.Time `json:"refreshed,omitzero"` // by the node's clock
	Unchanged time.Time `json:"unchanged,omitzero"` // when the host last showed that nothing has changed since; by the node's clock
	Clock     time.Time `json:"clock,omitzero"`     // the node's clock when this was written
	Written   time.Time `json:"written,omitzero"`   // the same moment by this machine's clock
	Fine      int       `json:"fine"`               // objects as declared
	Of        int       `json:"of"`
	// Ahead is what is planned and not sent yet.
	Ahead view.Ahead `json:"ahead"`

	Now     []journal.HistoryEntry      `json:"now"`     // operations that run
	Blocked []plan.Blocked              `json:"blocked"` // with the reasons
	Notes   []plan.Note                 `json:"notes"`
	Holds   []state.Hold                `json:"holds"`
	Backups map[string]state.LastBackup `json:"backups"` // guests without one are there with a zero time
	// Tests are the last restore tests, by guest.
	Tests map[string]state.LastTest `json:"restore_tests,omitempty"`
	// Uncovered are the declared guests that no declared backup names, Unmanaged the guests
	// and VMs that nobody declares.
	Uncovered []spec.Ref           `json:"uncovered"`
	Unmanaged []plan.Unmanaged     `json:"unmanaged"`
	Drift     map[string]time.Time `json:"drift,omitempty"`
	Kits      []state.Kit          `json:"recovery_kits,omitempty"`
	Due       time.Time            `json:"due,omitzero"`
	// Commit is the commit of the desired state, where it was pulled from git.
	Commit string `json:"commit,omitempty"`
	// Errors are what keeps the service from its work as a whole: a broken YAML, a
	// node that does not answer, a token that is refused.
	Errors []string `json:"errors"`
	// Expiry are lines on the token and the certificate.
	Expiry []string `json:"expiry,omitempty"`
}

// OfAgent tells what the agent knows after a pass.
func OfAgent(a *applying.Agent, plan *plan.Plan) (Status, error) {
	stored, err := a.O.Store.Load()
	if err != nil {
		return Status{}, err
	}
	s := StatusOf(stored)
	s.Node, s.PID, s.Process = plan.Header.Node, os.Getpid(), processStart(os.Getpid())
	s.Refreshed, s.Unchanged, s.Clock, s.Due = plan.Header.Refreshed, plan.Header.Unchanged, a.Clock(), plan.Due
	s.Fine, s.Of, s.Blocked, s.Notes = len(plan.AsDeclared()), len(plan.Objects), plan.Blocked, plan.Notes
	s.Uncovered, s.Unmanaged = plan.Uncovered, plan.Unmanaged
	s.Commit = plan.Header.Commit
	history := a.O.Journal.History(journal.Filter{})
	s.Now, s.Ahead = running(history, plan)
	s.Backups = map[string]state.LastBackup{}
	s.Tests = plan.Tests
	for _, ref := range plan.Guests {
		s.Backups[ref.Name] = stored.Backups[ref.Name]
	}
	return s, nil
}

// running are the operations that run, each with how long it usually takes, and what the plan has not sent yet.
func running(history []journal.HistoryEntry, p *plan.Plan) (now []journal.HistoryEntry, ahead view.Ahead) {
	usual := journal.UsualOf(history)
	now = []journal.HistoryEntry{}
	for _, e := range history {
		if e.Result == "" {
			e.Usual = usual.Of(e.Object, e.Verb, e.Text)
			now = append(now, e)
		}
	}
	return now, view.AheadOf(p, usual.Of, func(object, verb, what string) bool {
		return slices.ContainsFunc(now, func(e journal.HistoryEntry) bool { return e.Object == object && e.Verb == verb && e.Text == what })
	})
}

const statusFile = "status.json"

// Write puts the status into a state directory, whole or not at all.
func (s Status) Write(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	var shown bytes.Buffer // people look at the file too
	if _, err := quote.NewWriter(&shown, false).Write(append(data, '\n')); err != nil {
		return err
	}
	return state.ReplaceFile(filepath.Join(dir, statusFile), shown.Bytes())
}

// ReadStatus reads the status of a state directory; fs.ErrNotExist where no service
// has ever written one.
func ReadStatus(dir string) (Status, error) {
	data, err := os.ReadFile(filepath.Join(dir, statusFile))
	if err != nil {
		return Status{}, err
	}
	s, err := parse(data)
	if err != nil {
		return s, fmt.Errorf("%s is damaged: %w; the service writes it again", filepath.Join(dir, statusFile), err)
	}
	if s.Format != 1 {
		return s, fmt.Errorf("%s has format %d and this version knows 1: the service and this program are of different versions", filepath.Join(dir, statusFile), s.Format)
	}
	return s, nil
}

// parse reads a status, also with the keys that earlier versions wrote.
func parse(data []byte) (Status, error) {
	type blocked struct {
		plan.Blocked
		OldFix []string `json:"cure"` // the key of earlier versions
	}
	var read struct {
		Status
		Held   []blocked `json:"held"`
		Looked time.Time `json:"looked"`
	}
	err := json.Unmarshal(data, &read)
	s := read.Status
	for _, h := range read.Held {
		h.Fix = h.OldFix
		s.Blocked = append(s.Blocked, h.Blocked)
	}
	if s.Refreshed.IsZero() {
		s.Refreshed = read.Looked
	}
	return s, err
}

// StatusOf is what is known where no service has looked yet: what people have said, and
// what runs by hand have seen.
func StatusOf(stored state.Stored) Status {
	s := Status{Format: 1, Now: []journal.HistoryEntry{}, Blocked: []plan.Blocked{}, Notes: []plan.Note{}, Uncovered: []spec.Ref{}, Unmanaged: []plan.Unmanaged{}, Errors: []string{},
		Holds: append([]state.Hold{}, stored.Holds...), Drift: stored.Drift, Tests: stored.Tests, Backups: map[string]state.LastBackup{}}
	maps.Copy(s.Backups, stored.Backups)
	for _, key := range slices.Sorted(maps.Keys(stored.Kits)) {
		s.Kits = append(s.Kits, stored.Kits[key])
	}
	return s
}

// AsOf is the last moment at which the node is known to have been as this says, by its own clock.
func (s Status) AsOf() time.Time {
	if s.Unchanged.IsZero() {
		return s.Refreshed
	}
	return s.Unchanged
}

// Running reports whether the process that wrote the status still lives.
func (s Status) Running() bool {
	if s.PID == 0 {
		return false
	}
	if s.Process != "" {
		return sameProcess(processStart(s.PID), s.Process)
	}
	err := syscall.Kill(s.PID, 0)
	return err == nil || errors.Is(err, fs.ErrPermission)
}

// sameProcess compares two starts of one PID. Under the service's unit (ProcSubset=pid) the boot is not to be seen,
// and then the ticks decide: a process of another boot would have to have the PID and begin in the same hundredth of
// a second after it.
func sameProcess(a, b string) bool {
	aTicks, aBoot, _ := strings.Cut(a, "@")
	bTicks, bBoot, _ := strings.Cut(b, "@")
	return aTicks != "" && aTicks == bTicks && (aBoot == bBoot || aBoot == "" || bBoot == "")
}

// processStart is when a process began, in the kernel's ticks since boot, and the boot where it is to be seen:
// the 22nd field of its stat (man 5 proc_pid_stat), "1234@BOOT-ID"; "" where there is no such process.
func processStart(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // its name may hold blanks
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return fields[19] + "@" + strings.TrimSpace(string(boot))
}
