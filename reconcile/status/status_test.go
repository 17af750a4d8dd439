package status_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/status"
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
