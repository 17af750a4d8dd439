package reconcile

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/journal"
)

// Somebody, or another tool, moves a value back each time: after three times the
// agent stops and says so.
func TestAFightEnds(t *testing.T) {
	const text = "node: pve1\nguests:\n  dns: {vmid: 101, config: {memory: 768MiB}, state: running, drift: heal}\n"
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		fights, fresh := 0, false
		other := transport(func(req *http.Request) (*http.Response, error) {
			res, err := sim.RoundTrip(req)
			switch {
			case req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, "/lxc/101/config"):
				fights++
				fresh = true
			case fresh && strings.HasSuffix(req.URL.Path, "/lxc/101/pending"): // it was read back, and at once comes the other tool
				fresh = false
				sim.Do("root@pam", "PUT", "/nodes/pve1/lxc/101/config", map[string]string{"memory": "512"})
			}
			return res, err
		})
		token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
		if err != nil {
			t.Fatal(err)
		}
		client, err := proxmox.New(proxmox.Options{Transport: other, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		b := newBench(t, sim, func(o *Options) { o.Client = client })
		report := b.once(desired(t, text))
		if fights != 1+journal.RepeatLimit { // the adoption, and three times the value
			t.Errorf("the value was set %d times", fights)
		}
		if code := report.ExitCode(); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		if closing := b.closing(report); !strings.Contains(closing, "something moves it back: memory 512 -> 768 MiB") {
			t.Errorf("it says\n%s", closing)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }
