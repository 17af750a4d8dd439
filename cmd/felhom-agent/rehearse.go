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
	again.simulate, again.world, again.state = true, filepath.Join(dir, "node.yaml"), filepath.Join(dir, "state")
	if err := copyNode(ctx, cmd, con, want, &again); err != nil {
		return 0, err
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
// cannot know.
func copyNode(ctx context.Context, cmd *command, con *console.Console, want *spec.Desired, again *command) error {
	n, err := connectToLook(ctx, cmd, con)
	if err != nil {
		return err
	}
	defer n.Close()
	live := rehearse.Node{View: n.Source.View, Ask: n.Source.Fence, Name: n.Source.Node, TokenID: n.Source.TokenID, Want: want}
	if policy, err := os.ReadFile("/etc/felhom-agent/fence.json"); err == nil && !cmd.simulate {
		live.Policy = string(policy)
	}
	copied, err := rehearse.Read(ctx, live)
	if err != nil {
		return n.Explain(err)
	}
	sim, err := pvesim.Load(copied.World)
	if err != nil {
		return fmt.Errorf("the copy of %s cannot be simulated: %w", n.Source.Node, err)
	}
	for _, vmid := range copied.Running {
		if err := startCopied(sim, vmid); err != nil {
			copied.Unknown = append(copied.Unknown, fmt.Sprintf("guest %s, which runs on the node and does not start in the copy: %v", vmid, err))
		}
	}
	sim.Advance(5 * time.Minute) // the starts have ended
	text, err := sim.Save()
	if err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(again.world, text, 0o600), copyState(n.State, again.state)); err != nil {
		return err
	}
	quote.Fprintf(con.Stdout, "A copy of %s: %d guests, %d of them running, read with %d requests. Nothing was written to the node.\nThe copy cannot know:\n",
		n.Source.Node, sim.Guests(), len(copied.Running), n.Source.View.Requests())
	for _, line := range copied.Unknown {
		quote.Fprintf(con.Stdout, "  %s\n", line)
	}
	return nil
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
