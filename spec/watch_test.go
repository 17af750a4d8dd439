package spec

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Pokes at some times, and the nudges that come of them.
func TestSettle(t *testing.T) {
	ms := func(n ...int) (all []time.Duration) {
		for _, n := range n {
			all = append(all, time.Duration(n)*time.Millisecond)
		}
		return all
	}
	endless := []time.Duration{}
	for i := range 40 {
		endless = append(endless, time.Duration(i*100)*time.Millisecond)
	}
	for name, c := range map[string]struct{ pokes, nudges []time.Duration }{
		"one":                     {ms(0), ms(300)},
		"a burst":                 {ms(0, 100, 200, 450), ms(750)},
		"two edits":               {ms(0, 1000), ms(300, 1300)},
		"written without end":     {endless, ms(2000, 4000)},
		"again after the ceiling": {append(ms(0, 250, 500, 750, 1000, 1250, 1500, 1750), ms(2100)...), ms(2000, 2400)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				start := time.Now()
				pokes := make(chan struct{})
				var nudges []time.Duration
				go settle(ctx, pokes, func() { nudges = append(nudges, time.Since(start)) })
				for _, at := range c.pokes {
					time.Sleep(time.Until(start.Add(at)))
					pokes <- struct{}{}
				}
				time.Sleep(time.Minute)
				cancel()
				synctest.Wait()
				if !slices.Equal(nudges, c.nudges) {
					t.Errorf("nudged at %v, want %v", nudges, c.nudges)
				}
			})
		})
	}
}

// watching starts Watch and returns a function that waits until the content
// that a nudge finds is the wanted one.
func watching(t *testing.T, path string) (until func(what string, hash string)) {
	ctx, cancel := context.WithCancel(t.Context())
	nudges, done := make(chan struct{}, 1000), make(chan error, 1)
	go func() { done <- Watch(ctx, path, func() { nudges <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("Watch ended with %v", err)
		}
	})
	return func(what, want string) {
		t.Helper()
		for {
			select {
			case <-nudges:
			case <-time.After(time.Minute): // only a hang gets here
				t.Fatalf("%s: never nudged with the new content", what)
			}
			if got, _ := Fingerprint(path); got == want {
				return
			}
		}
	}
}

func fingerprintOf(t *testing.T, names map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range names {
		write(t, filepath.Join(dir, name), text)
	}
	sum, err := Fingerprint(dir)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestWatchFolder(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "desired")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o755))
	file := filepath.Join(dir, "a.yaml")
	write(t, file, "one")
	until := watching(t, dir)
	until("start", fingerprintOf(t, map[string]string{"a.yaml": "one"}))

	write(t, file, "two")
	until("written", fingerprintOf(t, map[string]string{"a.yaml": "two"}))

	write(t, filepath.Join(dir, ".a.yaml.tmp"), "three")
	must(os.Rename(filepath.Join(dir, ".a.yaml.tmp"), file))
	until("renamed into place", fingerprintOf(t, map[string]string{"a.yaml": "three"}))

	write(t, filepath.Join(dir, "b.yml"), "b")
	until("another file", fingerprintOf(t, map[string]string{"a.yaml": "three", "b.yml": "b"}))

	must(os.Remove(filepath.Join(dir, "b.yml")))
	until("removed", fingerprintOf(t, map[string]string{"a.yaml": "three"}))

	// The folder goes and comes back, perhaps with the same number.
	must(os.RemoveAll(dir))
	must(os.Mkdir(dir, 0o755))
	write(t, file, "four")
	until("folder replaced", fingerprintOf(t, map[string]string{"a.yaml": "four"}))
	write(t, file, "five")
	until("written in the new folder", fingerprintOf(t, map[string]string{"a.yaml": "five"}))

	// A link to a file of the folder that is not read by itself.
	target := filepath.Join(dir, ".target")
	write(t, target, "six")
	must(os.Symlink(target, filepath.Join(dir, "c.yaml")))
	until("linked", fingerprintOf(t, map[string]string{"a.yaml": "five", "c.yaml": "six"}))
	write(t, target, "seven!")
	until("written behind the link", fingerprintOf(t, map[string]string{"a.yaml": "five", "c.yaml": "seven!"}))
}

func TestWatchLinks(t *testing.T) {
	top := t.TempDir()
	for _, v := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(top, v), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(top, v, "a.yaml"), v)
	}
	link, next := filepath.Join(top, "desired"), filepath.Join(top, "next")
	swap := func(v string) {
		t.Helper()
		if err := os.Symlink(filepath.Join(top, v), next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, link); err != nil {
			t.Fatal(err)
		}
	}
	swap("1")
	until := watching(t, link)
	until("start", fingerprintOf(t, map[string]string{"a.yaml": "1"}))
	swap("2")
	until("link swapped", fingerprintOf(t, map[string]string{"a.yaml": "2"}))
	write(t, filepath.Join(top, "2", "a.yaml"), "22")
	until("written behind the link", fingerprintOf(t, map[string]string{"a.yaml": "22"}))
}

func TestWatchFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pve1.conf") // a file that is named may have any name
	write(t, path, "one")
	until := watching(t, path)
	want := func(text string) string {
		return fingerprint([]file{{"pve1.conf", []byte(text)}})
	}
	until("start", want("one"))
	write(t, path, "two")
	until("written", want("two"))
	write(t, filepath.Join(dir, "new"), "three")
	if err := os.Rename(filepath.Join(dir, "new"), path); err != nil {
		t.Fatal(err)
	}
	until("renamed into place", want("three"))
}

func TestWanted(t *testing.T) {
	for name, want := range map[string]bool{
		"a.yaml": true, "b.yml": true, "pve1.lan.yaml": true,
		".a.yaml": false, ".#a.yaml": false, "#a.yaml#": false, "a.yaml~": false, ".a.yaml.swp": false, "a.yaml.bak": false,
		"a.yaml.dpkg-new": false, "a.yaml.dpkg-old": false, "a.yaml.tmp": false, "a.yaml.123": false, "4913": false, "README": false, "..data": false,
	} {
		if wanted(name) != want {
			t.Errorf("wanted(%q) = %v", name, !want)
		}
	}
}

// What the kernel tells, and whether it is a sign of a change.
func TestEvents(t *testing.T) {
	for _, c := range []struct {
		name string
		op   fsnotify.Op
		want bool
	}{
		{"a.yaml", fsnotify.Write, true}, {"a.yaml", fsnotify.Create, true}, {"a.yaml", fsnotify.Rename, true},
		{"a.yaml", fsnotify.Remove, true}, {"a.yaml", fsnotify.Chmod, true}, {"b.yml", fsnotify.Create, true}, {"..data", fsnotify.Create, true},
		{".a.yaml.swp", fsnotify.Write, false}, {"a.yaml~", fsnotify.Create, false}, {"4913", fsnotify.Create, false},
		{"#a.yaml#", fsnotify.Create, false}, {".#a.yaml", fsnotify.Create, false}, {"a.yaml.bak", fsnotify.Write, false},
		{"a.yaml.dpkg-new", fsnotify.Write, false}, {"README", fsnotify.Write, false}, {"..data_tmp", fsnotify.Create, false},
		{"", fsnotify.Remove, true}, {"", fsnotify.Rename, true}, {"", fsnotify.Chmod, false},
	} {
		poked := false
		o := observer{path: "/d", folder: "/d", poke: func() { poked = true }}
		o.event(fsnotify.Event{Name: filepath.Join("/d", c.name), Op: c.op})
		if poked != c.want {
			t.Errorf("%s of %q: poked is %v", c.op, c.name, poked)
		}
	}
}

// What looks at the folder may poke before Watch has done so itself. Watch then
// still ends with its context. On a busy machine some of these starts meet it.
func TestWatchEnds(t *testing.T) {
	dir := t.TempDir()
	var ended sync.WaitGroup
	for range 50 {
		ended.Go(func() {
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Microsecond)
				_ = Watch(ctx, dir, func() {})
				cancel()
			}
		})
	}
	all := make(chan struct{})
	go func() { ended.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(time.Minute): // only a hang gets here
		t.Fatal("a Watch did not end with its context")
	}
}

// The folder is moved and removed just after a change in it: the watcher then tells an error while it keeps those waiting who add or remove a watch.
func TestObserveEnds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "desired")
	old := dir + ".old"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var pokes atomic.Int32
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		observe(ctx, dir, func() {
			switch pokes.Add(1) {
			case 1: // the folder is watched, and nobody takes events now
				if err := errors.Join(os.WriteFile(filepath.Join(dir, "a.yaml"), nil, 0o644), os.Rename(dir, old), os.RemoveAll(old)); err != nil {
					t.Error(err)
				}
			case 2: // a.yaml was told; what follows is being told
				time.Sleep(50 * time.Millisecond)
				cancel()
			}
		})
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute): // only a hang gets here
		t.Fatal("observe did not end with its context")
	}
}
