package status

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	"github.com/felhom/felhom-agent/reconcile/text"
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
	Clock     time.Time `json:"clock,omitzero"`     // the node's clock when this was written
	Written   time.Time `json:"written,omitzero"`   // the same moment by this machine's clock
	Fine      int       `json:"fine"`               // objects as declared
	Of        int       `json:"of"`

	Now     []journal.HistoryEntry      `json:"now"`     // acts that run
	Blocked []plan.Blocked              `json:"blocked"` // with the reasons
	Notes   []plan.Note                 `json:"notes"`
	Holds   []state.Hold                `json:"holds"`
	Backups map[string]state.LastBackup `json:"backups"` // guests without one are there with a zero time
	// Uncovered are the declared guests that no declared backup names, Unmanaged the guests
	// and VMs that nobody declares.
	Uncovered []spec.Ref           `json:"uncovered"`
	Unmanaged []plan.Unmanaged     `json:"unmanaged"`
	Drift     map[string]time.Time `json:"drift,omitempty"`
	Kits      []state.Kit          `json:"recovery_kits,omitempty"`
	Due       time.Time            `json:"due,omitzero"`
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
	s.Refreshed, s.Clock, s.Due = plan.Header.Refreshed, a.Clock(), plan.Due
	s.Fine, s.Of, s.Blocked, s.Notes = len(plan.AsDeclared()), len(plan.Objects), plan.Blocked, plan.Notes
	s.Uncovered, s.Unmanaged = plan.Uncovered, plan.Unmanaged
	for _, e := range a.O.Journal.History(journal.Filter{}) {
		if e.Result == "" {
			s.Now = append(s.Now, e)
		}
	}
	s.Backups = map[string]state.LastBackup{}
	for _, ref := range plan.Guests {
		s.Backups[ref.Name] = stored.Backups[ref.Name]
	}
	return s, nil
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
		Cure []string `json:"cure"`
	}
	var read struct {
		Status
		Held   []blocked `json:"held"`
		Looked time.Time `json:"looked"`
	}
	err := json.Unmarshal(data, &read)
	s := read.Status
	for _, h := range read.Held {
		h.Fix = h.Cure
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
		Holds: append([]state.Hold{}, stored.Holds...), Drift: stored.Drift, Backups: map[string]state.LastBackup{}}
	maps.Copy(s.Backups, stored.Backups)
	for _, key := range slices.Sorted(maps.Keys(stored.Kits)) {
		s.Kits = append(s.Kits, stored.Kits[key])
	}
	return s
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

// WriteText prints the status for people, as of now.
func (s Status) WriteText(w io.Writer, now time.Time, o view.TextOptions) error {
	b := bufio.NewWriter(w)
	local := func(t time.Time) time.Time { // by the node's clock, as far as it is known
		if s.Refreshed.IsZero() {
			return t
		}
		return t.In(s.Refreshed.Location())
	}
	at := func(t time.Time) string { return local(t).Format("Mon 2 Jan 15:04") }
	age := text.Ago(now.Sub(s.Written))
	clock := s.Clock.Add(now.Sub(s.Written)) // the node's, now
	switch {
	case s.Written.IsZero():
		quote.Fprintf(b, "No service has written its state yet; this is the state after runs by hand. Start it: systemctl start felhom-agent; or see felhom-agent --plan%s\n", o.Args)
	case s.Running():
		if s.Refreshed.IsZero() {
			quote.Fprintf(b, "felhom-agent %s, watching since %s, has not seen its node yet\n", s.Version, at(s.Since))
		} else {
			quote.Fprintf(b, "felhom-agent %s on %s, watching since %s, last refresh %s (%s ago)\n", s.Version, s.Node, at(s.Since), s.Refreshed.Format(time.TimeOnly), text.Ago(clock.Sub(s.Refreshed)))
		}
	default:
		quote.Fprintf(b, "No service runs on %s. This is what it knew %s ago, at %s. Start it: systemctl start felhom-agent\n", s.Node, age, at(s.Written))
	}
	hold := "none"
	var holds []string
	for _, h := range s.Holds {
		if h.Kind == state.HoldPerson {
			text := h.Name
			if !h.Until.IsZero() {
				text += " until " + at(h.Until)
			}
			if h.Why != "" {
				text += " (" + h.Why + ")"
			}
			holds = append(holds, text)
		}
	}
	if len(holds) > 0 {
		hold = strings.Join(holds, ", ")
	}
	if !s.Written.IsZero() {
		quote.Fprintf(b, "%d of %d as declared. ", s.Fine, s.Of)
	}
	quote.Fprintf(b, "Hold: %s.", hold)
	for _, line := range s.Expiry {
		quote.Fprintf(b, " %s.", line)
	}
	quote.Fprintf(b, "\n\n")
	rows := 0
	row := func(mark, object, text string) {
		rows++
		quote.Fprintf(b, "  %-6s %-20s %s\n", mark, object, text)
	}
	for _, text := range s.Errors {
		rows++
		quote.Fprintf(b, "  %-6s %s\n", "!", text)
	}
	for _, e := range s.Now {
		text := fmt.Sprintf("%s   %s", text.OrElse(e.Text, e.Verb), text.Elapsed(max(clock.Sub(e.Time), 0)))
		if n := len(e.Log); n > 0 {
			text += ", " + e.Log[n-1]
		}
		row("now", e.Object, text)
	}
	said := view.Alike{}
	for _, h := range s.Blocked {
		t := h.Reason
		if len(h.Fix) > 0 {
			t += ". " + text.Sentence(strings.Join(h.Fix, "; "))
		}
		if first, ok := said.Before(&h); ok {
			t = "as " + first.String()
		}
		row("!", h.Object.String(), t)
	}
	for _, n := range s.Notes {
		if !n.Drift {
			continue
		}
		text := fmt.Sprintf("%s, by %s", n.Text, n.By)
		if since, ok := s.Drift[plan.DriftKey(n)]; ok {
			text += ", seen since " + at(since)
		}
		text += " (reported, not healed)"
		row("drift", n.Object.String(), text)
	}
	if rows > 0 {
		fmt.Fprintln(b)
	}
	if len(s.Backups) > 0 {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(s.Backups)) {
			last := s.Backups[name]
			if last.Time.IsZero() {
				parts = append(parts, name+" NEVER")
				continue
			}
			parts = append(parts, fmt.Sprintf("%s %s %s", name, local(last.Time).Format("2 Jan 15:04"), text.OrElse(last.Disk, last.Storage)))
		}
		quote.Fprintf(b, "  last good backup   %s\n", strings.Join(parts, "    "))
	}
	for _, kit := range s.Kits {
		quote.Fprintf(b, "  recovery kit       %s\n", kitText(kit, local(kit.Time), clock))
	}
	if !s.Due.IsZero() {
		quote.Fprintf(b, "  next due           %s\n", at(s.Due))
	}
	return b.Flush()
}
