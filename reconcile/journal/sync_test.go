package journal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/reconcile/journal"
)

// An intent that the disk does not confirm is none: nothing may be sent. A device that
// takes every byte and knows no fsync, as /dev/null, is such a disk (fsync(2): EINVAL).
// Other lines are not waited for.
func TestAnIntentIsOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(os.DevNull, filepath.Join(dir, "journal.jsonl")); err != nil {
		t.Fatal(err)
	}
	j, err := journal.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	act := journal.NewAct()
	err = j.Append(journal.Entry{Action: act, Step: journal.StepIntent, Object: "container/web", Verb: "create"})
	if err == nil || !strings.Contains(err.Error(), "nothing is done without it") {
		t.Errorf("an intent that is not on the disk: %v", err)
	}
	if open := j.Open(); len(open) != 0 {
		t.Errorf("it counts as begun: %v", open)
	}
	if err := j.Append(journal.Entry{Action: act, Step: journal.StepTask}); err != nil {
		t.Errorf("another line: %v", err)
	}
}
