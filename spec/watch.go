package spec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	quiet   = 300 * time.Millisecond // an editor or a copy has ended
	ceiling = 2 * time.Second        // somebody writes without end
	glance  = 2 * time.Second        // between looks at what inotify does not tell
)

// Watch calls nudge when the content under path may have changed, one call at
// a time, until ctx ends, whose error it returns. A nudge comes when nothing has
// happened for 300 ms, at the latest 2 s after the first change; the first one
// comes soon after the start, for what changed before Watch looked. A nudge
// promises nothing: load again and compare [Desired.Hash].
//
// The folder is watched, not the files, so renaming into place and swapping a
// symbolic link (also of the folder itself) are seen. Hidden files, and what
// editors and package managers leave behind (~, .swp, .bak, .tmp, .dpkg-new,
// #…#), are passed over. A look at names, sizes and times every 2 s covers what
// the kernel does not tell: a folder that was replaced or is away, a file linked
// from elsewhere, a network file system, no inotify watches left.
func Watch(ctx context.Context, path string, nudge func()) error {
	pokes := make(chan struct{}, 1)
	poke := func() {
		select {
		case pokes <- struct{}{}:
		default: // one is waiting already
		}
	}
	poke()
	go observe(ctx, path, poke)
	settle(ctx, pokes, nudge)
	return ctx.Err()
}

// settle turns bursts of pokes into nudges.
func settle(ctx context.Context, pokes <-chan struct{}, nudge func()) {
	var still, enough <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-pokes:
			still = time.After(quiet)
			if enough == nil {
				enough = time.After(ceiling)
			}
			continue
		case <-still:
		case <-enough:
		}
		still, enough = nil, nil
		nudge()
	}
}

// observe pokes at every sign of a change, from two goroutines.
func observe(ctx context.Context, path string, poke func()) {
	o := observer{path: path, folder: path, poke: poke, state: state(path)}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		o.folder = filepath.Dir(path)
	}
	var events <-chan fsnotify.Event
	if w, err := fsnotify.NewWatcher(); err == nil { // else the looks alone
		defer w.Close()
		o.watcher, events = w, w.Events
		go func() { // not below: until it is told, an error may keep follow waiting
			for range w.Errors {
				poke() // events were lost
			}
		}()
	}
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	for {
		o.follow()
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			o.event(e)
		case <-ticker.C:
			if s := state(path); s != o.state {
				o.state = s
				poke()
			}
		}
	}
}

type observer struct {
	path, folder string
	poke         func()
	state        string
	watcher      *fsnotify.Watcher
	watched      os.FileInfo // the folder that the kernel watches; nil: none
}

// follow watches the folder that has the path now.
func (o *observer) follow() {
	if o.watcher == nil {
		return
	}
	now, err := os.Stat(o.folder)
	if o.watched != nil && (err != nil || !os.SameFile(o.watched, now)) {
		_ = o.watcher.Remove(o.folder) // gone by itself when the folder is gone
		o.watched = nil
		o.poke()
	}
	if o.watched == nil && err == nil && o.watcher.Add(o.folder) == nil {
		o.watched = now
		o.poke()
	}
}

func (o *observer) event(e fsnotify.Event) {
	name := filepath.Base(e.Name)
	switch {
	case e.Name == o.folder || name == ".":
		if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
			o.watched = nil // the number of a removed folder may be used again
			o.poke()
		}
	case e.Op == fsnotify.Chmod && !wanted(name):
	case wanted(name), e.Name == o.path, name == "..data":
		// Kubernetes and others swap ..data, to which all files link.
		o.poke()
	}
}

// state is what a look at the folder shows without reading the files.
func state(path string) string {
	var b strings.Builder
	note := func(p string) {
		info, err := os.Stat(p)
		if err != nil {
			fmt.Fprintf(&b, "%q away\n", p)
			return
		}
		fmt.Fprintf(&b, "%q %v", p, info.IsDir())
		if !info.IsDir() {
			fmt.Fprintf(&b, " %d %d %v", info.Size(), info.ModTime().UnixNano(), info.Mode())
		}
		b.WriteByte('\n')
	}
	note(path)
	names, passedOver, _ := listFolder(path) // of a file: none
	for _, name := range names {
		note(filepath.Join(path, name))
	}
	fmt.Fprintf(&b, "%q\n", passedOver)
	return b.String()
}
