package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-agent/reconcile/text"
)

// A WriteLock is the flock in the state directory by which a service and a run
// beside it take turns. It covers look, plan and sending of a pass, not the waiting
// for tasks.
type WriteLock struct {
	path  string
	says  string // what the file tells of its holder
	limit time.Duration
}

// NewWriteLock names the lock of a state directory; says is what others are told of
// the holder, and limit how long a pass waits for it.
func NewWriteLock(dir, says string, limit time.Duration) *WriteLock {
	return &WriteLock{path: filepath.Join(dir, "lock"), says: fmt.Sprintf("%s (process %d)", says, os.Getpid()), limit: limit}
}

// LockedError says who holds the write lock for too long.
type LockedError struct {
	Path, Holder string
	Waited       time.Duration
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("the write lock %s is taken by %s, for longer than %s. Wait for it, or end that process", e.Path, text.OrElse(e.Holder, "another process"), e.Waited)
}

// Take waits for the lock. A nil lock is always free.
func (l *WriteLock) Take(ctx context.Context) (release func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("the write lock cannot be opened: %w", err)
	}
	begin := time.Now()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("the write lock %s: %w", l.path, err)
		}
		if time.Since(begin) > l.limit {
			holder, _ := io.ReadAll(io.NewSectionReader(file, 0, 200))
			file.Close()
			return nil, &LockedError{Path: l.path, Holder: strings.TrimSpace(string(holder)), Waited: l.limit}
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	file.Truncate(0)
	file.WriteAt([]byte(l.says+"\n"), 0)
	return func() { file.Close() }, nil
}
