package reconcile

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// A bench is a simulated node with an agent beside it.
type bench struct {
	t       testing.TB
	sim     *pvesim.Sim
	client  *proxmox.Client
	journal *Journal
	events  *spoken
	agent   *Agent
}

// spoken is what a run has printed so far; it may be read while the run goes on.
type spoken struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}
func (s *spoken) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.text.String() }
func (s *spoken) Reset()         { s.mu.Lock(); defer s.mu.Unlock(); s.text.Reset() }

func newBench(t testing.TB, sim *pvesim.Sim, options ...func(*Options)) *bench {
	t.Helper()
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Transport: sim, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, sim: sim, client: client, journal: MemoryJournal(), events: &spoken{}}
	o := Options{
		Source:  Source{Node: sim.Node(), Owner: sim.Node(), TokenID: sim.TokenID()},
		Client:  client,
		Runner:  &privileged.Local{Host: sim.Host(sim.Node())},
		Journal: b.journal,
	}
	progress := NewProgress(b.events, TextOptions{})
	o.Events = progress.Event
	for _, option := range options {
		option(&o)
	}
	b.agent = New(o)
	return b
}

// TestMain collects garbage less often: memory is there.
func TestMain(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(800)
	}
	os.Exit(m.Run())
}

// plan makes a plan and returns it with its text.
func (b *bench) plan(want *spec.Desired) (*Plan, string) {
	b.t.Helper()
	source := b.agent.O.Source
	source.View = b.client.Read()
	var err error
	if source.Stored, err = b.agent.O.Store.Load(); err != nil {
		b.t.Fatal(err)
	}
	plan, err := Preview(context.Background(), source, want, b.journal)
	if err != nil {
		b.t.Fatal(err)
	}
	var text strings.Builder
	WritePlan(&text, plan, TextOptions{Desired: "desired"})
	return plan, text.String()
}

// once converges and returns the report.
func (b *bench) once(want *spec.Desired) *Report {
	b.t.Helper()
	report, err := b.agent.Once(context.Background(), want)
	if err != nil {
		b.t.Fatalf("%v\n%s", err, b.events)
	}
	return report
}

// watch lets the agent watch until stop is called; passed may be nil.
func (b *bench) watch(interval time.Duration, load func() *spec.Desired, passed func(*Plan, time.Duration, error)) (stop func()) {
	if passed == nil {
		passed = func(*Plan, time.Duration, error) {}
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.agent.Watch(ctx, interval, load, passed)
	}()
	return func() { cancel(); <-done }
}

// always is a desired state that nobody edits.
func always(want *spec.Desired) func() *spec.Desired { return func() *spec.Desired { return want } }

func (b *bench) closing(r *Report) string {
	var text strings.Builder
	WriteReport(&text, r, TextOptions{})
	return text.String()
}

// desired loads a desired state from its text.
func desired(t testing.TB, text string) *spec.Desired {
	t.Helper()
	file := filepath.Join(t.TempDir(), "desired.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	want, err := spec.Load(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return want
}

func TestExamplesConverge(t *testing.T) {
	want := reconciletest.Examples(t)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		_, first := b.plan(want)
		t.Log("\n" + first)
		begin := time.Now()
		report := b.once(want)
		t.Logf("\n%s\n%s\n%d acts in %d passes, %s", b.events, b.closing(report), report.Sent, report.Passes, time.Since(begin))
		if code := report.ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		plan, text := b.plan(want)
		if plan.ExitCode() != 0 {
			t.Errorf("the next plan is not empty:\n%s", text)
		}
		t.Log("\n" + b.sim.String())
	})
}

// The story that makes people switch: the host burns down, Proxmox VE is set up
// again, the disk is plugged in, and every guest is back with its data.
func TestEverythingComesBackAfterAFire(t *testing.T) {
	want := reconciletest.Examples(t)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		if report := b.once(want); report.ExitCode() != 0 {
			t.Fatalf("it does not converge at first:\n%s\n%s", b.events, b.closing(report))
		}
		before := b.sim.Data()
		b.sim.Reinstall()
		after := newBench(t, b.sim) // another machine: no journal
		_, plan := after.plan(want)
		t.Log("\n" + plan)
		report := after.once(want)
		t.Logf("\n%s\n%s", after.events, after.closing(report))
		if code := report.ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if data := b.sim.Data(); data != before {
			t.Errorf("the data is not the same:\nbefore:\n%s\nafter:\n%s", before, data)
		}
		if !strings.Contains(after.events.String(), "restores/nextcloud   restore      ok") {
			t.Error("nextcloud was not restored")
		}
	})
}

func TestWhatLeavesTheYAMLIsNamedOnce(t *testing.T) {
	const dns = "  dns: {vmid: 101, state: running}\n"
	both := "node: pve1\nguests:\n" + dns + "snapshots:\n  hourly: {guest: dns, every: 1h, keep: 2}\n"
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.once(desired(t, both))
		world := b.sim.String()
		b.events.Reset()
		other := "node: pve1\nmounts:\n  media: {uuid: 51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77, path: /mnt/usb/media, ensure: absent}\n"
		b.once(desired(t, other))
		b.once(desired(t, other))
		for _, want := range []string{
			"guests/dns           leave        note     no longer declared: guest 101 stays. To destroy it: pct destroy 101",
			"snapshots/hourly     leave        note     no longer declared: its snapshots stay; none is taken or pruned any more",
		} {
			if n := strings.Count(b.events.String(), want); n != 1 {
				t.Errorf("%q is said %d times:\n%s", want, n, b.events)
			}
		}
		if now := b.sim.String(); now != world {
			t.Errorf("the world has changed:\n%s", now)
		}
	})
}
