package reconcile

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// A restore that is killed half-way leaves `lock: create` alone and a volume that no config names.
// The fix that is printed frees both, and then the guest comes back; what somebody else's creation
// has left is not offered for destruction.
func TestTheFixOfACreationThatWasCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		forget, foreign bool
	}{
		"the journal knows it":       {false, false},
		"the list of tasks knows it": {true, false},
		"it is somebody else's":      {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				want := desired(t, householdYAML)
				b.once(want)
				b.sim.LoseConfig(101)
				dropVolumes(t, b, 101)
				if err := b.sim.Inject(pvesim.Fault{Match: "task vzrestore 101", Effect: "die"}); err != nil {
					t.Fatal(err)
				}
				if c.foreign {
					b.sim.Do("root@pam", "POST", "/nodes/pve1/lxc", map[string]string{"vmid": "101", "restore": "1", "ostemplate": archiveIDs(t, b)[0], "storage": "local-lvm"})
					time.Sleep(time.Minute)
				} else {
					b.once(want)
				}
				if c.forget {
					b = newBench(t, b.sim)
				}
				plan, text := b.plan(want)
				var fix []string
				for _, h := range plan.Blocked {
					if h.Object.String() == "guests/dns" && strings.Contains(h.Reason, "the creation of 101 was cut off: its configuration is `lock: create` alone") {
						fix = h.Fix
					}
				}
				if fix == nil {
					t.Fatalf("it says\n%s\n%s", text, b.sim)
				}
				commands := regexp.MustCompile(`pct unlock \d+ && pct destroy \d+|pvesm free \S+`).FindAllString(strings.Join(fix, "\n"), -1)
				if c.foreign {
					if len(commands) > 0 {
						t.Errorf("it would destroy what others made: %q", fix)
					}
					return
				}
				for _, command := range commands {
					for part := range strings.SplitSeq(command, " && ") {
						if volid, free := strings.CutPrefix(part, "pvesm free "); free { // which the simulated host has as a request
							storage, volume, _ := strings.Cut(volid, ":")
							b.as("DELETE", "/nodes/pve1/storage/"+storage+"/content/"+volume)
						} else if printed, err := b.sim.Shell("pve1", part); err != nil {
							t.Errorf("%s: %v %s", part, err, printed)
						}
					}
				}
				if world := b.sim.String(); strings.Contains(world, "vm-101-disk") || strings.Contains(world, "guest 101") {
					t.Errorf("after %q there is left\n%s", commands, world)
				}
				fresh := newBench(t, b.sim, func(o *Options) { o.Only = []spec.Ref{{Kind: spec.KindGuest, Name: "dns"}} })
				if !strings.Contains(strings.Join(fix, "\n"), "felhom-agent --once --only guests/dns") {
					t.Errorf("it does not say how it comes back: %q", fix)
				}
				fresh.once(want)
				if !strings.Contains(b.sim.String(), "guest 101 on pve1, running") {
					t.Errorf("it does not come back:\n%s", fresh.events)
				}
			})
		})
	}
}

// The node's time zone was changed between a backup and its proof: the listed time is another
// one, and the task's log proves it all the same. Its notes have the right time.
func TestAnArchiveIsProvenInAnotherTimeZone(t *testing.T) {
	for _, zone := range []string{"UTC", "Pacific/Honolulu", "Asia/Kathmandu"} {
		t.Run(zone, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := desired(t, householdYAML)
				died := newBench(t, pvesim.New())
				died.journal.Barrier = func(e journal.Entry) error {
					if e.Step == journal.StepOutcome && died.journal.Action(e.Action).Verb == "back up" {
						return errors.New("the machine is switched off")
					}
					return nil
				}
				if _, err := died.agent.Once(t.Context(), want); err == nil {
					t.Fatal("it outlived that")
				}
				sim := reconciletest.Reborn(t, died.sim, "zone: Europe/Budapest", "zone: "+zone)
				b := newBench(t, sim)
				b.once(want)
				synctest.Wait()
				b.once(want)
				content, err := b.client.StorageContent(t.Context(), "pve1", "usb-backup", proxmox.ContentFilter{})
				if err != nil {
					t.Fatal(err)
				}
				proven := 0
				for _, v := range content {
					if strings.Contains(v.Notes, "felhom-agent/1 backups/daily ") && strings.Contains(v.Notes, " size=") && strings.Contains(v.Notes, " begun=2026-11-22T17:0") {
						proven++
					}
				}
				if proven == 0 {
					t.Errorf("it is not proven:\n%s\n%s", b.events, sim)
				}
			})
		})
	}
}
