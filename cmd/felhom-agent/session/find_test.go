package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A node whose proxy hangs when a run begins is asked again; a token that is not accepted, and
// a node at which nothing answers, are said at once.
func TestANodeThatHangsIsAskedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		fault pvesim.Fault
		found bool
		asked int // at most
	}{
		"hangs":       {pvesim.Fault{Match: "GET /nodes", Effect: "lost", Times: 3}, true, 4},
		"hangs on":    {pvesim.Fault{Match: "GET /nodes", Effect: "lost", Times: -1}, false, 6},
		"is refusing": {pvesim.Fault{Match: "GET /nodes", Effect: "error", Text: "no", Times: -1}, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := pvesim.New()
				token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
				if err != nil {
					t.Fatal(err)
				}
				client, err := proxmox.New(proxmox.Options{Transport: sim, Token: token})
				if err != nil {
					t.Fatal(err)
				}
				if err := sim.Inject(c.fault); err != nil {
					t.Fatal(err)
				}
				begin, before := time.Now(), sim.Requests()
				n := &session.Session{Config: &config.Config{}, Client: client, Log: zap.NewNop()}
				err = n.FindPatiently(t.Context())
				if (err == nil) != c.found || sim.Requests()-before != c.asked || time.Since(begin) > time.Minute {
					t.Errorf("after %s and %d requests: %v", time.Since(begin), sim.Requests()-before, err)
				}
				if c.found && n.Source.Node != "pve1" {
					t.Errorf("it found %q", n.Source.Node)
				}
			})
		})
	}
}
