// Felhom-agent makes a Proxmox VE node be as a folder of YAML says, and keeps it so.
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
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	_ "time/tzdata" // the node's zone is read on machines without it, too

	"github.com/hashicorp/go-multierror"

	"github.com/felhom/felhom-agent/spec"
)

// version is set by `go build -ldflags "-X main.version=1.2.3"`.
var version = "development"

// The exit codes. Those of a plan and of a run besides these come from package reconcile.
const (
	exitOK      = 0
	exitFailed  = 1 // it could not be done
	exitBlocked = 3 // it was done as far as it could be
	exitInvalid = 4 // the YAML, the configuration or the command line is wrong; nothing was touched
	exitGaveUp  = 5 // what was waited for still runs
	exitSignal  = 128
)

func main() { os.Exit(guard(program)) }

// guard turns a panic, for which Go would exit with 2 ("there are changes"), into an error.
func guard(f func() int) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "felhom-agent: a mistake in the program, please report it: %v\n%s", p, debug.Stack())
			code = exitFailed
		}
	}()
	return f()
}

// spawn starts a goroutine whose panic ends the program as guard does.
func spawn(f func()) {
	go func() {
		if code := guard(func() int { f(); return exitOK }); code != exitOK {
			os.Exit(code)
		}
	}()
}

// program is main with an exit code.
func program() int {
	con := newConsole(os.Stdout, os.Stderr)
	if len(os.Args) > 2 && os.Args[1] == "--complete" && os.Args[2] == "--" { // asked by the shell, as completion.go says
		fmt.Fprint(con.stdout, strings.Join(append(complete(os.Args[3:]), ""), "\n"))
		return exitOK
	}
	cmd, err := parse(os.Args[1:])
	if err != nil {
		return con.complain(err)
	}
	ctx, ended := untilSignal()
	code, err := cmd.mode.run(ctx, cmd, con)
	if number := ended(); number != 0 && (err == nil || errors.Is(err, context.Canceled)) {
		if cmd.mode.name == "watch" {
			return exitOK
		}
		text := "ended by a signal"
		if cmd.mode.name == "once" {
			text += "; what PVE was asked to do goes on, and the next run resumes"
		}
		con.say("%s", text)
		return exitSignal + int(number)
	}
	if err != nil {
		return con.complain(err)
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
	spawn(func() {
		number := (<-signals).(syscall.Signal)
		first = number
		close(done)
		cancel()
		number = (<-signals).(syscall.Signal)
		os.Exit(exitSignal + int(number))
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
	var config *configError
	var mistake *spec.Error
	return errors.As(err, &usage) || errors.As(err, &config) || errors.As(err, &mistake)
}

// complain prints what went wrong and returns the exit code.
func (con *console) complain(err error) int {
	writeErrors(con.stderr, err)
	var file *fs.PathError
	if errors.As(err, &file) && errors.Is(err, fs.ErrPermission) {
		con.say("you are %s: do it as root (sudo), or as the user to whom %s belongs", whoRuns(), file.Path)
	}
	if invalid(err) {
		return exitInvalid
	}
	return exitFailed
}

// writeErrors prints an error, or each of several on a line of its own. The mistakes of files begin with
// FILE:LINE, so that editors find them; all else begins with the program's name.
func writeErrors(w io.Writer, err error) {
	for _, err := range each(err) {
		var config *configError
		var mistake *spec.Error
		text := strings.TrimSpace(err.Error())
		if !errors.As(err, &mistake) && !errors.As(err, &config) {
			text = "felhom-agent: " + text
		}
		fmt.Fprintln(w, text)
	}
}

// each unpacks an error that collects several.
func each(err error) []error {
	var several *multierror.Error
	if errors.As(err, &several) {
		return several.Errors
	}
	return []error{err}
}
