package reconcile

import (
	"encoding/json"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/journal"
)

func intent(act, id string) Entry {
	return Entry{Time: time.Unix(1795366929, 0), Action: act, Step: journal.StepIntent, ID: id, Object: "restores/web", Verb: "start", Queue: "lxc/201",
		Call: &proxmox.Call{Method: "POST", Path: "/nodes/pve1/lxc/201/status/start"}}
}

func openTest(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestJournalSurvivesATornLine(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, dir)
	must(t, j.Append(intent("a", "restores/web/start")))
	file, err := os.OpenFile(filepath.Join(dir, "journal.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = file.WriteString(`{"v":1,"act":"b","step":"int`) // the process died here
	must(t, err)
	must(t, file.Close())

	again := openTest(t, dir)
	must(t, again.Refresh())
	must(t, again.Append(intent("c", "restores/web/stop")))
	final := openTest(t, dir)
	var ids []string
	for _, a := range final.Open() {
		ids = append(ids, a.ID)
	}
	if got := strings.Join(ids, " "); got != "restores/web/start restores/web/stop" {
		t.Errorf("open acts: %s", got)
	}
}

func TestJournalIsSharedByProcesses(t *testing.T) {
	dir := t.TempDir()
	service, run := openTest(t, dir), openTest(t, dir)
	must(t, service.Append(intent("a", "restores/web/start")))
	must(t, run.Refresh())
	if len(run.Open()) != 1 {
		t.Fatal("the second process does not see the act of the first")
	}
	must(t, run.Append(Entry{Time: time.Unix(1795366939, 0), Action: "a", Step: journal.StepOutcome, Result: journal.ResultOK}))
	must(t, service.Append(Entry{Time: time.Unix(1795366940, 0), Action: "a", Step: journal.StepOutcome, Result: journal.ResultFailed}))
	must(t, service.Refresh())
	if len(service.Open()) != 0 {
		t.Error("the act is still open")
	}
}

func TestFullJournalIsPutAside(t *testing.T) {
	dir := t.TempDir()
	j, other := openTest(t, dir), openTest(t, dir)
	must(t, j.Append(intent("seen", "restores/web/set")))
	must(t, other.Refresh())
	done := intent("done", "restores/web/start")
	done.Text = strings.Repeat("x", journal.JournalSize)
	must(t, j.Append(done))
	must(t, j.Append(Entry{Time: done.Time, Action: "done", Step: journal.StepOutcome, Result: journal.ResultOK}))
	must(t, j.Append(intent("open", "restores/web/stop")))
	must(t, j.Append(Entry{Time: done.Time, Action: "seen", Step: journal.StepOutcome, Result: journal.ResultOK}))
	must(t, j.Refresh())
	info, err := os.Stat(filepath.Join(dir, "journal.jsonl"))
	must(t, err)
	if info.Size() > 1000 {
		t.Errorf("the new file has %d bytes", info.Size())
	}
	must(t, other.Refresh())
	for name, journal := range map[string]*Journal{"own": j, "another process": other, "a later process": openTest(t, dir)} {
		if open := journal.Open(); len(open) != 1 || open[0].ID != "restores/web/stop" {
			t.Errorf("%s: the open act was not carried over: %v", name, open)
		}
	}
	filler := intent("filler", "restores/web/start")
	filler.Text = done.Text
	must(t, j.Append(filler))
	must(t, j.Append(Entry{Time: done.Time, Action: "filler", Step: journal.StepOutcome, Result: journal.ResultOK}))
	must(t, j.Refresh())
	must(t, other.Refresh())
	for name, journal := range map[string]*Journal{"own": j, "another process": other, "a later process": openTest(t, dir)} {
		var acts []string
		for _, a := range journal.Order {
			acts = append(acts, a.Action)
		}
		if slices.Sort(acts); strings.Join(acts, " ") != "filler open" {
			t.Errorf("%s: after the first file was dropped, it remembers %v", name, acts)
		}
	}
}

// A journal that is opened while another process works is only read: what looks like a
// torn line may be one that is being written, and whoever has the write lock alone puts a
// full file aside.
func TestOpeningAJournalLeavesItAlone(t *testing.T) {
	dir := t.TempDir()
	full := intent("a", "restores/web/start")
	full.Text = strings.Repeat("x", journal.JournalSize)
	must(t, openTest(t, dir).Append(full))
	path := filepath.Join(dir, "journal.jsonl")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	defer file.Close()
	line, err := json.Marshal(Entry{Format: 1, Time: full.Time, Action: "a", Step: journal.StepOutcome, Result: journal.ResultOK})
	must(t, err)
	_, err = file.Write(line[:30])
	must(t, err)
	opened := openTest(t, dir)
	_, err = file.Write(append(line[30:], '\n'))
	must(t, err)
	must(t, opened.Refresh())
	if open := opened.Open(); len(open) != 0 {
		t.Errorf("what was written meanwhile is not known: %v is open", open)
	}
}

func TestNothingIsSentWithoutAJournal(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, dir)
	j.File.Close()
	if err := j.Append(intent("a", "restores/web/start")); err == nil || !strings.Contains(err.Error(), "nothing is done without it") {
		t.Errorf("a journal that cannot be written says %v", err)
	}
	if len(j.Open()) != 0 {
		t.Error("an act that is not on the disk is remembered")
	}
}

// A disk that fills up in the middle of a line and has room again later: the next intent
// stands on a line of its own, else no later process would know of that operation.
func TestALineThatTheDiskHadNoRoomForIsEnded(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, dir)
	must(t, j.Append(intent("a", "restores/web/start")))
	info, err := os.Stat(filepath.Join(dir, "journal.jsonl"))
	must(t, err)
	fullAfter(t, uint64(info.Size())+20, func() {
		if err := j.Append(intent("b", "restores/web/stop")); err == nil {
			t.Error("the disk was not full")
		}
	})
	must(t, j.Append(intent("c", "restores/web/set")))
	var ids []string
	for _, a := range openTest(t, dir).Open() {
		ids = append(ids, a.ID)
	}
	if got := strings.Join(ids, " "); got != "restores/web/start restores/web/set" {
		t.Errorf("a later process knows of the acts: %s", got)
	}
}

func init() { signal.Ignore(syscall.SIGXFSZ) } // what cannot grow says so by an error

// fullAfter does something while no file can grow beyond n bytes.
func fullAfter(t *testing.T, n uint64, do func()) {
	t.Helper()
	var before syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	limited := before
	limited.Cur = n
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited))
	defer func() { must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before)) }()
	do()
}

// A full disk ends a run before PVE is touched, and says what to do.
func TestAFullDiskStopsBeforePVEIsTouched(t *testing.T) {
	want := desired(t, "guests: {dns: {vmid: 101}}\n")
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := newBench(t, pvesim.New(), func(o *Options) { o.Journal = openTest(t, dir) })
		fullAfter(t, 0, func() {
			if _, err := b.agent.Once(t.Context(), want); err == nil || !strings.Contains(err.Error(), "make room: nothing is done without it") {
				t.Errorf("it ends with %v", err)
			}
		})
		if n := b.sim.Writes(); n != 0 {
			t.Errorf("%d writes were sent", n)
		}
		if r := b.once(want); r.ExitCode() != 0 || b.sim.Writes() != 1 {
			t.Errorf("with room again it ends with %d, after %d writes", r.ExitCode(), b.sim.Writes())
		}
	})
}

// A clock that was set back meanwhile makes no operation end before it began.
func TestHistoryKnowsNoNegativeTimes(t *testing.T) {
	j := MemoryJournal()
	e := intent("a", "restores/web/start")
	must(t, j.Append(e))
	must(t, j.Append(Entry{Time: e.Time.Add(-7 * time.Hour), Action: "a", Step: journal.StepOutcome, Result: journal.ResultOK}))
	if h := j.History(HistoryFilter{}); len(h) != 1 || h[0].Elapsed != 0 {
		t.Errorf("%+v", h)
	}
}
