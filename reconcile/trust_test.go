package reconcile

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// A service deletes and disturbs nothing before somebody has looked at what it would do,
// by one run on this node with this state directory; and not again after PVE became
// another major version, or the journal was lost, or the directory came to another node.
func TestAServiceWaitsUntilSomebodyHasLooked(t *testing.T) {
	house := func(cores string) *spec.Desired {
		return desired(t, "guests: {dns: {vmid: 101, state: running, restart: auto, drift: heal, config: {tty: "+cores+"}}}\n"+
			"snapshots: {often: {guest: dns, every: 1h, keep: 1}}\n")
	}
	for _, c := range []struct {
		name, says string
		change     func(t *testing.T, dir string, sim *pvesim.Sim) *pvesim.Sim
		waits      bool
	}{
		{"nothing has changed", "", func(_ *testing.T, _ string, sim *pvesim.Sim) *pvesim.Sim { return sim }, false},
		{"a minor version", "", func(t *testing.T, _ string, sim *pvesim.Sim) *pvesim.Sim {
			return reconciletest.Reborn(t, sim, "version: 9.2.11", "version: 9.3.1")
		}, false},
		{"a major version", "PVE has changed from version 9 to 10 since the last approval", func(t *testing.T, _ string, sim *pvesim.Sim) *pvesim.Sim {
			return reconciletest.Reborn(t, sim, "version: 9.2.11", "version: 10.0.2")
		}, true},
		{"the journal is lost", "waiting for approval", func(t *testing.T, dir string, sim *pvesim.Sim) *pvesim.Sim {
			must(t, os.Remove(filepath.Join(dir, "journal.jsonl")))
			return sim
		}, true},
		{"another node", "waiting for approval", func(t *testing.T, dir string, sim *pvesim.Sim) *pvesim.Sim {
			path := filepath.Join(dir, "state.json")
			data, err := os.ReadFile(path)
			must(t, err)
			other := bytes.ReplaceAll(data, []byte(`"pve1"`), []byte(`"pve7"`))
			other = regexp.MustCompile(`(?m)^  "sum": .*\n`).ReplaceAll(other, nil) // as a person does who edits it
			if bytes.Equal(data, other) {
				t.Error("the state does not say of which node it is")
			}
			must(t, os.WriteFile(path, other, 0o640))
			return sim
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, then := house("2"), house("3")
			synctest.Test(t, func(t *testing.T) {
				dir, sim := t.TempDir(), pvesim.New()
				start := func() *bench {
					journal, err := OpenJournal(dir)
					must(t, err)
					t.Cleanup(func() { journal.Close() })
					return newBench(t, sim, func(o *Options) { o.Journal, o.Store = journal, OpenStore(dir) })
				}
				watch := func(b *bench) (text string) {
					stop := b.watch(5*time.Minute, always(then), func(p *Plan, _ time.Duration, err error) {
						if err == nil {
							var b strings.Builder
							WritePlan(&b, p, TextOptions{})
							text = b.String()
						}
					})
					time.Sleep(10 * time.Minute)
					stop()
					return text
				}
				if r := start().once(first); r.ExitCode() != 0 {
					t.Fatal(r.ExitCode())
				}
				sim.Advance(time.Hour)
				sim = c.change(t, dir, sim)
				kept := func() bool { return strings.Contains(sim.String(), "[often_20261122_170000]") }
				text := watch(start())
				if waits := kept() && strings.Contains(sim.String(), "[pve:pending]"); waits != c.waits || c.waits && !strings.Contains(text, c.says) {
					t.Errorf("it waits: %t\n%s\n%s", waits, text, sim)
				}
				if again := watch(start()); kept() != c.waits {
					t.Errorf("started again, it waits no more: %t\n%s", kept(), again)
				}
				if b := start(); c.waits {
					if r := b.once(then); r.ExitCode() != 0 || kept() {
						t.Errorf("exit code %d\n%s", r.ExitCode(), b.events)
					}
					sim.Advance(time.Hour)
					if text := watch(start()); strings.Contains(sim.String(), "[often_20261122_180000]") {
						t.Errorf("after a run it still waits:\n%s", text)
					}
				}
			})
		})
	}
}
