package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

const guardedHouse = `
node: pve1
guests:
  dns: {vmid: 101, state: running, drift: heal, config: {memory: MEMORY}, guard: {probe: [{unit: dnsmasq}]}}
`

func guardedWith(memory string) string {
	return strings.Replace(guardedHouse, "MEMORY", memory, 1)
}

// guardBench is a node on which dns is managed and its probes are opened. broken lets the next change of its
// memory break its service.
func guardBench(t testing.TB, broken bool, options ...func(*Options)) *bench {
	t.Helper()
	sim := pvesim.New()
	sim.Furnish(101, fails(broken))
	b := newBench(t, sim, options...)
	if r := b.once(desired(t, guardedWith("512"))); r.ExitCode() != 0 {
		t.Fatalf("%s\n%s", b.events, b.closing(r))
	}
	openGuards(t, sim)
	b.events.Reset()
	return b
}

// fails is what is in dns; where it is broken, its services fail with 1024 MiB.
func fails(broken bool) world.Inside {
	inside := *dnsmasq.Copy()
	if broken {
		inside.FailsAt = map[string]string{"memory": "1024"}
	}
	return inside
}

func openGuards(t testing.TB, sim *pvesim.Sim) {
	t.Helper()
	if err := sim.PutFile(privileged.PolicyPath, []byte(`{"guards": "101"}`)); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) dnsMemory() (memory string, guards int) {
	_, body := b.sim.Do("root@pam", "GET", "/nodes/pve1/lxc/101/config", nil)
	_, after, _ := strings.Cut(body, `"memory":`)
	memory, _, _ = strings.Cut(after, ",")
	_, list := b.sim.Do("root@pam", "GET", "/nodes/pve1/lxc/101/snapshot", nil)
	return strings.Trim(memory, `"}`), strings.Count(list, `"guard_`)
}

// A change after which the probes hold is kept, and its snapshot goes away when they have held long enough.
func TestAGuardedChangeThatProvesItselfIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guardBench(t, false)
		want := desired(t, guardedWith("1024"))
		_, text := b.plan(want)
		for _, line := range []string{"snapshot guard_", "memory 512 -> 1024 MiB", "when its probes have passed for 2 min, within 10 min", "Plan: 1 to change, 1 snapshot to delete."} {
			if !strings.Contains(text, line) {
				t.Errorf("the plan does not say %q:\n%s", line, text)
			}
		}
		begin := time.Now()
		r := b.once(want)
		if memory, guards := b.dnsMemory(); memory != "1024" || guards != 0 || r.ExitCode() != 0 || time.Since(begin) < 2*time.Minute {
			t.Errorf("memory %s, %d snapshots, exit code %d after %s\n%s\n%s", memory, guards, r.ExitCode(), time.Since(begin), b.events, b.closing(r))
		}
		if plan, text := b.plan(want); plan.ExitCode() != 0 {
			t.Errorf("the next plan is not empty\n%s", text)
		}
		calm := desired(t, strings.Replace(guardedWith("1024"), "config: {", "config: {tags: [a], ", 1))
		if _, text := b.plan(calm); strings.Contains(text, "snapshot") {
			t.Errorf("a tag is guarded\n%s", text)
		}
	})
}

// A change after which they do not hold is taken back and told, and is not tried again until the YAML changes.
func TestAGuardedChangeThatFailsIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := guardBench(t, true)
		want := desired(t, guardedWith("1024"))
		r := b.once(want)
		check := func(what string) {
			t.Helper()
			_, body := b.sim.Do("root@pam", "GET", "/nodes/pve1/lxc/101/status/current", nil)
			if memory, guards := b.dnsMemory(); memory != "512" || guards != 0 || !strings.Contains(body, `"running"`) {
				t.Errorf("%s: memory %s, %d snapshots, %s\n%s", what, memory, guards, body, b.events)
			}
		}
		check("taken back")
		if text := b.closing(r); r.ExitCode() == 0 || !strings.Contains(text, "its change was taken back, and is not tried again: unit dnsmasq.service: failed") || !strings.Contains(b.events.String(), "take the change of 101 back") {
			t.Errorf("exit code %d\n%s\n%s", r.ExitCode(), b.events, text)
		}
		stop := b.watch(time.Minute, always(want), nil)
		time.Sleep(time.Hour)
		stop()
		check("an hour later")
		b.journal.Parse(nil)
		again := newBench(t, b.sim, func(o *Options) { o.Store = b.agent.O.Store }) // the journal is lost, the state is not
		if r := again.once(want); r.Sent != 0 {
			t.Errorf("without its journal it sends\n%s", again.events)
		}
		check("without its journal")
		b.agent.O.Watching = false
		if r := b.once(desired(t, guardedWith("768"))); r.ExitCode() != 0 {
			t.Errorf("exit code %d\n%s", r.ExitCode(), b.closing(r))
		}
		if memory, guards := b.dnsMemory(); memory != "768" || guards != 0 {
			t.Errorf("an edit is not tried: memory %s, %d snapshots\n%s", memory, guards, b.events)
		}
	})
}

// What cannot be asked has not held; what cannot be guarded is said, and blocked with require.
func TestGuardsThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		do     func(*bench)
		edit   func(string) string
		memory string
		says   string
	}{
		"root has not opened it": {do: func(b *bench) { _ = b.sim.PutFile(privileged.PolicyPath, []byte(`{}`)) }, memory: "512",
			says: "its change is not made, for its probes cannot be asked: root has not opened this guest to probes"},
		"root closes it meanwhile": {do: func(b *bench) {
			also := b.agent.O.Events
			b.agent.O.Events = func(e Event) {
				if also(e); e.State == "ok" && e.Verb == "set" {
					_ = b.sim.PutFile(privileged.PolicyPath, []byte(`{}`))
				}
			}
		}, memory: "512", says: "unit dnsmasq.service cannot be asked"},
		"no root helper": {do: func(b *bench) { b.agent.O.Runner, b.agent.O.Fence = nil, nil }, memory: "1024"},
		"no root helper, required": {do: func(b *bench) { b.agent.O.Runner, b.agent.O.Fence = nil, nil }, edit: func(s string) string { return strings.Replace(s, "guard: {", "guard: {require: true, ", 1) },
			memory: "512", says: "its change is not made, for it cannot be guarded: nothing can be probed without the root helper"},
		"a folder of the host, required": {do: func(b *bench) {
			if _, err := b.sim.Shell("pve1", "mkdir -p /mnt/a"); err != nil {
				b.t.Fatal(err)
			}
			if _, err := b.sim.Shell("pve1", "pct set 101 -mp0 /mnt/a,mp=/a"); err != nil {
				b.t.Fatal(err)
			}
		}, edit: func(s string) string { return strings.Replace(s, "guard: {", "guard: {require: true, ", 1) }, memory: "512", says: "its change is not made, for it cannot be guarded: "},
		"it holds too short": {edit: func(s string) string { return strings.Replace(s, "guard: {", "guard: {hold: 9m, ", 1) }, do: func(b *bench) {
			also := b.agent.O.Events
			b.agent.O.Events = func(e Event) {
				if also(e); e.State == "ok" && e.Verb == "set" {
					go func() {
						time.Sleep(5 * time.Minute)
						inside := *dnsmasq.Copy()
						inside.Units = map[string]string{"dnsmasq.service": "failed"}
						b.sim.Furnish(101, inside)
					}()
				}
			}
		}, memory: "512", says: "unit dnsmasq.service: failed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := guardBench(t, false)
				c.do(b)
				house := guardedWith("1024")
				if c.edit != nil {
					house = c.edit(house)
				}
				_, text := b.plan(desired(t, house))
				begun, before := b.sim.Now(), len(b.journal.Order)
				r := b.once(desired(t, house))
				if took := b.sim.Now().Sub(begun); name == "root closes it meanwhile" && took > 2*time.Minute {
					t.Errorf("%s pass before the rollback, which loses all that is written in them", took)
				}
				if memory, guards := b.dnsMemory(); memory != c.memory || guards != 0 || !strings.Contains(b.closing(r), c.says) {
					t.Errorf("memory %s, %d snapshots\n%s\n%s", memory, guards, b.events, b.closing(r))
				}
				if name == "root has not opened it" && (!strings.Contains(text, c.says) || len(b.journal.Order) != before) {
					t.Errorf("the plan does not say it, or %d operations were begun:\n%s", len(b.journal.Order)-before, text)
				}
				if name == "no root helper" && !strings.Contains(text, "its change is not guarded: nothing can be probed without the root helper") {
					t.Errorf("the plan does not say it:\n%s", text)
				}
			})
		})
	}
}

// Wherever the agent is killed amid a guarded change, the world ends as if nobody had disturbed it.
func TestCrashAmidAGuardedChange(t *testing.T) {
	step := 1
	if reconciletest.RaceDetector || testing.Short() {
		step = 5
	}
	for _, broken := range []bool{false, true} {
		calm := guardKilledAt(t, broken, "")
		if calm.err != nil || strings.Contains(calm.world, "task vzrollback 101") != broken {
			t.Fatal(calm.err, calm.world)
		}
		killed, equal := 0, 0
		for i := 0; i < len(calm.points); i += step {
			l := guardKilledAt(t, broken, calm.points[i])
			switch {
			case l.err != nil:
				t.Errorf("killed at %s: %v", calm.points[i], l.err)
			case !l.killed: // another order of reads
				continue
			case l.world != calm.world:
				t.Errorf("killed at %s, the world is another one (- undisturbed, + resumed):\n%s", calm.points[i], cmp.Diff(calm.world, l.world))
			default:
				equal++
			}
			killed++
		}
		if killed < len(calm.points)/step*9/10 || len(calm.points) < 15 {
			t.Errorf("only %d of %d points were reached", killed, len(calm.points))
		}
		t.Logf("a change that breaks its probe: %t; %d kill points, %d equal", broken, killed, equal)
	}
}

func guardKilledAt(t *testing.T, broken bool, at string) *crashLife {
	l := &crashLife{n: map[string]int{}}
	synctest.Test(t, func(t *testing.T) {
		l.sim = pvesim.New()
		l.sim.Furnish(101, fails(broken))
		fence := &privileged.Local{Host: l.sim.Host(l.sim.Node())}
		defer fence.Wait()
		_, journal := l.once(t, desired(t, guardedWith("512")), fence, nil)
		openGuards(t, l.sim)
		ends := endsWith(0)
		if broken {
			ends = func(r *Report) error {
				if r.ExitCode() == 1 {
					return nil
				}
				return endsWith(3)(r)
			}
		}
		l.lives(t, desired(t, guardedWith("1024")), fence, at, journal.Mem.Bytes(), ends)
	})
	return l
}

// A plan that was reviewed covers what its change may lead to: the rollback of the change, and a deletion.
func TestReviewedPlansCoverGuardsAndDeletions(t *testing.T) {
	reviewed := func(b *bench, house string) *Report {
		want := desired(b.t, house)
		p, _ := b.plan(want)
		b.agent.O.Saved = SavePlan(p, SavedAbout{Owner: b.agent.O.Owner, Last: b.journal.Last()})
		return b.once(want)
	}
	for _, broken := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := guardBench(t, broken)
			r := reviewed(b, guardedWith("1024"))
			if memory, guards := b.dnsMemory(); memory != map[bool]string{false: "1024", true: "512"}[broken] || guards != 0 {
				t.Errorf("memory %s, %d snapshots\n%s\n%s", memory, guards, b.events, b.closing(r))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := doomed(t, doomedHouse)
		b.agent.O.Planned = nil
		if r := reviewed(b, absent(doomedHouse)); b.has(101) || r.ExitCode() != 0 {
			t.Errorf("exit code %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
		}
	})
}
