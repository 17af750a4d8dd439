package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/version"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// savePlan writes a plan into a file, whole or not at all. Without a name it does nothing.
func savePlan(path string, plan *reconcile.SavedPlan) error {
	if path == "" {
		return nil
	}
	data, err := plan.Write()
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".plan-*")
	if err != nil {
		return fmt.Errorf("the plan cannot be saved: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("the plan cannot be saved: %w", err)
	}
	return nil
}

func savedAbout(n *session.Session) reconcile.SavedAbout {
	return reconcile.SavedAbout{Agent: version.Version, Owner: n.Source.Owner, Last: n.Journal.Last(), Only: n.Source.Only, Fitting: n.Source.Fitting}
}

// reviewed is the plan of --plan-file; nil: none is named.
func (cmd *command) reviewed() (*reconcile.SavedPlan, error) {
	if cmd.planFile == "" {
		return nil, nil
	}
	plan, err := reconcile.ReadSavedPlan(cmd.planFile)
	if err != nil {
		return nil, &config.Error{Place: "--plan-file", Text: err.Error()}
	}
	return plan, nil
}

// askFirst shows the plan and asks. What is answered counts for what was shown: the run then refuses another plan.
// It is nil where there is nothing to carry out, or the answer is no.
func askFirst(ctx context.Context, n *session.Session, want *spec.Desired, con *console.Console, text reconcile.TextOptions) (*reconcile.SavedPlan, error) {
	if _, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS); err != nil {
		return nil, usagef("--ask needs a terminal; in a script: --plan --out FILE, then --once --plan-file FILE")
	}
	if err := n.Read(); err != nil {
		return nil, err
	}
	plan, err := reconcile.Preview(ctx, n.Source, want, n.Journal)
	if err != nil {
		return nil, err
	}
	text.Asks = true
	if err := reconcile.WritePlan(con.Stdout, plan, text); err != nil {
		return nil, err
	}
	if plan.Changes() {
		fmt.Fprint(con.Stderr, "\nCarry this out? Only yes is taken as yes: ")
		answer := make(chan string, 1)
		exit.Go(func() {
			line, _ := bufio.NewReader(io.LimitReader(os.Stdin, 100)).ReadString('\n')
			answer <- strings.TrimSpace(line)
		})
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case line := <-answer:
			if line != "yes" {
				fmt.Fprintln(con.Stdout, "Nothing was changed.")
				return nil, nil
			}
		}
	}
	return reconcile.SavePlan(plan, savedAbout(n)), nil
}

// refuse tells why a saved plan is not carried out.
func (t *teller) refuse(e *reconcile.DifferentError) error {
	if t.json == nil {
		_, err := fmt.Fprintln(t.w, e)
		return err
	}
	code := exit.Blocked
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.json.Encode(jsonLine{Format: 1, Differences: e.Lines, Exit: &code})
}
