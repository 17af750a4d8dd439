package reconcile

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/spec"
)

// The last lines of a run say in what state a failure has left a guest, in the words of the failure itself.
func TestClosingSaysTheState(t *testing.T) {
	web := spec.Ref{Kind: spec.KindRestore, Name: "web"}
	for state, want := range map[string]string{
		"RUNNING":                         "  FAILED   restores/web      start: it broke\n",
		"STOPPED":                         "start: it broke       (is STOPPED)\n",
		"STOPPED (it was running before)": "start: it broke       (is STOPPED)\n",
		"STOPPED, locked (backup)":        "start: it broke       (is STOPPED, locked (backup))\n",
		"NOT THERE":                       "start: it broke       (is NOT THERE)\n",
	} {
		event := Event{Object: web, Verb: "start", State: "FAILED", Text: "it broke", Lines: []EventLine{{"PVE said", "it broke"}, {"web is now", state}}}
		r := &Report{Plan: &Plan{Objects: []spec.Ref{web}, Held: []Held{{Object: web, Kind: HeldFailed}}}, Failed: []Event{event}, Sent: 1}
		var text strings.Builder
		if err := r.WriteText(&text, TextOptions{}); err != nil || !strings.HasSuffix(text.String(), want) {
			t.Errorf("%s: %v\n%s", state, err, &text)
		}
	}
}
