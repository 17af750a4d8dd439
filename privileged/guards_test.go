package privileged_test

import (
	"fmt"
	"testing"

	"github.com/felhom/felhom-agent/privileged"
)

// Root opens single guests to probes, besides the range of restore tests; a list that is not right opens none.
func TestRootOpensGuardedGuestsToProbes(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		guards string
		open   bool
	}{{"", false}, {"101", true}, {"100", false}, {"111-119,101", true}, {"100-102", true}, {"111-119", false}, {" 101 , 111", true}, {"all", false}, {"101,", false}, {"101-9999", false}, {"1", false}, {"102-100", false}, {"-101", false}} {
		if err := b.sim.PutFile(privileged.PolicyPath, []byte(fmt.Sprintf(`{"guards": %q}`, c.guards))); err != nil {
			t.Fatal(err)
		}
		if _, err := privileged.ProbeGuest(t.Context(), b, b.node, 101, privileged.Probe{Kind: privileged.ProbeSystem}); (err == nil) != c.open {
			t.Errorf("guards %q: %v", c.guards, err)
		}
	}
}
