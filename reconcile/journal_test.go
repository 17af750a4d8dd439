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
)

func intent(act, id string) Entry {
	return Entry{Time: time.Unix(1795366929, 0), Act: act, Step: stepIntent, ID: id, Object: "restores/web", Verb: "start", Lane: "lxc/201",
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
	must(t, j.append(intent("a", "restores/web/start")))
	file, err := os.OpenFile(filepath.Join(dir, "journal.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = file.WriteString(`{"v":1,"act":"b","step":"int`) // the process died here
	must(t, err)
	must(t, file.Close())

	again := openTest(t, dir)
	must(t, again.refresh())
	must(t, again.append(intent("c", "restores/web/stop")))
	final := openTest(t, dir)
	var ids []string
	for _, a := range final.open() {
		ids = append(ids, a.ID)
	}
	if got := strings.Join(ids, " "); got != "restores/web/start restores/web/stop" {
		t.Errorf("open acts: %s", got)
	}
}

func TestJournalIsSharedByProcesses(t *testing.T) {
	dir := t.TempDir()
	service, run := openTest(t, dir), openTest(t, dir)
	must(t, service.append(intent("a", "restores/web/start")))
	must(t, run.refresh())
	if len(run.open()) != 1 {
		t.Fatal("the second process does not see the act of the first")
	}
	must(t, run.append(Entry{Time: time.Unix(1795366939, 0), Act: "a", Step: stepOutcome, Result: resultOK}))
	must(t, service.append(Entry{Time: time.Unix(1795366940, 0), Act: "a", Step: stepOutcome, Result: resultFailed}))
	must(t, service.refresh())
	if len(service.open()) != 0 {
		t.Error("the act is still open")
	}
}

func TestFullJournalIsPutAside(t *testing.T) {
	dir := t.TempDir()
	j, other := openTest(t, dir), openTest(t, dir)
	must(t, j.append(intent("seen", "restores/web/set")))
	must(t, other.refresh())
	done := intent("done", "restores/web/start")
	done.Text = strings.Repeat("x", journalSize)
	must(t, j.append(done))
	must(t, j.append(Entry{Time: done.Time, Act: "done", Step: stepOutcome, Result: resultOK}))
	must(t, j.append(intent("open", "restores/web/stop")))
	must(t, j.append(Entry{Time: done.Time, Act: "seen", Step: stepOutcome, Result: resultOK}))
	must(t, j.refresh())
	info, err := os.Stat(filepath.Join(dir, "journal.jsonl"))
	must(t, err)
	if info.Size() > 1000 {
		t.Errorf("the new file has %d bytes", info.Size())
	}
	must(t, other.refresh())
	for name, journal := range map[string]*Journal{"own": j, "another process": other, "a later process": openTest(t, dir)} {
		if open := journal.open(); len(open) != 1 || open[0].ID != "restores/web/stop" {
			t.Errorf("%s: the open act was not carried over: %v", name, open)
		}
	}
	filler := intent("filler", "restores/web/start")
	filler.Text = done.Text
	must(t, j.append(filler))
	must(t, j.append(Entry{Time: done.Time, Act: "filler", Step: stepOutcome, Result: resultOK}))
	must(t, j.refresh())
	must(t, other.refresh())
	for name, journal := range map[string]*Journal{"own": j, "another process": other, "a later process": openTest(t, dir)} {
		var acts []string
		for _, a := range journal.order {
			acts = append(acts, a.Act)
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
	full.Text = strings.Repeat("x", journalSize)
	must(t, openTest(t, dir).append(full))
	path := filepath.Join(dir, "journal.jsonl")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	defer file.Close()
	line, err := json.Marshal(Entry{Format: 1, Time: full.Time, Act: "a", Step: stepOutcome, Result: resultOK})
	must(t, err)
	_, err = file.Write(line[:30])
	must(t, err)
	opened := openTest(t, dir)
	_, err = file.Write(append(line[30:], '\n'))
	must(t, err)
	must(t, opened.refresh())
	if open := opened.open(); len(open) != 0 {
		t.Errorf("what was written meanwhile is not known: %v is open", open)
	}
}

func TestNothingIsSentWithoutAJournal(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, dir)
	j.file.Close()
	if err := j.append(intent("a", "restores/web/start")); err == nil || !strings.Contains(err.Error(), "nothing is done without it") {
		t.Errorf("a journal that cannot be written says %v", err)
	}
	if len(j.open()) != 0 {
		t.Error("an act that is not on the disk is remembered")
	}
}

// A disk that fills up in the middle of a line and has room again later: the next intent
// stands on a line of its own, else no later process would know of that act.
func TestALineThatTheDiskHadNoRoomForIsEnded(t *testing.T) {
	dir := t.TempDir()
	j := openTest(t, dir)
	must(t, j.append(intent("a", "restores/web/start")))
	info, err := os.Stat(filepath.Join(dir, "journal.jsonl"))
	must(t, err)
	fullAfter(t, uint64(info.Size())+20, func() {
		if err := j.append(intent("b", "restores/web/stop")); err == nil {
			t.Error("the disk was not full")
		}
	})
	must(t, j.append(intent("c", "restores/web/set")))
	var ids []string
	for _, a := range openTest(t, dir).open() {
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

// A clock that was set back meanwhile makes no act end before it began.
func TestHistoryKnowsNoNegativeTimes(t *testing.T) {
	j := MemoryJournal()
	e := intent("a", "restores/web/start")
	must(t, j.append(e))
	must(t, j.append(Entry{Time: e.Time.Add(-7 * time.Hour), Act: "a", Step: stepOutcome, Result: resultOK}))
	if h := j.History(""); len(h) != 1 || h[0].Elapsed != 0 {
		t.Errorf("%+v", h)
	}
}
