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

// A dying host lets so many effects happen and no more: after the last one whoever recovers is dead.
type dying struct {
	recovery.Host
	left int
	die  context.CancelFunc
}

// effect counts what has just happened.
func (d *dying) effect(err error) error {
	if d.left--; d.left == 0 {
		d.die()
		return errDied
	}
	return err
}

func (d *dying) Run(ctx context.Context, program string, args ...string) ([]byte, int, error) {
	out, exit, err := d.Host.Run(ctx, program, args...)
	if strings.HasSuffix(program, "/pvesh") || args[0] == "is-enabled" {
		return out, exit, err
	}
	return out, exit, d.effect(err)
}

func (d *dying) Feed(ctx context.Context, input []byte, program string, args ...string) ([]byte, int, error) {
	out, exit, err := d.Host.Feed(ctx, input, program, args...)
	return out, exit, d.effect(err)
}

func (d *dying) PutTemplate(ctx context.Context, dir, file, volume, sum string) error {
	return d.effect(d.Host.PutTemplate(ctx, dir, file, volume, sum))
}

func (d *dying) WriteFile(path string, text []byte, mode fs.FileMode) error {
	return d.effect(d.Host.WriteFile(path, text, mode))
}

func (d *dying) WriteFolder(dir string, files map[string][]byte) error {
	return d.effect(d.Host.WriteFolder(dir, files))
}

func (d *dying) Root() privileged.Runner { return dyingRoot{d.Host.Root(), d} }

type dyingRoot struct {
	privileged.Runner
	d *dying
}

func (r dyingRoot) Do(ctx context.Context, op privileged.Op, progress func(string)) (privileged.Result, error) {
	result, err := r.Runner.Do(ctx, op, progress)
	return result, r.d.effect(err)
}

// recoverOn runs a recovery on a simulated node; after the effect that dies says (0: none) it is killed. preview ends it before the guests come back.
func recoverOn(t *testing.T, world string, dies int, preview bool) (left int, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	con := &console.Console{Stdout: io.Discard, Stderr: io.Discard}
	host := recovery.NewSimulated(con, world, false, func(ctx context.Context, args ...string) (int, error) {
		again, err := parse(args)
		if err != nil {
			return 0, err
		}
		return again.mode.run(ctx, again, con)
	})
	d := &dying{host, dies, cancel}
	course := recovery.Course{Host: d, Out: io.Discard, Preview: preview, Rehearse: preview, Confirm: func(string) (bool, error) { return true, nil }}
	_, err = course.Run(ctx)
	return -d.left, err
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

// TestRecoveryIsKilled kills a recovery after each of its effects and runs it again: the host is set up as if nobody had disturbed it, and the guests
// come back with their data.
func TestRecoveryIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	world := filepath.Join(dir, "node.yaml")
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
	before := sim.Data()
	sim.Reinstall()
	sim.Strip()
	burnt, err := sim.Save()
	if err != nil {
		t.Fatal(err)
	}
	fresh := func(name string) string {
		at := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(at, burnt, 0o600); err != nil {
			t.Fatal(err)
		}
		return at
	}
	calm := fresh("calm.yaml")
	effects, err := recoverOn(t, calm, 0, true)
	if err != nil || effects < 15 {
		t.Fatalf("undisturbed: %d effects, %v", effects, err)
	}
	want := setUp(t, calm)
	for n := 1; n <= effects; n++ {
		at := fresh(fmt.Sprintf("killed%d.yaml", n))
		if _, err := recoverOn(t, at, n, true); err == nil {
			t.Fatalf("killed after effect %d: it ended well", n)
		}
		whole := n == effects/2 // one goes on to its end
		if _, err := recoverOn(t, at, 0, !whole); err != nil {
			t.Fatalf("after a kill at effect %d: %v", n, err)
		}
		if !whole {
			if have := setUp(t, at); have != want {
				t.Errorf("after a kill at effect %d the host is set up as\n%s\nundisturbed\n%s", n, have, want)
			}
			continue
		}
		text, _ := os.ReadFile(at)
		sim, err := pvesim.Load(text)
		if err != nil {
			t.Fatal(err)
		}
		if sim.Data() != before {
			t.Errorf("after a kill at effect %d the data is\n%s\nbefore\n%s", n, sim.Data(), before)
		}
	}
	t.Logf("killed at %d points", effects)
}
