package recovery

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/privileged"
)

// Machine is this machine as a [Host]. It needs root.
type Machine struct {
	files
	out, errs *os.File
}

// NewMachine is this machine, whose programs print to out and errs where they print to people.
func NewMachine(out, errs *os.File) *Machine {
	return &Machine{files{func(path string) string { return path }, time.Now}, out, errs}
}

// NodeName implements [Host].
func (m *Machine) NodeName() (string, error) { return privileged.NewMachine("").NodeName() }

// Root implements [Host]: the installed root helper, without sudo.
func (m *Machine) Root() privileged.Runner { return &privileged.ExecRunner{Mode: privileged.Direct} }

// Disk implements [Host].
func (m *Machine) Disk(dir string) (kit.Folder, func(), error) {
	disk, err := kit.OpenDisk(dir)
	if err != nil {
		return nil, nil, err
	}
	return disk, func() { disk.Close() }, nil
}

// Run implements [Host].
func (m *Machine) Run(ctx context.Context, program string, args ...string) (output []byte, exit int, err error) {
	return m.Feed(ctx, nil, program, args...)
}

// Feed implements [Host]. What interrupts the recovery does not interrupt the program: pveum and pvesm end what they have begun.
func (m *Machine) Feed(ctx context.Context, input []byte, program string, args ...string) (output []byte, exit int, err error) {
	if ctx.Err() != nil {
		return nil, 0, ctx.Err()
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"} // PVE decodes a password by its locale
	if input != nil {
		cmd.Stdin = bytes.NewReader(input)
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second // a program that it leaves behind, as mount may, may keep the output open
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	var bad *exec.ExitError
	if errors.As(err, &bad) {
		return append(out.Bytes(), errs.Bytes()...), max(bad.ExitCode(), 1), nil
	}
	return out.Bytes(), 0, err
}

// Agent implements [Host]: this program again, for a mode may become another user.
func (m *Machine) Agent(ctx context.Context, args ...string) (int, error) {
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, m.out, m.errs
	err = cmd.Run()
	var bad *exec.ExitError
	if errors.As(err, &bad) && ctx.Err() == nil {
		return max(bad.ExitCode(), 1), nil
	}
	return 0, err
}
