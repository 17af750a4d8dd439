package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
)

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// confirm asks a question of which only yes is taken as yes.
func confirm(ctx context.Context, con *console.Console, question string) (bool, error) {
	fmt.Fprintf(con.Stderr, "\n%s Only yes is taken as yes: ", question)
	line, err := nextLine(ctx)
	return line == "yes", err
}

// ask asks for a line of text. What is hidden is not shown while it is typed, and the terminal shows what is typed again afterwards, also where the
// answer is an interrupt.
func ask(ctx context.Context, con *console.Console, question string, hidden bool) (answer string, err error) {
	if !hidden {
		fmt.Fprintf(con.Stderr, "%s, empty to go on without it: ", question)
		return nextLine(ctx)
	}
	fd := int(os.Stdin.Fd())
	shown, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", err
	}
	silent := *shown
	silent.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &silent); err != nil {
		return "", err
	}
	defer func() {
		fmt.Fprintln(con.Stderr)
		err = errors.Join(err, unix.IoctlSetTermios(fd, unix.TCSETS, shown))
	}()
	fmt.Fprintf(con.Stderr, "%s (it is not shown), empty to go on without it: ", question) // after the echo is off: whoever answers at once is not seen
	return nextLine(ctx)
}

// nextLine reads a line of the terminal.
func nextLine(ctx context.Context) (string, error) {
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	exit.Go(func() {
		text, err := bufio.NewReader(io.LimitReader(os.Stdin, 4096)).ReadString('\n')
		read <- line{strings.TrimRight(text, "\r\n"), err}
	})
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case l := <-read:
		if errors.Is(l.err, io.EOF) { // the terminal is closed, or somebody pressed ctrl-D
			l.err = errors.New("no answer was given")
		}
		return l.text, l.err
	}
}
