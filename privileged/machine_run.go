package privileged

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"syscall"
	"time"
)

const maxProgramOutput = 4 << 20

// Run implements [Host]. The output goes to a file, so that the program can go on when nobody reads any more. Where progress is nil the program
// only looks: it has files of its own, since several look at once, also within an operation, and the output is what it prints on standard output alone,
// unless it fails. The end of ctx kills it and all that it started; for operations ctx has no end.
func (m *Machine) Run(ctx context.Context, program string, args []string, progress func(line string)) (output []byte, exit int, err error) {
	if !path.IsAbs(program) {
		return nil, 0, fmt.Errorf("%s is not an absolute path", program)
	}
	var current *queueFile
	if progress != nil {
		current = m.queue
	}
	out, errs, err := outputs(current)
	if err != nil {
		return nil, 0, err
	}
	defer errs.Close()
	if errs != out {
		defer out.Close()
	}
	begin, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, err
	}

	cmd := exec.Command(m.root+program, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if m.queue != nil && program == pct { // not mount: what it leaves behind may live as long as the disk stays mounted
		cmd.ExtraFiles = []*os.File{m.queue.lock}
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	follow := &follower{file: out, at: begin, line: progress}
	if err = follow.until(ctx, cmd); ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil, 0, err
	}
	output, readErr := section(out, begin)
	if err != nil && errs != out {
		warnings, _ := section(errs, 0)
		output = append(output, warnings...)
	}
	exit, err = exitOf(err)
	if err == nil {
		err = readErr
	}
	return output, exit, err
}

// exitOf is the exit code of a program, as a shell tells it of one that a signal ended.
func exitOf(ended error) (code int, err error) {
	var bad *exec.ExitError
	switch {
	case ended == nil:
		return 0, nil
	case errors.As(ended, &bad) && bad.Exited():
		return bad.ExitCode(), nil
	case errors.As(ended, &bad):
		return 128 + int(bad.Sys().(syscall.WaitStatus).Signal()), nil
	}
	return 0, ended
}

// outputs are the files that a program prints to: of one that acts one for both, which others can read; of one that looks (nil) two of its own, for
// what is to be read must not be mixed with warnings or with what another one prints.
func outputs(queue *queueFile) (out, errs *os.File, err error) {
	if queue != nil {
		out, err = os.OpenFile(queue.output(), os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
		return out, out, err
	}
	if out, err = scratch(); err != nil {
		return nil, nil, err
	}
	if errs, err = scratch(); err != nil {
		out.Close()
		return nil, nil, err
	}
	return out, errs, nil
}

// scratch is a file without a name.
func scratch() (*os.File, error) {
	f, err := os.CreateTemp("", "felhom-fence-")
	if err == nil {
		os.Remove(f.Name())
	}
	return f, err
}

// section is what a file holds from an offset on, at most its last 4 MiB.
func section(f *os.File, from int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	from = max(from, info.Size()-maxProgramOutput)
	return io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
}

// follower hands the lines of a growing file on.
type follower struct {
	file    *os.File
	at      int64
	pending []byte
	line    func(string)
}

// until follows a program that was started to its end, or ends it, and all that it started, when ctx ends.
func (f *follower) until(ctx context.Context, cmd *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			f.read()
			f.end()
			return err
		case <-tick.C:
			f.read()
		case <-ctx.Done():
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			select {
			case <-ended:
			case <-time.After(time.Second): // it hangs in the kernel, at a disk that does not answer, and ends when that does
			}
			return ctx.Err()
		}
	}
}

func (f *follower) read() {
	if f.line == nil {
		return
	}
	buf := make([]byte, 64<<10)
	for {
		n, _ := f.file.ReadAt(buf, f.at)
		if n == 0 {
			return
		}
		f.at += int64(n)
		f.pending = append(f.pending, buf[:n]...)
		for {
			i := bytes.IndexAny(f.pending, "\r\n")
			if i < 0 {
				break
			}
			f.line(string(f.pending[:i]))
			f.pending = f.pending[i+1:]
		}
		if len(f.pending) > 64<<10 {
			f.end()
		}
	}
}

func (f *follower) end() {
	if f.line != nil && len(f.pending) > 0 {
		f.line(string(f.pending))
	}
	f.pending = nil
}
