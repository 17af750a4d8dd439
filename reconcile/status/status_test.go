package status_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/status"
	"github.com/felhom/felhom-agent/reconcile/view"
	"github.com/felhom/felhom-agent/spec"
)

// A status that an earlier version wrote is read with its keys.
func TestReadStatusOfEarlierVersion(t *testing.T) {
	want := status.StatusOf(state.Stored{})
	want.Refreshed = time.Date(2026, 11, 22, 18, 2, 9, 0, time.UTC)
	want.Blocked = []plan.Blocked{{Object: spec.Ref{Kind: spec.KindBackup, Name: "nightly"}, Reason: "the disk is not connected", Fix: []string{"connect it"}}}
	dir := t.TempDir()
	if err := want.Write(dir); err != nil {
		t.Fatal(err)
	}
	old := `{"format":1,"looked":"2026-11-22T18:02:09Z","held":[{"object":"backups/nightly","reason":"the disk is not connected","cure":["connect it"],"pos":{}}]}`
	for _, text := range []string{"", old} {
		if text != "" {
			if err := os.WriteFile(filepath.Join(dir, "status.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := status.ReadStatus(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Refreshed.Equal(want.Refreshed) || len(got.Blocked) != 1 || got.Blocked[0].Reason != want.Blocked[0].Reason || !slices.Equal(got.Blocked[0].Fix, want.Blocked[0].Fix) {
			t.Errorf("%s is read as %+v", text, got)
		}
	}
}

// While something runs, the status says how far that and all is, also after it was written and read again.
func TestStatusSaysHowFar(t *testing.T) {
	at := time.Date(2026, 11, 22, 18, 2, 9, 0, time.UTC)
	s := status.StatusOf(state.Stored{})
	s.Node, s.Refreshed, s.Clock, s.Written, s.Fine, s.Of = "pve1", at, at, at, 18, 44
	s.Now = []journal.HistoryEntry{
		{Object: "backups/nightly", Verb: "back up", Text: "back up mail to usb-backup", Time: at.Add(-31 * time.Minute), Log: []string{" 61% (122.0 GiB of 200.0 GiB) in 31m"}},
		{Object: "restores/web", Verb: "restore", Text: "restore 201", Time: at.Add(-time.Minute), Usual: 10 * time.Minute},
	}
	s.Ahead = view.Ahead{Steps: 1, Seconds: map[string]int64{"back up": 300}}
	dir := t.TempDir()
	if err := s.Write(dir); err != nil {
		t.Fatal(err)
	}
	read, err := status.ReadStatus(dir)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := read.WriteText(&text, at, view.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n18 of 44 as declared, 2 running, about 25 min left. Hold: none.",
		"\n  now    backups/nightly      back up mail to usb-backup   31 min, 61%, about 20 min left\n",
		"\n  now    restores/web         restore 201   60 s, about 9 min left\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &text)
		}
	}
}
