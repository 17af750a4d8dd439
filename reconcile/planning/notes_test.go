package planning

import (
	"testing"

	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// When `from` says something else than what a guest was made from, and when it only names where its own backups lie.
func TestMadeOtherwise(t *testing.T) {
	const own, others = "usb:backup/vzdump-lxc-111-2026_11_22-02_31_07.tar.zst", "usb:backup/vzdump-lxc-105-2026_11_22-02_31_07.tar.zst"
	golden := func(name string) spec.Source { return spec.Source{Golden: name} }
	newest := func(storage string) spec.Source { return spec.Source{Newest: storage} }
	want := &spec.Desired{Golden: map[string]*spec.Golden{"trixie": {Object: spec.Object{Was: "debian"}}, "alpine": {}}}
	for _, c := range []struct {
		name   string
		marker string
		from   []spec.Source
		want   bool
	}{
		{"taken over, or made before this was noted", "", []spec.Source{golden("alpine")}, false},
		{"the same golden", "golden/alpine", []spec.Source{newest("usb"), golden("alpine")}, false},
		{"the same golden by its old name", "golden/debian", []spec.Source{golden("trixie")}, false},
		{"another golden", "golden/debian", []spec.Source{newest("usb"), golden("alpine")}, true},
		{"a golden that is gone, beside its own backups", "golden/debian", []spec.Source{newest("usb")}, false},
		{"an archive instead", "golden/debian", []spec.Source{{Archive: own}}, true},
		{"the same archive", own, []spec.Source{{Archive: own}}, false},
		{"its own archive, and now the newest of them", own, []spec.Source{newest("elsewhere"), golden("alpine")}, false},
		{"its own archive, and now a golden", own, []spec.Source{golden("alpine")}, true},
		{"the newest of another guest", others, []spec.Source{{Newest: "usb", VMID: 105}}, false},
		{"the newest of another guest on another storage", others, []spec.Source{{Newest: "tape", VMID: 105}}, true},
		{"the newest of yet another guest", others, []spec.Source{{Newest: "usb", VMID: 106}}, true},
		{"no source at all", "golden/debian", nil, false},
	} {
		q := questions.Questions{Want: want, Have: &node.Observed{}}
		g := &spec.Guest{VMID: 111, From: c.from}
		if got := questions.MadeOtherwise(q, g, marker.Marker{}.With("from", c.marker)); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
