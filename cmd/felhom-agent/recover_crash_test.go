package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/recovery"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

var errDied = errors.New("the recovery was killed")

// How a recovery dies at an effect.
const (
	after = "after"                       // what it did is whole, and nobody has heard of it
	half  = "in the middle"               // a program was killed before it did anything, or half a file is written
	late  = "before the end of a program" // which goes on alone, and ends while the next recovery begins with the same
)

// A dying host lets so many effects happen and no more: in the last one whoever recovers is dead.
type dying struct {
	recovery.Host
	world string
	left  int
	how   string
	die   context.CancelFunc

	dead    bool
	line    string // of the program that runs
	pending string // the program that outlived its recovery
}

// effect carries an effect out, or dies in it.
func (d *dying) effect(do func() error, begin func()) error {
	if d.dead {
		return errDied
	}
	if d.left--; d.left != 0 {
		return do()
	}
	d.dead = true
	d.die()
	switch d.how {
	case after:
		do()
	case half:
		begin()
	case late:
		d.pending = d.line
	}
	return errDied
}

func (d *dying) Run(ctx context.Context, program string, args ...string) (out []byte, exit int, err error) {
	return d.Feed(ctx, nil, program, args...)
}

func (d *dying) Feed(ctx context.Context, input []byte, program string, args ...string) (out []byte, exit int, err error) {
	if strings.HasSuffix(program, "/pvesh") || args[0] == "is-enabled" || args[0] == "path" {
		return d.Host.Feed(ctx, input, program, args...)
	}
	d.line = program + " " + strings.Join(args, " ")
	if !d.dead && d.pending == d.line { // the one of before ends now
		d.Host.Feed(ctx, input, program, args...)
		d.pending = ""
	}
	err = d.effect(func() (err error) {
		out, exit, err = d.Host.Feed(context.WithoutCancel(ctx), input, program, args...)
		return err
	}, func() {})
	return out, exit, err
}

func (d *dying) PutTemplate(ctx context.Context, dir, file, volume, sum string) error {
	return d.effect(func() error { return d.Host.PutTemplate(context.WithoutCancel(ctx), dir, file, volume, sum) }, func() {})
}

// beside is where a file of the host is written before it gets its name.
func (d *dying) beside(path string) string {
	if rest, ok := strings.CutPrefix(path, "/var/lib/felhom-agent"); ok {
		return d.world + ".state" + rest + ".recovery"
	}
	return d.world + ".etc" + strings.TrimPrefix(path, "/etc/felhom-agent") + ".recovery"
}

func (d *dying) WriteFile(path string, text []byte, mode fs.FileMode) error {
	return d.effect(func() error { return d.Host.WriteFile(path, text, mode) }, func() {
		os.MkdirAll(filepath.Dir(d.beside(path)), 0o755)
		os.WriteFile(d.beside(path), text[:len(text)/2], mode)
	})
}

func (d *dying) WriteFolder(path string, files map[string][]byte) error {
	return d.effect(func() error { return d.Host.WriteFolder(path, files) }, func() {
		os.MkdirAll(d.beside(path), 0o755)
		os.WriteFile(filepath.Join(d.beside(path), "left.yaml"), []byte("guests: [\n"), 0o644)
		for name, text := range files {
			os.WriteFile(filepath.Join(d.beside(path), name), text[:len(text)/2], 0o644)
			break
		}
	})
}

func (d *dying) Root() privileged.Runner { return dyingRoot{d.Host.Root(), d} }

type dyingRoot struct {
	privileged.Runner
	d *dying
}

func (r dyingRoot) Do(ctx context.Context, op privileged.Op, progress func(string)) (result privileged.Result, err error) {
	err = r.d.effect(func() (err error) {
		result, err = r.Runner.Do(context.WithoutCancel(ctx), op, progress)
		return err
	}, func() {})
	return result, err
}

// A victim is a recovery on a simulated node that can be killed and run again.
type victim struct{ dying }

func newVictim(world, how string) *victim {
	con := &console.Console{Stdout: io.Discard, Stderr: io.Discard}
	host := recovery.NewSimulated(con, world, false, func(ctx context.Context, args ...string) (int, error) {
		again, err := parse(args)
		if err != nil {
			return 0, err
		}
		return again.mode.run(ctx, again, con)
	})
	return &victim{dying{Host: host, world: world, how: how}}
}

// recover runs it; at the effect that dies says (0: none) it is killed. preview ends it before the guests come back. It is how many effects there were.
func (v *victim) recover(t *testing.T, dies int, preview bool) (effects int, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	v.left, v.die, v.dead = dies, cancel, false
	course := recovery.Course{Host: &v.dying, Out: io.Discard, Preview: preview, Rehearse: preview, Confirm: func(string) (bool, error) { return true, nil }}
	_, err = course.Run(ctx)
	return -v.left, err
}

// setUp is what a recovery has set up on a node, but for the name of the token: one that was killed may have lost its secret.
func setUp(t *testing.T, world string) string {
	t.Helper()
	text, err := os.ReadFile(world)
	if err != nil {
		t.Fatal(err)
	}
	sim, err := pvesim.Load(text)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, path := range []string{"/storage", "/access/roles", "/access/acl", "/nodes/" + sim.Node() + "/storage/local/content?content=vztmpl"} {
		_, body := sim.Do("root@pam", "GET", path, nil)
		for _, old := range []string{"felhom@pve!agent-2", "felhom@pve!agent"} {
			body = strings.ReplaceAll(body, old, "TOKEN")
		}
		fmt.Fprintln(&b, path, strings.ReplaceAll(body, `{"path":"/","propagate":1,"roleid":"FelhomAgent","type":"token","ugid":"TOKEN"},{"path":"/","propagate":1,"roleid":"FelhomAgent","type":"token","ugid":"TOKEN"}`, `twice`))
	}
	filepath.WalkDir(world+".etc", func(path string, e fs.DirEntry, _ error) error {
		if e == nil || !e.Type().IsRegular() || e.Name() == "recovery.json" || strings.HasPrefix(e.Name(), "agent.yaml.2") || strings.HasPrefix(e.Name(), "token.2") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if e.Name() == "token" {
			text = []byte(fmt.Sprint(strings.TrimSpace(string(text)) == sim.TokenSecret()))
		}
		fmt.Fprintf(&b, "%s %s\n", strings.TrimPrefix(path, world), strings.ReplaceAll(string(text), "agent-2", "agent"))
		return nil
	})
	return b.String()
}

// TestRecoveryIsKilled kills a recovery after each of its effects, in the middle of each, and while a program that it has started goes on, and runs it
// again: the host is set up as if nobody had disturbed it, and the guests come back with their data.
func TestRecoveryIsKilled(t *testing.T) {
	t.Parallel()
	burnt, before := burntNode(t)
	fresh := func(t *testing.T, name string) string {
		at := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(at, burnt, 0o600); err != nil {
			t.Fatal(err)
		}
		return at
	}
	calm := fresh(t, "calm.yaml")
	effects, err := newVictim(calm, after).recover(t, 0, true)
	if err != nil || effects < 15 {
		t.Fatalf("undisturbed: %d effects, %v", effects, err)
	}
	want := setUp(t, calm)
	ways := []string{after, half, late}
	if testing.Short() {
		ways = ways[1:2]
	}
	for _, how := range ways {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			for n := 1; n <= effects; n++ {
				killedAt(t, fresh(t, fmt.Sprintf("killed%d.yaml", n)), how, n, n == effects/2, want, before) // one goes on to its end
			}
		})
	}
	t.Logf("killed at %d points in 3 ways", effects)
}

// killedAt kills a recovery of a node at an effect and runs it again. whole lets that one bring back the guests, with the data of before; else the
// host is set up as want says.
func killedAt(t *testing.T, world, how string, n int, whole bool, want, before string) {
	t.Helper()
	v := newVictim(world, how)
	if _, err := v.recover(t, n, true); err == nil {
		t.Fatalf("killed %s, effect %d: it ended well", how, n)
	}
	_, err := v.recover(t, 0, !whole)
	if err != nil && how == late { // what has failed because it was done already is done now: a token without its secret, the disk at its place to look at
		_, err = v.recover(t, 0, !whole)
	}
	if err != nil {
		t.Fatalf("after a kill %s, effect %d: %v", how, n, err)
	}
	if !whole {
		if have := setUp(t, world); have != want {
			t.Errorf("after a kill %s, effect %d the host is set up as\n%s\nundisturbed\n%s", how, n, have, want)
		}
		return
	}
	if data := dataOf(t, world); data != before {
		t.Errorf("after a kill %s, effect %d the data is\n%s\nbefore\n%s", how, n, data, before)
	}
}

// burntNode is the household of the examples on a node that was lost, and its data before.
func burntNode(t *testing.T) (burnt []byte, before string) {
	t.Helper()
	world := filepath.Join(t.TempDir(), "node.yaml")
	once, err := parse([]string{"--simulate=" + world, "--once", "../../examples/desired"})
	if err != nil {
		t.Fatal(err)
	}
	quiet := &console.Console{Stdout: io.Discard, Stderr: io.Discard}
	if code, err := runOnce(t.Context(), once, quiet); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	text, _ := os.ReadFile(world)
	sim, err := pvesim.Load(text)
	if err != nil {
		t.Fatal(err)
	}
	before = sim.Data()
	sim.Reinstall()
	sim.Strip()
	if burnt, err = sim.Save(); err != nil {
		t.Fatal(err)
	}
	return burnt, before
}

func dataOf(t *testing.T, world string) string {
	t.Helper()
	text, _ := os.ReadFile(world)
	sim, err := pvesim.Load(text)
	if err != nil {
		t.Fatal(err)
	}
	return sim.Data()
}
