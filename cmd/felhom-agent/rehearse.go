package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/rehearse"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/spec"
)

// runRehearse converges a simulated copy of the node and shows the run. The node itself is only read.
func runRehearse(ctx context.Context, cmd *command, con *console.Console) (int, error) {
	want, _, err := desired(cmd, con)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "felhom-agent-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	again := *cmd
	again.simulate, again.world, again.state, again.rehearsed = true, filepath.Join(dir, "node.yaml"), filepath.Join(dir, "state"), cmd
	if busy, err := copyNode(ctx, cmd, con, want, &again); err != nil {
		return 0, err
	} else if busy != "" {
		quote.Fprintf(con.Stderr, "felhom-agent: %s, and a copy of the node could not carry it on; nothing was rehearsed\n    fix: felhom-agent --rehearse, when it has ended\n", busy)
		return exit.Blocked, nil
	}
	before, err := clockOfCopy(again.world)
	if err != nil {
		return 0, err
	}
	fmt.Fprintln(con.Stdout, "\nThe run on the copy:")
	code, err := runOnce(ctx, &again, con)
	if err != nil {
		return 0, err
	}
	after, err := clockOfCopy(again.world)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(con.Stdout, "\nThe run took %s by the clock of the copy. The plan afterwards:\n", after.Sub(before).Round(time.Second))
	left, err := runPlan(ctx, &again, con)
	if err != nil || code != exit.OK {
		return code, err
	}
	return left, nil
}

// copyNode writes a copy of the node and of the agent's state to where again looks for them, and prints what the copy
// cannot know. While something runs that a copy could not carry on, nothing is copied, and busy says what runs.
func copyNode(ctx context.Context, cmd *command, con *console.Console, want *spec.Desired, again *command) (busy string, err error) {
	n, err := connectToLook(ctx, cmd, con)
	if err != nil {
		return "", err
	}
	defer n.Close()
	if busy, err = unfinished(ctx, n, want); busy != "" || err != nil {
		return busy, n.Explain(err)
	}
	live := rehearse.Node{View: n.Source.View, Ask: n.Source.Fence, Name: n.Source.Node, TokenID: n.Source.TokenID, Want: want}
	if policy, err := os.ReadFile("/etc/felhom-agent/fence.json"); err == nil && !cmd.simulate {
		live.Policy = string(policy)
	}
	copied, err := rehearse.Read(ctx, live)
	if err != nil {
		return "", n.Explain(err)
	}
	sim, err := pvesim.Load(copied.World)
	if err != nil {
		return "", fmt.Errorf("the copy of %s cannot be simulated: %w", n.Source.Node, err)
	}
	for _, vmid := range copied.Running {
		if err := startCopied(sim, vmid); err != nil {
			copied.Unknown = append(copied.Unknown, fmt.Sprintf("guest %s, which runs on the node and does not start in the copy: %v", vmid, err))
		}
	}
	sim.Advance(5 * time.Minute) // the starts have ended
	if probed := rehearse.Unprobed(want); probed != "" {
		copied.Unknown = append(copied.Unknown, "what probes find, so none is asked, and no backup is tested: "+probed)
	}
	text, err := sim.Save()
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(again.world, text, 0o600), copyState(n.State, again.state)); err != nil {
		return "", err
	}
	quote.Fprintf(con.Stdout, "A copy of %s: %d guests, %d of them running, read with %d requests. Nothing was written to the node.\nThe copy cannot know:\n",
		n.Source.Node, sim.Guests(), len(copied.Running), n.Source.View.Requests())
	for _, line := range copied.Unknown {
		quote.Fprintf(con.Stdout, "  %s\n", line)
	}
	return "", nil
}

// unfinished says what runs on the node that a copy could not carry on; "": nothing.
func unfinished(ctx context.Context, n *session.Session, want *spec.Desired) (string, error) {
	tasks, _, err := n.Source.View.Tasks(ctx, n.Source.Node, proxmox.TaskFilter{Source: "active"})
	if err != nil {
		return "", err
	}
	running := map[string]proxmox.Task{}
	for _, t := range tasks {
		if t.Running() {
			running[t.ID] = t
		}
	}
	if open := n.Journal.Open(); len(open) > 0 {
		return fmt.Sprintf("%s of %s has not ended, or neither --once nor the service has read how", open[0].Verb, open[0].Object), nil
	}
	if t, ok := running[""]; ok && t.Type == "vzdump" { // of several guests, one after another
		return fmt.Sprintf("a backup of several guests runs, begun by %s", t.Owner()), nil
	}
	for _, guests := range []map[string]*spec.Guest{want.Guests, want.Restores} {
		for _, g := range guests {
			if t, ok := running[g.VMID.String()]; ok {
				return fmt.Sprintf("%s of %s (%s) runs, begun by %s", t.Type, g.Ref, g.VMID, t.Owner()), nil
			}
		}
	}
	return "", nil
}

// startCopied starts a guest of the copy.
func startCopied(sim *pvesim.Sim, vmid proxmox.VMID) error {
	for _, kind := range []string{"lxc", "qemu"} {
		switch status, body := sim.Do("root@pam", "POST", fmt.Sprintf("/nodes/%s/%s/%s/status/start", sim.Node(), kind, vmid), nil); {
		case status == 200:
			return nil
		case kind == "qemu":
			return errors.New(quote.Line(body))
		}
	}
	return nil
}

func clockOfCopy(world string) (time.Time, error) {
	text, err := os.ReadFile(world)
	if err != nil {
		return time.Time{}, err
	}
	sim, err := pvesim.Load(text)
	if err != nil {
		return time.Time{}, err
	}
	return sim.Now(), nil
}

// copyState copies the journal, the holds and what else the agent knows. Locks stay behind.
func copyState(from, to string) error {
	if err := os.MkdirAll(to, 0o750); err != nil || from == "" {
		return err
	}
	for _, name := range []string{"journal.jsonl", "journal.1.jsonl", "state.json"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), text, 0o640)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
