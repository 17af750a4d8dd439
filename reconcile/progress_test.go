package reconcile

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// TestRunningTellsTheLog holds that a long task tells its last log line, a short one nothing, and that a log which
// cannot be read, or only slowly, is no matter.
func TestRunningTellsTheLog(t *testing.T) {
	want := reconciletest.Examples(t)
	for _, effect := range []string{"", "error", "slow"} {
		t.Run(effect, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := pvesim.New()
				var mu sync.Mutex
				said := map[string][]string{}
				b := newBench(t, sim, func(o *Options) {
					o.Events = func(e Event) {
						mu.Lock()
						defer mu.Unlock()
						if e.State == "running" {
							said[e.Verb] = append(said[e.Verb], e.Text)
						}
					}
				})
				sim.SetDuration(func(task pvesim.TaskInfo) time.Duration {
					if task.Type == "vzdump" {
						return 5 * time.Minute
					}
					return 3 * time.Second
				})
				if effect != "" {
					if err := sim.Inject(pvesim.Fault{Match: "GET */log", Times: 3, Effect: effect, Text: "no", For: time.Minute}); err != nil {
						t.Fatal(err)
					}
				}
				if r := b.once(want); r.ExitCode() != 0 {
					t.Fatal(b.closing(r))
				}
				mu.Lock()
				defer mu.Unlock()
				backup := said["back up"]
				if len(backup) == 0 || backup[0] != "" {
					t.Errorf("a backup begins with the log lines %q", backup)
				}
				if !strings.Contains(strings.Join(backup, "\n"), "\ncreating vzdump archive '/mnt/usb/backup/dump/") {
					t.Errorf("a backup told only %q", backup)
				}
				if text := strings.Join(said["restore"], ""); len(said["restore"]) == 0 || text != "" {
					t.Errorf("a short task told %q", text)
				}
			})
		})
	}
}

// A clock that is set back while an operation runs makes it no younger than new.
func TestProgressOutlivesAClockThatIsSetBack(t *testing.T) {
	var out strings.Builder
	p := NewProgress(&out, TextOptions{Live: true})
	p.Event(Event{Verb: "restore", State: "running", Elapsed: -7 * time.Second})
	if !strings.Contains(out.String(), "0 s") {
		t.Errorf("it prints %q", out.String())
	}
}
