package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/pull"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
)

// runPull brings the desired state from git. It asks no node and needs nothing of the agent's.
func runPull(ctx context.Context, cmd *command, con *console.Console) (int, error) {
	c, err := pull.ReadConfig(cmp.Or(cmd.git, pull.DefaultConfig))
	if err != nil {
		fmt.Fprintf(con.Stderr, "felhom-agent: %v\n", err)
		return exit.Invalid, nil
	}
	state, err := filepath.Abs(cmp.Or(cmd.state, session.FirstOf(os.Getenv("STATE_DIRECTORY")), pull.DefaultState))
	if err != nil {
		return 0, err
	}
	check := func(folder string) error {
		checked := *cmd
		checked.path = folder
		_, err := checked.load()
		return err
	}
	puller := &pull.Puller{Config: c, State: state, Check: check, Now: time.Now}
	origin, moved, err := puller.Pull(ctx)
	var refused *pull.RefusedError
	switch {
	case errors.As(err, &refused):
		fmt.Fprintf(con.Stderr, "felhom-agent: %v\n", err)
		return exit.Blocked, nil
	case err != nil:
		return 0, err
	case moved:
		fmt.Fprintf(con.Stdout, "%s is %s now\n", filepath.Join(state, source.Folder), origin)
	default:
		fmt.Fprintf(con.Stdout, "%s is %s already\n", filepath.Join(state, source.Folder), origin)
	}
	return exit.OK, nil
}
