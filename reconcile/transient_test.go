package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A read that fails for the moment ends no run: PVE's list of containers answers 500 while
// one of them stops, the daemon hangs when the run begins, one guest's config cannot be read
// for a minute.
func TestAReadThatFailsForAMomentEndsNoRun(t *testing.T) {
	const text = `
guests:
  dns: {vmid: 101, state: stopped, config: {cores: 2}}
  web: {vmid: 300, state: running, config: {cores: 2}}
`
	list := "failed to read from command socket: Connection reset by peer"
	for name, trouble := range map[string]func(t *testing.T, sim *pvesim.Sim){
		"the list while a guest stops": func(t *testing.T, sim *pvesim.Sim) {
			inject(t, sim, pvesim.Fault{Match: "GET */lxc", Effect: "stopping", Times: -1})
		},
		"the list once at the begin": func(t *testing.T, sim *pvesim.Sim) {
			inject(t, sim, pvesim.Fault{Match: "GET */lxc", Effect: "error", Text: list})
		},
		"596 at once": func(t *testing.T, sim *pvesim.Sim) {
			inject(t, sim, pvesim.Fault{Match: "GET *", Effect: "lost", Text: "Broken pipe", Times: 9})
		},
		"a daemon that hangs at the begin": func(_ *testing.T, sim *pvesim.Sim) {
			sim.SetOutage("pve1", "pvedaemon-hung")
			go func() {
				time.Sleep(50 * time.Second)
				sim.SetOutage("pve1", "")
			}()
		},
		"one guest's config for a minute": func(t *testing.T, sim *pvesim.Sim) {
			inject(t, sim, pvesim.Fault{Match: "GET */lxc/101/pending", Effect: "eof", Times: -1})
			go func() {
				time.Sleep(time.Minute)
				sim.Heal()
			}()
		},
		"all lists for two minutes, amid a task of its own": func(t *testing.T, sim *pvesim.Sim) {
			sim.SetDuration(func(task pvesim.TaskInfo) time.Duration {
				if task.Type == "vzstart" {
					return 3 * time.Minute
				}
				return time.Second
			})
			go func() {
				for !strings.Contains(sim.String(), "task vz") {
					time.Sleep(time.Second)
				}
				inject(t, sim, pvesim.Fault{Match: "GET /cluster/resources", Effect: "error", Text: list, Times: -1})
				time.Sleep(2 * time.Minute)
				sim.Heal()
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := desired(t, text)
			synctest.Test(t, func(t *testing.T) {
				sim := pvesim.New()
				b := newBench(t, sim)
				b.as("POST", "/nodes/pve1/lxc", "vmid=300", "hostname=web", "ostemplate=local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", "rootfs=local-lvm:1", "unprivileged=1")
				sim.Advance(time.Minute)
				trouble(t, sim)
				report := b.once(want)
				if report.ExitCode() != 0 || report.Sent == 0 {
					t.Errorf("exit code %d\n%s\n%s", report.ExitCode(), b.events, b.closing(report))
				}
			})
		})
	}
}

func inject(t *testing.T, sim *pvesim.Sim, f pvesim.Fault) {
	t.Helper()
	if err := sim.Inject(f); err != nil {
		t.Error(err)
	}
}
