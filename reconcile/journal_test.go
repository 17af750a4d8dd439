package reconcile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
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
	done := intent("done", "restores/web/start")
	done.Text = strings.Repeat("x", journalSize)
	must(t, j.append(done))
	must(t, j.append(Entry{Time: done.Time, Act: "done", Step: stepOutcome, Result: resultOK}))
	must(t, j.append(intent("open", "restores/web/stop")))
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
