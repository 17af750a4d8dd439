package reconcile

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A meddler lets somebody else act on the node just before a request arrives there.
type meddler struct {
	sim    *pvesim.Sim
	before func(r *http.Request)
}

func (m *meddler) RoundTrip(r *http.Request) (*http.Response, error) {
	m.before(r)
	return m.sim.RoundTrip(r)
}

// meddled is a bench whose agent's requests pass by a meddler.
func meddled(t *testing.T, sim *pvesim.Sim, before func(r *http.Request)) *bench {
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Transport: &meddler{sim, before}, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return newBench(t, sim, func(o *Options) { o.Client = client })
}

// What a person does between the look and the operation is no failure where it is what was
// wanted: PVE then answers "CT 101 already running" or "CT 101 not running".
func TestWhatSomebodyElseWasFasterInIsNoFailure(t *testing.T) {
	for _, c := range []struct{ name, first, then, call, person string }{
		{"start", "state: stopped", "state: running", "/status/start", "start"},
		{"stop", "state: running", "state: stopped", "/status/shutdown", "stop"},
		{"restart", "state: running, restart: auto", "state: running, restart: auto, config: {nameserver: 10.0.10.9}", "/status/shutdown", "stop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			house := func(fields string) string {
				return "guests: {dns: {vmid: 101, " + fields + "}}\n"
			}
			first, then := desired(t, house(c.first)), desired(t, house(c.then))
			synctest.Test(t, func(t *testing.T) {
				sim := pvesim.New()
				meddling, meddles := false, 0
				b := meddled(t, sim, func(r *http.Request) {
					if meddling && meddles == 0 && r.Method == "POST" && strings.HasSuffix(r.URL.Path, c.call) {
						meddles++
						if status, body := sim.Do("root@pam", "POST", "/nodes/pve1/lxc/101/status/"+c.person, nil); status != 200 {
							t.Error(status, body)
						}
						sim.Advance(time.Minute)
					}
				})
				if r := b.once(first); r.ExitCode() != 0 {
					t.Fatalf("exit code %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
				}
				meddling = true
				if r := b.once(then); r.ExitCode() != 0 || meddles != 1 || strings.Contains(b.events.String(), "REFUSED") {
					t.Errorf("exit code %d, somebody acted %d times\n%s\n%s", r.ExitCode(), meddles, b.events, b.closing(r))
				}
				if plan, text := b.plan(then); plan.ExitCode() != 0 {
					t.Errorf("the next plan is not empty:\n%s", text)
				}
			})
		})
	}
}

// storageLock is what PVE said when ten guests were made at once on a slow node
// (pve-facts 14.15).
const storageLock = "can't lock file '/var/lock/pve-manager/pve-storage-local-lvm' - got timeout"

// A storage's lock that somebody else holds is waited out, also inside a task; but not
// for ever.
func TestLocksInsideTasksAreWaitedOut(t *testing.T) {
	for _, c := range []struct {
		name, match string
		times, code int
	}{
		{"a while", "task vzrestore 201", 3, 0},
		{"for ever", "task vzrestore 201", -1, 3},
		{"for ever at the call", "POST */nodes/pve1/lxc", -1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := desired(t, strings.NewReplacer("RESTART", "auto", "STATE", "running").Replace(canonicalBase))
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				fault := pvesim.Fault{Match: c.match, Times: c.times, Effect: "fail", Text: "unable to create CT 201 - " + storageLock}
				if !strings.HasPrefix(c.match, "task") {
					fault.Effect, fault.Text = "error", "can't lock file '/run/lock/lxc/pve-config-201.lock' - got timeout"
				}
				if err := b.sim.Inject(fault); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
				defer cancel()
				report, err := b.agent.Once(ctx, want)
				if err != nil {
					t.Fatalf("%v\n%.3000s", err, b.events)
				}
				if report.ExitCode() != c.code || strings.Contains(b.events.String(), "FAILED") {
					t.Errorf("exit code %d, not %d\n%s\n%s", report.ExitCode(), c.code, b.events, b.closing(report))
				}
				if c.times > 0 && !strings.Contains(b.sim.String(), "guest 201") {
					t.Errorf("the guest was not made:\n%s", b.sim)
				}
			})
		})
	}
}

// PVE does not tell which archive a restore reads, so none is deleted while somebody
// else restores one.
func TestNothingIsPrunedWhileSomebodyElseRestores(t *testing.T) {
	want := desired(t, strings.ReplaceAll(scheduled, "WHEN", "every: 24h, keep: 1"))
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.once(want)
		volumes, err := b.client.Read().StorageContent(t.Context(), "pve1", "usb-backup", proxmox.ContentFilter{})
		if err != nil || len(volumes) != 2 {
			t.Fatal(err, volumes)
		}
		ours := volumes[slices.IndexFunc(volumes, func(v proxmox.StorageContent) bool { return v.Notes != "" })].VolID
		b.sim.Advance(25 * time.Hour)
		if err := b.sim.Inject(pvesim.Fault{Match: "task vzrestore 150", Effect: "hang"}); err != nil {
			t.Fatal(err)
		}
		if status, body := b.sim.Do("root@pam", "POST", "/nodes/pve1/lxc", map[string]string{"vmid": "150", "ostemplate": ours, "restore": "1", "storage": "local-lvm"}); status != 200 {
			t.Fatal(status, body)
		}
		b.sim.Advance(time.Minute)
		b.once(want)
		if !strings.Contains(b.sim.String(), strings.TrimPrefix(ours, "usb-backup:")) {
			t.Errorf("the archive that somebody restores was deleted:\n%s", b.events)
		}
		b.sim.Heal()
		b.sim.Advance(time.Minute)
		b.once(want)
		if strings.Contains(b.sim.String(), strings.TrimPrefix(ours, "usb-backup:")) {
			t.Errorf("the older archive was not pruned afterwards:\n%s", b.events)
		}
	})
}

// A clock that was ahead for a while neither doubles a backup for ever nor silences it:
// what it has dated in the future is named, does not count, and stays.
func TestArchivesOfAClockThatWasAheadAreNamed(t *testing.T) {
	want := desired(t, strings.ReplaceAll(scheduled, "WHEN", "every: 24h, keep: 1"))
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.once(want)
		b.sim.Advance(30 * 24 * time.Hour)
		b.once(want)
		b = newBench(t, withClock(t, b.sim, b.sim.Now().Add(-28*24*time.Hour)))
		b.once(want)
		b.once(want)
		_, text := b.plan(want)
		if made := strings.Count(b.sim.String(), "backups/nightly vmid=101"); made != 2 || !strings.Contains(text, "is dated in the future") {
			t.Errorf("%d archives are there, not 2 (of the future, and of now)\n%s\n%s", made, text, b.events)
		}
	})
}

// withClock is a node as it was saved, whose clock then shows another time.
func withClock(t *testing.T, sim *pvesim.Sim, now time.Time) *pvesim.Sim {
	world, err := sim.Save()
	if err != nil {
		t.Fatal(err)
	}
	world = regexp.MustCompile(`(?m)^clock: .*$`).ReplaceAll(world, []byte("clock: "+now.Format(time.RFC3339)))
	if sim, err = pvesim.Load(world); err != nil {
		t.Fatal(err)
	}
	return sim
}

// A guest whose Notes are full cannot bear a marker; it is told so before PVE refuses.
func TestFullNotesAreNotTakenOver(t *testing.T) {
	want := desired(t, "guests: {dns: {vmid: 101}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		if status, body := b.sim.Do("root@pam", "PUT", "/nodes/pve1/lxc/101/config", map[string]string{"description": strings.Repeat("á", 8180)}); status != 200 {
			t.Fatal(status, body)
		}
		if r := b.once(want); r.ExitCode() != 3 || !strings.Contains(b.closing(r), "leave no room") {
			t.Errorf("exit code %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
		}
	})
}

// Who says how long a guest's shutdown takes (startup: down) is waited for so long.
func TestAShutdownTakesAsLongAsItsStartupSays(t *testing.T) {
	for _, c := range []struct{ then, live, timeout string }{
		{"state: stopped", "", "60"},
		{"state: stopped", "order=1,down=300", "300"},
		{"state: stopped, config: {startup: {down: 900}}", "order=1,down=300", "900"},
		{"state: running, restart: auto, config: {startup: {down: 200}, nameserver: 10.0.10.9}", "", "200"},
	} {
		t.Run(c.then+" "+c.live, func(t *testing.T) {
			want := desired(t, "guests: {dns: {vmid: 101, "+c.then+"}}\n")
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if c.live != "" {
					if status, body := b.sim.Do("root@pam", "PUT", "/nodes/pve1/lxc/101/config", map[string]string{"startup": c.live}); status != 200 {
						t.Fatal(status, body)
					}
				}
				if r := b.once(want); r.ExitCode() != 0 {
					t.Fatalf("exit code %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
				}
				for _, operation := range b.journal.Order {
					if operation.Call != nil && strings.HasSuffix(operation.Call.Path, "/shutdown") {
						if operation.Call.Params["timeout"] != c.timeout || operation.Timeout < 16*time.Minute && c.timeout == "900" {
							t.Errorf("PVE is given %s s, and the task %s", operation.Call.Params["timeout"], operation.Timeout)
						}
						return
					}
				}
				t.Error("it was never shut down")
			})
		})
	}
}
