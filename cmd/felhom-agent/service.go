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

	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
)

// onlyService makes sure that no other service watches with this state directory, until this one ends: the
// two would tell the state of each other.
func onlyService(n *session.Session) error {
	if n.State == "" {
		return nil
	}
	path := filepath.Join(n.State, "service")
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
		return fmt.Errorf("another service already runs with %s (process %s): see --status, or stop it first (systemctl stop felhom-agent)", n.State, strings.TrimSpace(string(pid)))
	}
	file.Truncate(0)
	fmt.Fprintln(file, os.Getpid())
	n.Closers = append(n.Closers, file.Close)
	return nil
}

// watchHolds nudges when somebody has held or released something, so that it is obeyed at once.
func watchHolds(ctx context.Context, n *session.Session, nudge func()) {
	if n.State == "" {
		return
	}
	path := filepath.Join(n.State, "state.json")
	stamp := func() (s string) {
		if info, err := os.Stat(path); err == nil {
			s = info.ModTime().String()
		}
		return s
	}
	holds := func() string {
		stored, err := n.Store.Load()
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
