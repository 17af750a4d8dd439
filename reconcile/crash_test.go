package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

var crashAll = flag.Bool("crash.all", false, "end the agent at every point, not only at every twelfth")

// TestCrashEverywhere ends the agent before and after every write, before every line of
// the journal and in the first read between them, while it converges the examples; starts
// it again, and compares the world with the one in which nobody was disturbed. It is the
// crash matrix of cmd/felhom-agent, in one process and under virtual time.
func TestCrashEverywhere(t *testing.T) {
	t.Parallel()
	want := reconciletest.Examples(t)
	calm := crashAt(t, want, "")
	if calm.err != nil {
		t.Fatal(calm.err)
	}
	step := 12
	if *crashAll {
		step = 1
	}
	killed, equal := 0, 0
	for i := 0; i < len(calm.points); i += step {
		at := calm.points[i]
		l := crashAt(t, want, at)
		switch {
		case l.err != nil:
			t.Errorf("killed at %s: %v", at, l.err)
		case !l.killed: // another order of reads
			continue
		case l.world != calm.world:
			t.Errorf("killed at %s, the world is another one (- undisturbed, + resumed):\n%s", at, cmp.Diff(calm.world, l.world))
		default:
			equal++
		}
		killed++
	}
	if killed < len(calm.points)/step*9/10 || len(calm.points) < 100 {
		t.Errorf("only %d of %d points were reached", killed, len(calm.points))
	}
	t.Logf("%d kill points, %d equal", killed, equal)
}

// A crashLife is the life of a world in which the agent is ended at a point and started
// anew.
type crashLife struct {
	sim    *pvesim.Sim
	at     string
	points []string // that were passed
	killed bool
	world  string
	err    error

	mu     sync.Mutex
	dead   bool
	cancel context.CancelFunc
	n      map[string]int
	read   bool // since the last point that was no read
	also   func(*Options)
}

// pass notes a point and reports whether the agent is dead from there on.
func (l *crashLife) pass(kind string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return true
	}
	if kind == "read" && l.read {
		return false
	}
	l.read = kind == "read"
	l.n[kind]++
	point := fmt.Sprintf("%s #%d", kind, l.n[kind])
	l.points = append(l.points, point)
	if point == l.at && !l.killed {
		l.killed, l.dead = true, true
		l.cancel()
	}
	return l.dead
}

// RoundTrip is the way of every request.
func (l *crashLife) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet {
		if l.pass("read") {
			return nil, reconciletest.ErrKilled
		}
		return l.sim.RoundTrip(req)
	}
	if l.pass("before " + req.Method + " " + req.URL.Path) {
		return nil, reconciletest.ErrKilled
	}
	res, err := l.sim.RoundTrip(req)
	if l.pass("after " + req.Method + " " + req.URL.Path) {
		return nil, reconciletest.ErrKilled
	}
	return res, err
}

// A crashFence is the way to the host. What the root helper has begun, it ends.
type crashFence struct {
	*crashLife
	*privileged.Local
}

func (f crashFence) Do(ctx context.Context, op privileged.Op, progress func(string)) (privileged.Result, error) {
	if f.pass("op " + op.Name) {
		return privileged.Result{}, reconciletest.ErrKilled
	}
	return f.Local.Do(ctx, op, progress)
}

func crashAt(t *testing.T, want *spec.Desired, at string) *crashLife {
	l := &crashLife{}
	synctest.Test(t, func(t *testing.T) {
		l.sim = pvesim.New()
		fence := &privileged.Local{Host: l.sim.Host(l.sim.Node())}
		defer fence.Wait()
		l.lives(t, want, fence, at, nil, endsWith(0))
	})
	return l
}

// lives runs the agent until a life of it ends well, and keeps the world that it leaves. The first ends at the point, if
// it comes to it; without a point there is but one. A second may end short of the goal: it does not delete what its own
// plan, printed while nobody knew whether the deletion had been sent, does not show.
func (l *crashLife) lives(t *testing.T, want *spec.Desired, fence *privileged.Local, at string, lines []byte, wrong func(*Report) error) {
	l.at, l.points, l.n, l.read = at, nil, map[string]int{}, false
	for range 4 {
		report, journal := l.once(t, want, fence, lines)
		lines = bytes.Clone(journal.Mem.Bytes())
		if l.err == nil {
			l.world, l.err = crashWorld(l.sim), wrong(report)
		}
		if l.err == nil || at == "" {
			return
		}
		l.dead = false
	}
}

func endsWith(code int) func(*Report) error {
	return func(r *Report) error {
		if r.ExitCode() != code {
			return fmt.Errorf("it ends with %d", r.ExitCode())
		}
		return nil
	}
}

// once is one life of the agent. Nothing of it, an answer that is still awaited, say, outlives it.
func (l *crashLife) once(t *testing.T, want *spec.Desired, fence *privileged.Local, lines []byte) (*Report, *Journal) {
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(t.Context())
	defer l.cancel() // of a test that fails
	token, err := proxmox.NewToken(l.sim.TokenID(), l.sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Transport: l, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	journal := MemoryJournal()
	journal.Mem.Write(lines)
	journal.Parse(lines)
	journal.Barrier = func(e Entry) error {
		if l.pass("line " + e.Step) {
			return reconciletest.ErrKilled
		}
		return nil
	}
	o := Options{
		Source:  Source{Node: l.sim.Node(), Owner: l.sim.Node(), TokenID: l.sim.TokenID()},
		Client:  client,
		Runner:  crashFence{l, fence},
		Journal: journal,
	}
	if l.also != nil {
		l.also(&o)
	}
	var report *Report
	report, l.err = New(o).Once(ctx, want)
	l.cancel()
	synctest.Wait()
	return report, journal
}

// What differs between two runs by nature, because they do not take equally long.
var crashTimes = []struct {
	what *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d`), "TIME"},
	{regexp.MustCompile(`born=\S+`), "born=TIME"},
	{regexp.MustCompile(`begun=\S+`), "begun=TIME"},
	{regexp.MustCompile(`stopped=\S+`), "stopped=TIME"},
	{regexp.MustCompile(`hwaddr=BE(:[0-9A-F]{2}){5}`), "hwaddr=MAC"},
	{regexp.MustCompile(`snaptime: \d+`), "snaptime: TIME"},
	{regexp.MustCompile(`size=\d+"`), `size=SIZE"`}, // of an archive, with the marker in it
}

// crashWorld prints the world without moments, and what the node's tasks were, so that
// an operation that was done twice shows.
func crashWorld(sim *pvesim.Sim) string {
	world := sim.String()
	for _, t := range crashTimes {
		world = t.what.ReplaceAllString(world, t.to)
	}
	lines := strings.Split(world, "\n")
	from := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "node ") })
	slices.Sort(lines[from:]) // two mounts are made at the same time
	_, body := sim.Do("root@pam", "GET", "/nodes/"+sim.Node()+"/tasks?source=all&limit=1000", nil)
	var answer struct {
		Data []struct{ Type, ID, User, Status string }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return err.Error()
	}
	var tasks []string
	for _, t := range answer.Data {
		tasks = append(tasks, fmt.Sprintf("task %s %s of %s: %s", t.Type, t.ID, t.User, t.Status))
	}
	slices.Sort(tasks)
	return strings.Join(append(lines, tasks...), "\n")
}
