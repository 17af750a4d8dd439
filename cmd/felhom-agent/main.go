// Felhom-agent keeps a Proxmox VE node in the state described by a folder of YAML files.
//
// It is used as `felhom-agent MODE [options] [PATH]`: --plan prints what would change, --once carries it
// out, --watch stays and keeps it so. Without a mode it prints its help and touches nothing. What a person
// reads goes to standard output, logs and complaints go to standard error. The exit codes are those of the
// README; code 2 never means anything but "there are changes".
//
// This package reads the command line and the configuration, connects to the node (or makes a simulated
// one), and hands both to package reconcile.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/spec"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // the memory of the host belongs to its guests
	}
	os.Exit(exit.Guard(program))
}

// program is main with an exit code.
func program() int {
	con := console.New(os.Stdout, os.Stderr)
	if asked, err := completing(os.Args[1:], con); asked {
		if err != nil {
			return complain(con, err)
		}
		return exit.OK
	}
	cmd, err := parse(os.Args[1:])
	if err != nil {
		return complain(con, err)
	}
	ctx, ended := untilSignal()
	code, err := cmd.mode.run(ctx, cmd, con)
	if number := ended(); number != 0 && (err == nil || errors.Is(err, context.Canceled)) {
		if cmd.mode.name == "watch" {
			return exit.OK
		}
		text := "ended by a signal"
		if cmd.mode.name == "once" {
			text += "; what PVE was asked to do goes on, and the next run resumes"
		}
		con.Say("%s", text)
		return exit.Signal + int(number)
	}
	if err != nil {
		return complain(con, err)
	}
	return code
}

// untilSignal is a context that ends with the first SIGINT or SIGTERM. The second one ends the program.
func untilSignal() (ctx context.Context, ended func() syscall.Signal) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	// Caught, not ignored, since programs that we start would inherit that: a run whose reader
	// (`| head`) went away is finished all the same.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	var first syscall.Signal
	done := make(chan struct{})
	exit.Go(func() {
		number := (<-signals).(syscall.Signal)
		first = number
		close(done)
		cancel()
		number = (<-signals).(syscall.Signal)
		os.Exit(exit.Signal + int(number))
	})
	return ctx, func() syscall.Signal {
		select {
		case <-done:
			return first
		default:
			return 0
		}
	}
}

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// invalid reports whether an error is one of the command line, the configuration or the YAML.
func invalid(err error) bool {
	var usage *usageError
	var config *config.Error
	var mistake *spec.Error
	return errors.As(err, &usage) || errors.As(err, &config) || errors.As(err, &mistake)
}

// complain prints what went wrong and returns the exit code.
func complain(con *console.Console, err error) int {
	source.WriteErrors(con.Stderr, err)
	var file *fs.PathError
	if errors.As(err, &file) && errors.Is(err, fs.ErrPermission) {
		con.Say("you are %s: do it as root (sudo), or as the user to whom %s belongs", config.User(), file.Path)
	}
	if invalid(err) {
		return exit.Invalid
	}
	return exit.Failed
}
