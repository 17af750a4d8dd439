package simulated

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// WorldSpeed is how much faster than real time a simulated node runs while it has something to do: a
// restore of half a minute is there in half a second.
const WorldSpeed = 80

// A World keeps a simulated node between calls. Whoever writes holds a flock on the file: a run
// exclusively, so that others wait for its end, a watching agent so that others may look at what it saved
// last. The lock moves along when the file is replaced.
type World struct {
	path string
	lock int // LOCK_EX or LOCK_SH: of the files that are saved
	Sim  *pvesim.Sim

	mu   sync.Mutex
	File *os.File // nil: the world is not saved
	last []byte
}

// OpenWorld loads a simulated node, or makes a fresh one where there is no file. Without write nothing is
// made and nothing is saved; watching lets others look meanwhile. It waits for others to be done with the
// file, up to limit.
func OpenWorld(ctx context.Context, con *console.Console, path string, write, watching bool, limit time.Duration) (*World, error) {
	w := &World{path: path, lock: syscall.LOCK_EX}
	if watching {
		w.lock = syscall.LOCK_SH
	}
	flags, lock := os.O_RDWR|os.O_CREATE, syscall.LOCK_EX
	if !write {
		flags, lock = os.O_RDONLY, syscall.LOCK_SH
	}
	begin, told := time.Now(), false
	for {
		file, err := os.OpenFile(path, flags, 0o640)
		if errors.Is(err, os.ErrNotExist) && !write {
			w.Sim = FreshWorld()
			return w, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the simulated node cannot be opened: %w", err)
		}
		err = flock(ctx, file, lock, min(time.Second, limit)-time.Since(begin))
		if errors.Is(err, syscall.EWOULDBLOCK) && limit > time.Second {
			if !told {
				con.Say("waiting for %s, which another felhom-agent uses", path)
				told = true
			}
			err = flock(ctx, file, lock, limit-time.Since(begin))
		}
		if err != nil {
			file.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("the simulated node %s is used by another felhom-agent, for longer than %s. Wait for it, or end it", path, limit)
			}
			return nil, fmt.Errorf("the simulated node %s cannot be locked: %w", path, err)
		}
		if !sameFile(file, path) { // replaced while we waited
			file.Close()
			continue
		}
		text, err := w.load()
		if err != nil {
			file.Close()
			return nil, err
		}
		w.Sim.SetSpeed(WorldSpeed)
		if !write {
			file.Close()
			return w, nil
		}
		w.File, w.last = file, text
		if len(text) == 0 || watching { // others may look at the file from now on
			err = w.save()
		}
		if err != nil {
			file.Close()
			return nil, err
		}
		return w, nil
	}
}

// load reads the node from its file, which is locked.
func (w *World) load() (text []byte, err error) {
	text, err = os.ReadFile(w.path)
	if err == nil && len(text) == 0 { // made a moment ago, by us or by one that was killed then
		w.Sim = FreshWorld()
	} else if err == nil {
		w.Sim, err = pvesim.Load(text)
	}
	if err != nil {
		return nil, &config.Error{Place: w.path, Key: "", Text: fmt.Sprintf("this is not a simulated node that this version can load: %v", err)}
	}
	return text, nil
}

func FreshWorld() *pvesim.Sim {
	sim := pvesim.New()
	sim.SetSpeed(WorldSpeed)
	return sim
}

// save replaces the file, atomically, and takes the lock along.
func (w *World) save() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.File == nil {
		return nil
	}
	text, err := w.Sim.Save()
	if err != nil || string(text) == string(w.last) {
		return err
	}
	failed := func(err error) error { return fmt.Errorf("the simulated node cannot be saved: %w", err) }
	next, err := os.CreateTemp(filepath.Dir(w.path), "."+filepath.Base(w.path)+".*")
	if err != nil {
		return failed(err)
	}
	_, err = next.Write(text)
	err = errors.Join(err, next.Chmod(0o640), next.Sync(), syscall.Flock(int(next.Fd()), w.lock))
	if err == nil {
		err = os.Rename(next.Name(), w.path)
	}
	if err != nil {
		next.Close()
		os.Remove(next.Name())
		return failed(err)
	}
	w.File.Close()
	w.File, w.last = next, text
	return nil
}

// Keep saves the world every now and then until ctx ends, for those who look and for the case that we are
// killed.
func (w *World) Keep(ctx context.Context, failed func(error)) {
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := w.save(); err != nil {
				failed(err)
			}
		}
	}
}

// Close saves the world for the last time and lets go of the file.
func (w *World) Close() error {
	err := w.save()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.File != nil {
		w.File.Close()
		w.File = nil
	}
	return err
}

func sameFile(file *os.File, path string) bool {
	have, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(have, named)
}

// flock locks a file, waiting up to limit; the error is EWOULDBLOCK when it is over.
func flock(ctx context.Context, file *os.File, how int, limit time.Duration) error {
	begin := time.Now()
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		if err == nil || err != syscall.EINTR && (err != syscall.EWOULDBLOCK || time.Since(begin) > limit) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
