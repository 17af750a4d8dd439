package rehearse

import (
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/spec"
)

// Unprobed takes out of a desired state what asks for the data inside guests, of which a copy has nothing: each probe
// would fail there, and a good change would be shown as taken back. It returns which objects are rehearsed without probes.
func Unprobed(want *spec.Desired) string {
	var without []string
	for _, guests := range []map[string]*spec.Guest{want.Guests, want.Restores} {
		for _, g := range guests {
			if g.Guard != nil {
				g.Guard, without = nil, append(without, g.Ref.String())
			}
		}
	}
	for _, t := range want.Tests {
		t.All, t.Guests, without = false, nil, append(without, t.Ref.String())
	}
	slices.Sort(without)
	return strings.Join(without, ", ")
}
