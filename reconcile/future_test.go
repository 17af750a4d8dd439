package reconcile

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// The newest archive seems to be of the future, because the node's zone or clock is another one
// than when it was made: it is named, and no older one is restored in silence. What says when
// it was begun in any zone makes it an archive like any other.
func TestTheNewestArchiveIsOfTheFuture(t *testing.T) {
	const first, second = "22 Nov 18:02", "22 Nov 20:10"
	zone := func(t *testing.T, sim *pvesim.Sim, name string) *pvesim.Sim {
		return reconciletest.Reborn(t, sim, "zone: Europe/Budapest", "zone: "+name)
	}
	for name, c := range map[string]struct {
		zone  string
		step  time.Duration
		begun bool // the notes say when it was begun
		says  string
		not   string
	}{
		"another zone, notes of an earlier version": {"UTC", 0, false, "20_10", "create 101"},
		"another zone":                 {"UTC", 0, true, "create 101 from its backup of 22 Nov 19:1", "18:02"},
		"a zone half a day away":       {"Pacific/Honolulu", 0, true, "create 101 from its backup of 22 Nov 09:1", "18:02"},
		"a zone to the east":           {"Asia/Kathmandu", 0, true, "create 101 from its backup of 23 Nov 00:5", "18:02"},
		"ten minutes behind":           {"", -20 * time.Minute, true, "in the future", "create 101"},
		"a minute behind is no wonder": {"", -2 * time.Minute, true, "create 101 from its backup of 22 Nov 20:1", first},
		"an empty battery":             {"", -6 * 365 * 24 * time.Hour, true, "in the future", "create 101"},
		"nothing wrong":                {"", 0, true, "create 101 from its backup of 22 Nov 20:1", first},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				yaml := strings.Replace(householdYAML, "every: 24h, keep: 2", "every: 1h", 1)
				b := newBench(t, pvesim.New())
				want := desired(t, yaml)
				b.once(want)
				time.Sleep(2*time.Hour + 8*time.Minute)
				b.once(want)
				if !c.begun {
					otherHouse(t, b, []int{22}, ` begun=\S+`, "")
				}
				b.sim.LoseConfig(101)
				dropVolumes(t, b, 101)
				sim := b.sim
				if c.zone != "" {
					sim = zone(t, sim, c.zone)
				}
				sim.StepClock(c.step)
				plan, text := newBench(t, sim).plan(want)
				if !strings.Contains(text, c.says) || strings.Contains(regexp.MustCompile(`or the one of .*`).ReplaceAllString(text, ""), c.not) {
					t.Errorf("it says (%s, not %s)\n%s", c.says, c.not, text)
				}
				for _, h := range plan.Blocked {
					if strings.Contains(h.Reason, "in the future") && len(h.Fix) < 2 {
						t.Errorf("no way out: %q", h.Fix)
					}
				}
			})
		})
	}
}

// Archives of which a part is missing are named in the plan, in the status and in a run, with
// what to do, whatever is left of their notes.
func TestADamagedArchiveIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ notes string }{
		"its notes are whole":               {"keep"},
		"its notes were lost with the rest": {""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				want := desired(t, householdYAML)
				b.once(want)
				id := archiveIDs(t, b)[len(archiveIDs(t, b))-1]
				_, file, _ := strings.Cut(id, ":")
				if c.notes == "" {
					b.sim.Do("root@pam", "PUT", "/nodes/pve1/storage/usb-backup/content/"+file, map[string]string{"notes": ""})
				}
				world, err := b.sim.Save()
				if err != nil {
					t.Fatal(err)
				}
				cut := regexp.MustCompile(`(` + regexp.QuoteMeta(file) + `:(?s:.{0,40}?)size: )(\d+)`)
				if !cut.Match(world) {
					t.Fatalf("no size of %s:\n%s", file, world)
				}
				sim, err := pvesim.Load(cut.ReplaceAll(world, []byte("${1}13900000")))
				if err != nil {
					t.Fatal(err)
				}
				late := newBench(t, sim, func(o *Options) { o.Journal = b.journal })
				late.journal = b.journal
				plan, text := late.plan(want)
				found := false
				for _, h := range plan.Blocked {
					if strings.Contains(h.Reason, id) && strings.Contains(h.Reason, "damaged") && strings.Contains(strings.Join(h.Fix, " "), "pvesm free "+id) {
						found = true
					}
				}
				if !found {
					t.Errorf("the plan does not name %s:\n%s", id, text)
				}
				if run := late.closing(late.once(want)); !strings.Contains(run, "is damaged") || !strings.Contains(run, "pvesm free "+id) {
					t.Errorf("a run does not name it:\n%s", run)
				}
				fresh := newBench(t, sim) // and an agent with no memory, from the log of the task
				fresh.once(want)
				synctest.Wait()
				if _, text := fresh.plan(want); c.notes != "" && !strings.Contains(text, "is damaged") {
					t.Errorf("without a journal it is not named:\n%s", text)
				}
				if run := fresh.closing(fresh.once(want)); !strings.Contains(run, "is damaged") {
					t.Errorf("a run without a journal does not name it:\n%s", run)
				}
			})
		})
	}
}

// An archive that is a little ahead of the clock may be the newest or not, so nothing is deleted
// beside it until its time has come; then the plan counts as ever. One that is far ahead does not
// count, and comes near while a run is under way: what the first plan does not count stays.
func TestNothingIsPrunedBesideAnArchiveAheadOfTheClock(t *testing.T) {
	keeps := func(n string) string {
		return "guests: {dns: {vmid: 101}}\nbackups: {daily: {guests: [dns], storage: local, every: 1h, keep: " + n + "}}\n"
	}
	for _, ahead := range []time.Duration{2 * time.Minute, 5*time.Minute + 10*time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			b.once(desired(t, keeps("9")))
			time.Sleep(time.Hour + time.Minute)
			b.once(desired(t, keeps("9")))
			begun := b.sim.Now()
			b.sim.StepClock(-ahead - time.Minute) // what was made last is ahead now
			one := desired(t, keeps("1"))
			p, text := b.plan(one)
			counted := p.Deletions().Archives
			if p.Due.IsZero() || p.Due.After(begun) {
				t.Errorf("%s: due %s, and the archive's time comes before %s\n%s", ahead, p.Due, begun, text)
			}
			b.once(one)
			if deleted := strings.Count(b.events.String(), "delete archive       ok"); deleted > counted || ahead < 5*time.Minute && deleted > 0 {
				t.Errorf("%s: %d are deleted, and the plan counts %d\n%s\n%s", ahead, deleted, counted, text, b.events)
			}
			time.Sleep(ahead + 2*time.Minute)
			b.once(one)
			if p, text := b.plan(one); p.ExitCode() != 0 || strings.Contains(text, "in the future") {
				t.Errorf("%s: afterwards\n%s", ahead, text)
			}
			if n := strings.Count(b.sim.String(), "local:backup/vzdump-lxc-101-"); n != 1 {
				t.Errorf("%s: %d archives stay\n%s", ahead, n, b.sim)
			}
		})
	}
}
