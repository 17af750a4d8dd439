// Felhom-fence does, as root, one of the few operations that felhom-agent may ask root for, and answers its questions about the host.
//
// It takes one request on standard input and answers on standard output (the protocol of package privileged); it takes no arguments. It is started
// by sudo, by root, or by systemd for a connection to felhom-fence.socket. It checks every request itself and trusts nobody who sends one. An operation that it
// has begun it finishes, whoever goes away. One line per operation goes to standard error and to the system's log.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/felhom/felhom-agent/privileged"
)

const usage = `felhom-fence is started by felhom-agent, not by hand: it takes one request on standard input and no arguments.
What it can be asked for: felhom-agent --routes
`

// runDir is where operations in progress are noted, for other processes of the fence.
const runDir = "/run/felhom-fence"

func main() {
	os.Exit(run(privileged.NewMachine(""), runDir, os.Args[1:], os.Stdin, os.Stdout))
}

// run answers one request and returns when it has been answered and what it began has ended.
func run(machine *privileged.Machine, dir string, args []string, in, out *os.File) int {
	if info, err := in.Stat(); len(args) > 0 || err != nil || info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprint(os.Stderr, usage)
		return 64
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "felhom-fence: it must be root to do anything; felhom-agent starts it through sudo")
		return 77
	}
	syscall.Umask(0o022)
	// Caught, not ignored: what is ignored would be ignored by the programs that the fence starts, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGPIPE)

	peer, err := machine.Caller(int(in.Fd()), os.Getenv)
	done := func() {}
	if err == nil {
		done, err = peer.Enter(dir)
	}
	if err != nil {
		report("an unknown user: %v", err)
		privileged.Refuse(out, err)
		return 77
	}
	defer done()
	local := &privileged.Local{
		Host: machine,
		Dir:  dir,
		Ended: func(op privileged.Op, result privileged.Result, err error) {
			end := "ok"
			if err != nil {
				end = err.Error()
			}
			if len(result.Notes) > 0 {
				end += " (" + strings.Join(result.Notes, "; ") + ")"
			}
			report("%s: %s: %s", peer.Name, op, end)
		},
	}
	privileged.Serve(context.Background(), local, privileged.Patient(in), privileged.Unhurried(out))
	out.Close()
	local.Wait()
	return 0
}

// report writes one line to the system's log and to standard error, and once where standard error is the journal,
// which takes the system's log too. A system without a log is no failure.
func report(layout string, args ...any) {
	line := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, fmt.Sprintf(layout, args...))
	if len(line) > 1000 {
		line = line[:1000]
	}
	if err := toSystemLog(line); err != nil || !isJournal(os.Stderr, os.Getenv("JOURNAL_STREAM")) {
		fmt.Fprintln(os.Stderr, "felhom-fence: "+line)
	}
}

// toSystemLog sends one line to /dev/log (syslog(3)).
func toSystemLog(line string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	const authInfo = 10<<3 | 6 // the facility authpriv, the level info
	message := fmt.Sprintf("<%d>felhom-fence[%d]: %s", authInfo, os.Getpid(), line)
	return syscall.Sendto(fd, []byte(message), 0, &syscall.SockaddrUnix{Name: "/dev/log"})
}

// isJournal reports whether a file is the stream to the journal that systemd names, as DEVICE:INODE, in
// JOURNAL_STREAM (systemd.exec(5)).
func isJournal(file *os.File, stream string) bool {
	info, err := file.Stat()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}
