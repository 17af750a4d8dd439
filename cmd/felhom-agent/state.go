package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/reconcile"
)

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

// A report is what --status -o json prints; /status and the page add what only the service itself knows.
type report struct {
	reconcile.Status
	Running bool   `json:"running"`       // the service
	Age     string `json:"age,omitempty"` // of the status, where it was read from the state directory
	*live
}

// live is what only the service itself knows.
type live struct {
	Desired string    `json:"desired"` // the path
	State   string    `json:"state"`   // one line
	Healthy bool      `json:"healthy"`
	Next    time.Time `json:"next,omitzero"` // the next look, at the latest
	// Converged is when all was as declared, by the node's clock.
	Converged time.Time                `json:"converged,omitzero"`
	Objects   []objectState            `json:"objects"`
	Acts      []reconcile.HistoryEntry `json:"acts"` // the last fifty, the newest first
	Host      hardware                 `json:"host"`
	Plan      *reconcile.Plan          `json:"plan"` // of the last look; null before it
	Text      string                   `json:"text"` // the plan as in the terminal
}

// statusPace is how often the progress of a task is worth writing.
const statusPace = 5 * time.Second

// progressKey names an act that runs; those of the fence have no UPID.
func progressKey(object, verb, upid string) string { return object + " " + verb + " " + upid }

// status is what is known now. The caller holds the lock.
func (o *observer) status() reconcile.Status {
	stored, err := o.node.store.Load()
	s := reconcile.StatusOf(stored)
	s.Node, s.PID = o.node.sight.Node, os.Getpid()
	if err == nil && o.agent != nil && o.plan != nil {
		var known reconcile.Status
		if known, err = o.agent.Status(o.plan); err == nil {
			s = known
		}
	}
	if err != nil {
		s.Errors = append(s.Errors, err.Error())
	}
	for i := range s.Now {
		if e := o.running[progressKey(s.Now[i].Object, s.Now[i].Verb, s.Now[i].UPID)]; e.State == "running" {
			s.Now[i].Log = []string{e.Text}
		}
	}
	s.Version, s.Since, s.Written = version, o.local(o.began), time.Now()
	if o.trouble != "" {
		s.Errors = append(s.Errors, o.trouble)
	}
	s.Errors = append(s.Errors, o.src.mistakes()...)
	for _, l := range o.leases {
		s.Expiry = append(s.Expiry, l.short())
	}
	s.Errors = append(s.Errors, warnings(o.leases, o.node.clock())...)
	if err := o.node.config.notify.look(); err != nil {
		s.Errors = append(s.Errors, untold(err))
	}
	return s
}

// local is a time of this machine in the node's zone, to the second.
func (o *observer) local(t time.Time) time.Time {
	if o.plan != nil && !t.IsZero() {
		t = t.In(o.plan.Header.Looked.Location())
	}
	return t.Truncate(time.Second)
}

// write keeps up to date what --status reads. What cannot be written is logged, and keeps nothing from being
// done.
func (o *observer) write() {
	if o.node.state == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.status()
	o.written = s.Written
	if err := s.Write(o.node.state); err != nil {
		o.node.log.Error("the status cannot be written", zap.Error(err))
	}
}

// expiring takes over when token and certificate end.
func (o *observer) expiring(all []lease) {
	o.mu.Lock()
	o.leases = all
	o.mu.Unlock()
	o.write()
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
