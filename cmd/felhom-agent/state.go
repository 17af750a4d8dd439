package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/reconcile"
)

// A stateTeller keeps what `--status` reads up to date: the state directory's status, written after every
// change.
type stateTeller struct {
	node  *node
	src   *source
	since time.Time
	agent *reconcile.Agent

	mu       sync.Mutex
	plan     *reconcile.Plan // of the last pass that looked
	errors   []string
	progress map[string]string // the last line of what runs, by object, verb and UPID
	leases   []lease
	written  time.Time
}

func newStateTeller(n *node, src *source) *stateTeller {
	t := &stateTeller{node: n, src: src, since: time.Now().Truncate(time.Second), progress: map[string]string{}}
	t.write()
	return t
}

// onlyService makes sure that no other service watches with this state directory, until this one ends: the
// two would tell the state of each other.
func (n *node) onlyService() error {
	if n.state == "" {
		return nil
	}
	path := filepath.Join(n.state, "service")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("the state directory: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid, _ := io.ReadAll(io.NewSectionReader(file, 0, 20))
		file.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("%s cannot be locked: %w", path, err)
		}
		return fmt.Errorf("a service watches already with %s (process %s). One is enough: look at it with --status, or end it first (systemctl stop felhom-agent)", n.state, strings.TrimSpace(string(pid)))
	}
	file.Truncate(0)
	fmt.Fprintln(file, os.Getpid())
	n.close = append(n.close, file.Close)
	return nil
}

// passed takes over what a pass has seen, or why it could not look.
func (t *stateTeller) passed(agent *reconcile.Agent, plan *reconcile.Plan, err error) {
	t.mu.Lock()
	t.agent, t.errors = agent, nil
	if err != nil {
		t.errors = []string{err.Error()}
	} else {
		t.plan = plan
	}
	t.mu.Unlock()
	t.write()
}

// expiring takes over when token and certificate end.
func (t *stateTeller) expiring(all []lease) {
	t.mu.Lock()
	t.leases = all
	t.mu.Unlock()
	t.write()
}

// statusPace is how often the progress of a task is worth writing.
const statusPace = 5 * time.Second

func (t *stateTeller) event(e reconcile.Event) {
	key := progressKey(e.Object.String(), e.Verb, e.UPID)
	t.mu.Lock()
	soon := false
	switch e.State {
	case "running":
		t.progress[key] = e.Text
		soon = time.Since(t.written) < statusPace
	case "started":
	default:
		delete(t.progress, key)
	}
	t.mu.Unlock()
	if !soon {
		t.write()
	}
}

// progressKey names an act that runs; those of the fence have no UPID.
func progressKey(object, verb, upid string) string { return object + " " + verb + " " + upid }

// write writes the status. What cannot be written is logged, and keeps nothing from being done.
func (t *stateTeller) write() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.node.state == "" {
		return
	}
	s := reconcile.Status{Format: 1, Node: t.node.sight.Node, PID: os.Getpid()}
	if t.agent != nil && t.plan != nil {
		var err error
		if s, err = t.agent.Status(t.plan); err != nil {
			s.Errors = append(s.Errors, err.Error())
		}
	}
	for i := range s.Now {
		if line := t.progress[progressKey(s.Now[i].Object, s.Now[i].Verb, s.Now[i].UPID)]; line != "" {
			s.Now[i].Log = []string{line}
		}
	}
	s.Version, s.Since, s.Written = version, t.since, time.Now()
	s.Errors = slices.Concat(s.Errors, t.errors, t.src.mistakes())
	for _, l := range t.leases {
		s.Expiry = append(s.Expiry, l.short())
	}
	s.Errors = append(s.Errors, warnings(t.leases, t.node.clock())...)
	if err := t.node.config.notify.look(); err != nil {
		s.Errors = append(s.Errors, untold(err))
	}
	t.written = s.Written
	if err := s.Write(t.node.state); err != nil {
		t.node.log.Error("the status cannot be written", zap.Error(err))
	}
}

// watchHolds nudges when somebody has held or released something, so that it is obeyed at once.
func watchHolds(ctx context.Context, n *node, nudge func()) {
	if n.state == "" {
		return
	}
	path := filepath.Join(n.state, "state.json")
	stamp := func() (s string) {
		if info, err := os.Stat(path); err == nil {
			s = info.ModTime().String()
		}
		return s
	}
	holds := func() string {
		stored, err := n.store.Load()
		if err != nil {
			return err.Error()
		}
		text, _ := json.Marshal(stored.Holds)
		return string(text)
	}
	seen, known := stamp(), holds()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if now := stamp(); now != seen {
				seen = now
				if h := holds(); h != known {
					known = h
					nudge()
				}
			}
		}
	}
}
