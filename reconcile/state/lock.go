package state

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// alone keeps other processes from changing what is stored at the same moment: somebody
// says --hold while the service notes what it has seen, and neither may be lost. It is a
// lock of its own, for whoever stops the agent is not to wait for a pass.
func (s *Store) alone() (release func(), err error) {
	if s.path == "" {
		return func() {}, nil
	}
	file, err := os.OpenFile(s.path+".lock", os.O_RDONLY|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("the state cannot be locked: %w", err)
	}
	begin := time.Now()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("the state cannot be locked: %s: %w", s.path, err)
		}
		if time.Since(begin) > lockLimit {
			file.Close()
			return nil, fmt.Errorf("the state %s is locked by another process, for longer than %s. fix: find it with fuser %s.lock, and end it", s.path, lockLimit, s.path)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// lockLimit is how long another process is waited for. Its change takes as long as two files take to be on the disk.
const lockLimit = 30 * time.Second
