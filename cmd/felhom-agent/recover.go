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

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
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
	if isTerminal(os.Stdin) && !cmd.yes {
		course.Secret = func(question string) (string, error) { return askSecret(con, question) }
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
		course.Rehearse = true
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

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// confirm asks a question of which only yes is taken as yes.
func confirm(ctx context.Context, con *console.Console, question string) (bool, error) {
	fmt.Fprintf(con.Stderr, "\n%s Only yes is taken as yes: ", question)
	answer := make(chan string, 1)
	exit.Go(func() { answer <- readLine(os.Stdin) })
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case line := <-answer:
		return line == "yes", nil
	}
}

func readLine(from io.Reader) string {
	line, _ := bufio.NewReader(io.LimitReader(from, 4096)).ReadString('\n')
	return strings.TrimSpace(line)
}

// askSecret asks for what must not be seen on the screen.
func askSecret(con *console.Console, question string) (string, error) {
	fmt.Fprintf(con.Stderr, "%s (it is not shown): ", question)
	fd := int(os.Stdin.Fd())
	shown, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", err
	}
	hidden := *shown
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return "", err
	}
	line := readLine(os.Stdin)
	fmt.Fprintln(con.Stderr)
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, shown); err != nil {
		return "", err
	}
	if line == "" {
		return "", errors.New("no password was given")
	}
	return line, nil
}
