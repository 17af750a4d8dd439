package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// CallCommand runs a command with a notice on its standard input, without a shell. At the deadline it and
// all that it has started are killed; of what it prints the end is kept for the error.
func CallCommand(ctx context.Context, argv []string, n Notice, deadline time.Duration) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text) // one line
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(n); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	cmd := exec.CommandContext(limited, argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"} // nothing of ours: no token
	cmd.Dir = "/"
	cmd.Stdin = &text
	out := &tail{most: NotifyOutput}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a grandchild that left the group may keep the pipe open
	err := cmd.Run()
	said := strings.Join(strings.Fields(string(out.kept)), " ")
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay) && limited.Err() == nil:
		return nil
	case limited.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("%s did not end within %s and was killed; it said: %q", argv[0], deadline, said)
	}
	return fmt.Errorf("%s: %w; it said: %q", argv[0], err, said)
}

// tail keeps the end of what is written to it.
type tail struct {
	most int
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - t.most; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}
