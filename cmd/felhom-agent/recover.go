package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/recovery"
)

// runRecover sets a host up again from the recovery kit of a backup disk, and brings its guests back.
func runRecover(ctx context.Context, cmd *command, con *console.Console) (int, error) {
	if cmd.path != defaultPath && cmd.from == "" {
		cmd.from = cmd.path
	}
	if _, err := os.Stat(cmd.from); err == nil { // a folder of this machine, not a UUID
		if cmd.from, err = filepath.Abs(cmd.from); err != nil {
			return 0, err
		}
	}
	course := &recovery.Course{Out: con.Stdout, From: cmd.from, Preview: cmd.preview, Onto: cmd.onto, TakeOver: cmd.takeOver,
		Confirm: func(question string) (bool, error) { return confirm(ctx, con, question) }}
	course.Secrets = recovery.Secrets{Passwords: cmd.passwords, Keys: cmd.keys}
	if isTerminal(os.Stdin) && !cmd.yes {
		course.Secrets.Ask = func(ctx context.Context, question string, hidden bool) (string, error) {
			return ask(ctx, con, question, hidden)
		}
	}
	switch {
	case cmd.yes:
		course.Confirm = func(string) (bool, error) { return true, nil }
	case !cmd.preview && !isTerminal(os.Stdin):
		return 0, usagef("--recover asks before it changes something: run it on a terminal, or give --yes; --plan shows the steps alone")
	}
	if cmd.onto && !cmd.yes {
		return 0, usagef("--onto-existing needs --yes")
	}
	if !cmd.simulate {
		if os.Geteuid() != 0 {
			return 0, errors.New("--recover creates storages, users and files of root: run it as root")
		}
		course.Host = recovery.NewMachine(os.Stdout, os.Stderr)
		return course.Run(ctx)
	}
	world := cmd.world
	if world == "" {
		dir, err := os.MkdirTemp("", "felhom-agent-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		world = filepath.Join(dir, "node.yaml")
		course.Rehearse, course.Secrets.Ask = true, nil // a node that nobody keeps gets no secret
		course.Confirm = func(string) (bool, error) { return true, nil }
		if err := recovery.Rehearsal(world, cmd.from); err != nil {
			return 0, err
		}
	}
	_, err := os.Stat(filepath.Join(cmd.from, "felhom-recovery"))
	course.Host = recovery.NewSimulated(con, world, cmd.from != "" && err == nil, func(ctx context.Context, args ...string) (int, error) {
		again, err := parse(args)
		if err != nil {
			return 0, err
		}
		return again.mode.run(ctx, again, con)
	})
	return course.Run(ctx)
}
