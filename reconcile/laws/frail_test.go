package laws

import (
	"context"
	"errors"
	"sync"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A frailHost is the node's machine with a root helper that may die in the middle of an
// act: from then on nothing that it still wanted to do is done. The next operation has a
// helper of its own.
type frailHost struct {
	*pvesim.Host

	mu    sync.Mutex
	steps int  // until it dies; 0: it does not
	after bool // it dies after the last step, else before it
	dead  bool
}

var errHelperDied = errors.New("the helper was killed")

// dies draws when the helper of the coming acts dies.
func (h *frailHost) dies(steps int, after bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps, h.after, h.dead = steps, after, false
}

// step is one thing that the helper does.
func (h *frailHost) step(do func() error) error {
	h.mu.Lock()
	if h.dead {
		h.mu.Unlock()
		return errHelperDied
	}
	if h.steps > 0 {
		h.steps--
		h.dead = h.steps == 0
	}
	now, after := h.dead, h.after
	h.mu.Unlock()
	if now && !after {
		return errHelperDied
	}
	if err := do(); !now {
		return err
	}
	return errHelperDied
}

// reborn gives the next operation a new helper, and says whether the last one has died.
func (h *frailHost) reborn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	died := h.dead
	h.dead = false
	return died
}

func (h *frailHost) Run(ctx context.Context, program string, args []string, progress func(string)) (output []byte, exit int, err error) {
	err = h.step(func() (err error) {
		output, exit, err = h.Host.Run(ctx, program, args, progress)
		return err
	})
	return output, exit, err
}

func (h *frailHost) ReplaceFile(path string, old, new []byte) error {
	return h.step(func() error { return h.Host.ReplaceFile(path, old, new) })
}

func (h *frailHost) MakeMountPoint(path string) (immutable bool, err error) {
	err = h.step(func() (err error) { immutable, err = h.Host.MakeMountPoint(path); return err })
	return immutable, err
}

func (h *frailHost) SealRootfs(ctx context.Context, path string) (done []string, err error) {
	err = h.step(func() (err error) { done, err = h.Host.SealRootfs(ctx, path); return err })
	return done, err
}

func (h *frailHost) SyncFS(path string) error {
	return h.step(func() error { return h.Host.SyncFS(path) })
}

// fence is the root helper of a place on the node.
func (s *scenario) fence() *privileged.Local {
	s.host = &frailHost{Host: s.sim.Host(s.sim.Node())}
	return &privileged.Local{Host: s.host}
}
