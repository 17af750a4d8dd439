package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/httpstatus"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// crowd makes a simulated node have n running containers, 1000 and on, of 512 MiB each.
func crowd(t testing.TB, sim *pvesim.Sim, n int) {
	t.Helper()
	for i := range n {
		status, body := sim.Do("root@pam", "POST", "/nodes/pve1/lxc", map[string]string{
			"vmid": strconv.Itoa(1000 + i), "hostname": fmt.Sprintf("g%d", i), "ostemplate": "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz",
			"rootfs": "local-lvm:1", "memory": "512", "unprivileged": "1", "start": "1",
		})
		if status != http.StatusOK {
			t.Fatalf("guest %d: %d %s", i, status, body)
		}
		sim.Advance(2 * time.Minute)
	}
}

// crowdText declares these guests, each with its memory in MiB.
func crowdText(memory []int) string {
	var b strings.Builder
	b.WriteString("guests:\n")
	for i, mib := range memory {
		fmt.Fprintf(&b, "  g%d: {vmid: %d, config: {memory: %dMiB}, state: running, drift: heal}\n", i, 1000+i, mib)
	}
	return b.String()
}

// writes tells when a write is on its way to the node.
type writes struct {
	http.RoundTripper
	seen chan time.Time
}

func (w writes) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		select {
		case w.seen <- time.Now():
		default:
		}
	}
	return w.RoundTripper.RoundTrip(r)
}

// watching starts the agent's loop on a simulated node in this process.
func watching(t testing.TB, sim *pvesim.Sim, transport http.RoundTripper, desired string, passed func(*reconcile.Agent, error)) *reconcile.Agent {
	t.Helper()
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Token: token, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	n := &session.Session{
		Client: client, Journal: reconcile.MemoryJournal(), Store: reconcile.OpenStore(t.TempDir()), Log: zap.NewNop(), World: &simulated.World{Sim: sim},
		Config: &config.Config{Token: token, Interval: 15 * time.Minute, Timeout: time.Minute},
		Wait:   proxmox.WaitOptions{Interval: 20 * time.Millisecond, Factor: 1.2, Cap: 100 * time.Millisecond},
	}
	n.Source = reconcile.Source{Node: sim.Node(), Owner: sim.Node(), TokenID: token.ID(), FenceReason: "a test"}
	src := &source.Source{Path: desired, Read: (&command{path: desired, simulate: true}).load, Told: func(text string) { t.Error(text) }}
	if src.Load() == nil {
		t.FailNow()
	}
	o := httpstatus.NewObserver(n, src)
	agent := reconcile.New(optionsOf(n, "test", o.Event))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	go func() { _ = spec.Watch(ctx, desired, agent.Nudge); ended <- struct{}{} }()
	go func() {
		defer func() { ended <- struct{}{} }()
		if err := agent.Watch(ctx, n.Config.Interval, src.Load, func(plan *reconcile.Plan, wait time.Duration, err error) {
			o.Pass(agent, plan, wait, err)
			passed(agent, err)
		}); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended; <-ended; client.Close() })
	return agent
}

func replace(t testing.TB, file, text string) {
	t.Helper()
	temporary := filepath.Join(filepath.Dir(file), ".new")
	if err := os.WriteFile(temporary, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, file); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkEdit: from the rename of a file to the first write request, on a node of 100 guests. 300 ms of it are
// the quiet period.
func BenchmarkEdit(b *testing.B) {
	sim := pvesim.New()
	crowd(b, sim, 100)
	memory := slices.Repeat([]int{512}, 100)
	file := filepath.Join(b.TempDir(), "crowd.yaml")
	replace(b, file, crowdText(memory))
	seen := writes{sim, make(chan time.Time, 1)}
	var idle atomic.Int64 // when the last pass ended
	watching(b, sim, seen, filepath.Dir(file), func(_ *reconcile.Agent, err error) {
		if err != nil {
			b.Error(err)
		}
		idle.Store(time.Now().UnixNano())
	})
	settle := func() {
		for quiet := 500 * time.Millisecond; ; time.Sleep(20 * time.Millisecond) {
			if last := idle.Load(); last != 0 && time.Since(time.Unix(0, last)) > quiet {
				break
			}
		}
		select {
		case <-seen.seen:
		default:
		}
	}
	settle()
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		settle()
		memory[i%100] += 16
		b.StartTimer()
		begin := time.Now()
		replace(b, file, crowdText(memory))
		took = append(took, (<-seen.seen).Sub(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "median-ms")
	b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "max-ms")
}

// BenchmarkDaemon: what the process costs on a node of 100 guests: its memory after as many edits as an hour has
// minutes, its processor time for a look, and while nothing happens.
func BenchmarkDaemon(b *testing.B) {
	h := newWatchedHome(b, "FELHOM_AGENT_INTERVAL=1h")
	h.await("it runs", h.healthy)
	crowd(b, h.sim, 100)
	memory := slices.Repeat([]int{512}, 100)
	metric := func(name string) float64 {
		_, text := h.get("/metrics")
		for line := range strings.Lines(text) {
			if value, ok := strings.CutPrefix(line, name+" "); ok {
				number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
				if err != nil {
					b.Fatal(err)
				}
				return number
			}
		}
		b.Fatalf("/metrics has no %s", name)
		return 0
	}
	converged := func() bool { _, text := h.get("/healthz"); return strings.HasPrefix(text, "ok: converged 101 of 101") }
	h.write("crowd.yaml", crowdText(memory))
	h.await("all are taken over", converged)
	for b.Loop() {
		for i := range 60 {
			memory[i] += 16
			h.write("crowd.yaml", crowdText(memory))
			want := fmt.Sprintf("%q:%d", "memory", memory[i])
			h.await("an edit", func() bool {
				_, config := h.sim.Do("root@pam", "GET", fmt.Sprintf("/nodes/pve1/lxc/%d/config", 1000+i), nil)
				return strings.Contains(config, want) || strings.Contains(config, fmt.Sprintf("%q:\"%d\"", "memory", memory[i]))
			})
		}
		h.await("converged", converged)
		b.ReportMetric(metric("process_resident_memory_bytes")/(1<<20), "MiB")
		b.ReportMetric(metric("go_goroutines"), "goroutines")
		b.ReportMetric(metric("process_open_fds"), "fds")

		const looks = 50
		before, ready := h.processor(), h.told("READY=1")
		for range looks {
			h.signal(syscall.SIGHUP)
			ready++
			h.await("a look", func() bool { return h.told("READY=1") >= ready })
		}
		look := (h.processor() - before).Seconds() / looks
		b.ReportMetric(look*1000, "cpu-ms/look")
		before = h.processor()
		const idle = 30 * time.Second
		time.Sleep(idle)
		still := (h.processor() - before).Seconds() / idle.Seconds()
		// At an interval of one minute.
		b.ReportMetric((still+look/60)*100, "%cpu-idle")
	}
}

// processor is the processor time that the agent has used.
func (h *watchedHome) processor() (sum time.Duration) {
	h.t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", h.process.Process.Pid))
	if err != nil || len(threads) == 0 {
		h.t.Fatalf("the kernel does not tell the agent's processor time: %v", err)
	}
	for _, thread := range threads {
		var ns int64
		text, err := os.ReadFile(thread)
		if err == nil { // else it ended meanwhile
			_, err = fmt.Sscan(string(text), &ns)
		}
		if err == nil {
			sum += time.Duration(ns)
		}
	}
	return sum
}

// TestNoGrowth: ten thousand passes leave no goroutine, no open file and no memory behind.
func TestNoGrowth(t *testing.T) {
	if testing.Short() {
		t.Skip("a long run")
	}
	sim := pvesim.New()
	file := filepath.Join(t.TempDir(), "home.yaml")
	replace(t, file, fmt.Sprintf(oneGuest, 512))
	type use struct {
		goroutines, files int
		heap              uint64
	}
	measure := func() use {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return use{runtime.NumGoroutine(), len(files), m.HeapAlloc}
	}
	const first, last = 2000, 12000
	passes := 0
	var early, late use
	done := make(chan struct{})
	watching(t, sim, sim, filepath.Dir(file), func(agent *reconcile.Agent, err error) {
		if err != nil {
			t.Error(err)
		}
		switch passes++; passes {
		case first:
			early = measure()
		case last:
			late = measure()
			close(done)
		}
		agent.Nudge()
	})
	<-done
	t.Logf("after %d passes: %+v; after %d: %+v", first, early, last, late)
	if late.goroutines > early.goroutines+3 || late.files > early.files+3 {
		t.Error("goroutines or open files grow")
	}
	if late.heap > early.heap+2<<20 {
		t.Error("memory grows")
	}
}
