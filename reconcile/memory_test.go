package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A limit below what the kernel cannot drop kills a guest, whatever PVE lists as its
// use. Such a limit waits for a restart; one with room enough, or that is in the way of
// a cache alone, is set now; and where the root helper does not tell what is in use,
// each lowering waits. dns has 512 MiB, of which its processes take 152.
func TestLoweredLimitKillsNoGuest(t *testing.T) {
	for name, c := range map[string]struct {
		config           string
		shmem, cache     int
		helper, restarts bool
		says             string // of what is blocked; empty: it is set now
	}{
		"room":                   {config: "memory: 256", helper: true},
		"shared memory":          {config: "memory: 256", shmem: 100, helper: true, says: "it holds 252 MiB that cannot be freed (100 MiB of shared memory) and would be killed"},
		"below its processes":    {config: "memory: 128", helper: true, says: "it holds 152 MiB that cannot be freed and would be killed"},
		"a cache":                {config: "memory: 256", cache: 300, helper: true},
		"no helper":              {config: "memory: 500", says: "not known without the root helper"},
		"no helper, more":        {config: "memory: 1024"},
		"no helper, swap":        {config: "swap: 0", says: "not known without the root helper"},
		"unused swap":            {config: "swap: 0", helper: true},
		"swap in use":            {config: "swap: 64", shmem: 600, helper: true, says: "swap 512 MiB -> 64 MiB: it has 240 MiB in swap and would be killed"},
		"shared memory, restart": {config: "memory: 200", shmem: 100, helper: true, restarts: true},
		"no helper, restart":     {config: "memory: 500", restarts: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New(), func(o *Options) {
					if !c.helper {
						o.Runner = nil
					}
				})
				yaml := "node: pve1\nguests:\n  dns: {vmid: 101, state: running, config: {" + c.config + "}}\n"
				if c.restarts {
					yaml = strings.Replace(yaml, "state: running", "state: running, restart: auto", 1)
				}
				b.sim.FillMemory(101, c.shmem, c.cache)
				want := desired(t, yaml)
				b.once(want) // adopts it
				pid := pidOf(t, b)
				_, text := b.plan(want)
				b.once(want)
				time.Sleep(time.Minute)
				after := pidOf(t, b)
				config, err := b.sim.Shell("pve1", "pct config 101")
				if err != nil {
					t.Fatal(err)
				}
				isSet := strings.Contains("\n"+config, "\n"+c.config+"\n")
				switch {
				case after == "":
					t.Errorf("the guest was killed; the plan was\n%s", text)
				case c.says != "" && (!strings.Contains(strings.Join(strings.Fields(text), " "), c.says) || isSet || after != pid):
					t.Errorf("want %q, and nothing done (set: %v, pid %s -> %s):\n%s", c.says, isSet, pid, after, text)
				case c.says == "" && !isSet:
					t.Errorf("it was not set:\n%s\n%s", text, config)
				case c.says == "" && !c.restarts && after != pid:
					t.Errorf("it was restarted:\n%s", text)
				}
			})
		})
	}
}

// pidOf is the process of dns, as the host sees it; empty when it does not run.
func pidOf(t *testing.T, b *bench) string {
	t.Helper()
	out, err := b.sim.Shell("pve1", "lxc-info -n 101 -p -H")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}
