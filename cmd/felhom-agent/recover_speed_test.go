package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/recovery"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile"
)

// keeping is a node after one pass over the household of the examples, and what the pass has seen.
func keeping(tb testing.TB) (*session.Session, *recovery.Seen) {
	tb.Helper()
	quiet := &console.Console{Stdout: io.Discard, Stderr: io.Discard}
	cmd, err := parse([]string{"--simulate=" + filepath.Join(tb.TempDir(), "node.yaml"), "--once", "../../examples/desired"})
	if err != nil {
		tb.Fatal(err)
	}
	want, err := cmd.load()
	if err != nil {
		tb.Fatal(err)
	}
	n, err := connect(tb.Context(), cmd, quiet, true)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { n.Close() })
	if err := n.FindPatiently(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	agent := reconcile.New(optionsOf(n, "--once", func(reconcile.Event) {}))
	report, err := agent.Once(tb.Context(), want)
	if err != nil {
		tb.Fatal(err)
	}
	seen := recovery.See(agent, report.Plan, cmd.path, want)
	if seen == nil {
		tb.Fatal("the pass has seen nothing")
	}
	return n, seen
}

// A kit asks the node for its bridges and for the hashes of its templates, once an hour; a further kit asks for nothing.
func TestAKitCostsNoRequests(t *testing.T) {
	n, seen := keeping(t)
	keeper := recovery.NewKeeper(n)
	for i, most := range []int{2, 0, 0} {
		before := n.Client.Requests()
		if err := n.Store.Change(func(s *reconcile.Stored) { s.Kits = nil }); err != nil {
			t.Fatal(err)
		}
		keeper.Keep(t.Context(), seen)
		if asked := n.Client.Requests() - before; asked > most {
			t.Errorf("kit %d: %d requests, at most %d", i+1, asked, most)
		}
		if stored, err := n.Store.Load(); err != nil || len(stored.Kits) != 1 {
			t.Fatalf("kit %d: %v, %v", i+1, stored.Kits, err)
		}
	}
}

// BenchmarkKit collects and writes one kit of the household of the examples, on a simulated node.
func BenchmarkKit(b *testing.B) {
	n, seen := keeping(b)
	keeper := recovery.NewKeeper(n)
	for b.Loop() {
		if err := n.Store.Change(func(s *reconcile.Stored) { s.Kits = nil }); err != nil {
			b.Fatal(err)
		}
		keeper.Keep(b.Context(), seen)
	}
}

// The first guest is being restored within 30 seconds of the yes, by the clock of the node, although everything else is set up in between.
func TestTheFirstRestoreBeginsSoon(t *testing.T) {
	burnt, _ := burntNode(t)
	world := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(world, burnt, 0o600); err != nil {
		t.Fatal(err)
	}
	load := func() *pvesim.Sim {
		text, _ := os.ReadFile(world)
		sim, err := pvesim.Load(text)
		if err != nil {
			t.Fatal(err)
		}
		return sim
	}
	v := newVictim(world, after)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	v.die = cancel
	var yes time.Time
	course := recovery.Course{Host: &v.dying, Out: io.Discard, Confirm: func(string) (bool, error) {
		if yes.IsZero() {
			yes = load().Now()
		}
		return true, nil
	}}
	if code, err := course.Run(ctx); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	sim := load()
	_, body := sim.Do("root@pam", "GET", "/nodes/"+sim.Node()+"/tasks?typefilter=vzrestore&limit=100", nil)
	var tasks struct{ Data []struct{ StartTime int64 } }
	if err := json.Unmarshal([]byte(body), &tasks); err != nil {
		t.Fatal(err, body)
	}
	var first time.Time
	for _, task := range tasks.Data {
		if at := time.Unix(task.StartTime, 0); !at.Before(yes.Truncate(time.Second)) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if first.IsZero() || first.Sub(yes) > 30*time.Second {
		t.Errorf("yes at %v, the first restore at %v", yes, first)
	}
	t.Logf("%v after the yes", first.Sub(yes))
}
