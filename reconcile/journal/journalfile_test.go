package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// good ends a test at an error.
func good(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func opened(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := OpenJournal(dir)
	good(t, err)
	t.Cleanup(func() { j.Close() })
	return j
}

func smallIntent(act, verb string) Entry {
	return Entry{Time: time.Unix(1795366929, 0), Action: act, Step: StepIntent, ID: "restores/web/" + verb, Object: "restores/web", Verb: verb, Queue: "lxc/201", Limit: "start",
		Call: &proxmox.Call{Method: "POST", Path: "/nodes/pve1/lxc/201/status/" + verb}}
}

// smallJournal writes two actions, one of which is still open, and says what they are.
func smallJournal(t *testing.T) (dir string, data []byte, open string) {
	t.Helper()
	dir = t.TempDir()
	j := opened(t, dir)
	good(t, j.Append(smallIntent("a", "start")))
	good(t, j.Append(Entry{Time: time.Unix(1795366930, 0), Action: "a", Step: StepTask, UPID: mustUPID(t, "UPID:pve1:0000A0F1:00000001:6A0B2F11:vzstart:201:felhom@pve!agent:")}))
	good(t, j.Append(Entry{Time: time.Unix(1795366939, 0), Action: "a", Step: StepOutcome, Result: ResultFailed, Log: []string{"startup failed"}}))
	good(t, j.Append(smallIntent("b", "stop")))
	data, err := os.ReadFile(filepath.Join(dir, "journal.jsonl"))
	good(t, err)
	return dir, data, journalText(j)
}

func mustUPID(t *testing.T, s string) proxmox.UPID {
	t.Helper()
	upid, err := proxmox.ParseUPID(s)
	good(t, err)
	return upid
}

func journalText(j *Journal) string {
	var b strings.Builder
	for _, a := range j.Order {
		call, _ := json.Marshal(a.Call)
		fmt.Fprintln(&b, a.Action, a.ID, a.Object, a.Verb, a.Queue, a.Key, a.Upid, a.Result, a.text, a.log, a.Time.UTC(), a.ended.UTC(), string(call))
	}
	return b.String()
}

// Every bit of a small journal: turned over, it is noticed and said what is lost, or
// nothing of the journal is another one.
func TestEveryBitOfAJournal(t *testing.T) {
	dir, data, want := smallJournal(t)
	path := filepath.Join(dir, "journal.jsonl")
	for bit := range len(data) * 8 {
		damaged := bytes.Clone(data)
		damaged[bit/8] ^= 1 << (bit % 8)
		good(t, os.WriteFile(path, damaged, 0o640))
		j, err := ReadJournal(dir)
		good(t, err)
		if got := journalText(j); got != want && j.Damage() == "" {
			t.Fatalf("bit %d of byte %d turns\n%s\ninto\n%s", bit%8, bit/8, want, got)
		}
		if bit%64 != 0 { // opened for writing, a few of them
			continue
		}
		writable := opened(t, dir)
		good(t, writable.Refresh())
		if got := journalText(writable); got != want && !strings.Contains(writable.Damage(), "cannot be read") {
			t.Fatalf("bit %d of byte %d turns\n%s\ninto\n%s", bit%8, bit/8, want, got)
		}
		good(t, writable.Close())
	}
}

// Lines of an earlier version, without a checksum, are read; what this version does not know
// is passed over, counted and said.
func TestJournalLinesOfOtherVersions(t *testing.T) {
	dir, data, want := smallJournal(t)
	path := filepath.Join(dir, "journal.jsonl")
	var old []byte
	for line := range bytes.Lines(data) {
		e, err := parseLine(line)
		good(t, err)
		plain, err := json.Marshal(e)
		good(t, err)
		named := strings.NewReplacer(`"action":`, `"act":`, `"queue":`, `"lane":`, `"concurrency":`, `"budget":`).Replace(string(plain))
		old = append(append(old, named...), '\n')
	}
	good(t, os.WriteFile(path, old, 0o640))
	j, err := ReadJournal(dir)
	good(t, err)
	if got := journalText(j); got != want || j.Damage() != "" || bytes.Contains(old, []byte(`"sum"`)) || !bytes.Contains(old, []byte(`"act"`)) || j.Order[0].Queue != "lxc/201" || j.Order[0].Limit != "start" {
		t.Errorf("%s\n%s\n%s", j.Damage(), want, got)
	}
	for line, says := range map[string]string{
		`{"v":2,"t":"2026-11-22T18:02:09Z","act":"c","step":"intent"}`:                   "format 2",
		`{"v":1,"t":"2026-11-22T18:02:09Z","act":"c","step":"pause"}`:                    `unknown step "pause"`,
		`{"v":1,"t":"2026-11-22T18:02:09Z","act":"c","step":"intent","undo":{"id":"x"}}`: `unknown field "undo"`,
	} {
		good(t, os.WriteFile(path, append(bytes.Clone(data), line+"\n"...), 0o640))
		j, err := ReadJournal(dir)
		good(t, err)
		if got := journalText(j); got != want || !strings.HasPrefix(j.Damage(), "1 line of the journal cannot be read") || !strings.Contains(j.Damage(), says) || !strings.Contains(j.Damage(), "fix: pvenode task list") {
			t.Errorf("%s\n%s\n%s", line, j.Damage(), got)
		}
	}
}
