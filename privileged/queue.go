package privileged

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Acts of several processes on one machine meet in a directory. Each queue has three files there:
//
//	QUEUE.lock  locked while an operation is in progress. The program that does the work inherits the open file, so the lock outlives a fence that
//	           was killed, for as long as that program lives.
//	QUEUE.json  which operation it is, and since when (queueState)
//	QUEUE.out   what its programs print
//
// At its end what came of the operation is written into QUEUE.lock for those who wait and have it open, and all three are removed: nothing is left of an operation,
// and least of all of one that was refused. Only a helper that is killed leaves them behind, for the next operation of the queue.
//
// The locks are "open file description" locks (fcntl(2), F_OFD_SETLK): they can be looked at without being taken.

// queueState is what QUEUE.json holds, and in the end QUEUE.lock.
type queueState struct {
	Format int           `json:"format"` // 1
	Op     Op            `json:"op"`
	Key    string        `json:"key"`
	Since  time.Time     `json:"since"`
	Ended  bool          `json:"ended"`
	Result Result        `json:"result"`
	Refuse *RefusedError `json:"refused,omitempty"`
	Failed *FailedError  `json:"failed,omitempty"`

	path string   // without its ending
	lock *os.File // of the queue that another one holds, for await
}

// queueFile is a queue that this process holds.
type queueFile struct {
	lock  *os.File
	state queueState
}

const (
	ofdGetLock  = 36 // F_OFD_GETLK and so on, which package syscall does not name
	ofdSetLock  = 37
	ofdWaitLock = 38
)

func queuePath(dir, queue string) string {
	return filepath.Join(dir, strings.ReplaceAll(queue, "/", "-"))
}

// takeQueue locks the queue of op, or says which operation holds it. That state is to be awaited or closed.
func takeQueue(dir string, op Op, key string, since time.Time) (*queueFile, *queueState, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	path := queuePath(dir, op.Queue())
	for tries := 0; ; tries++ {
		lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, nil, err
		}
		ok, err := tryLock(lock)
		if err != nil {
			lock.Close()
			return nil, nil, err
		}
		// What was locked may have been removed meanwhile, by the operation that ended; then it stands at no path, and locks nothing.
		state, stateErr := readState(path)
		switch current := isAt(lock, path+".lock"); {
		case ok && current:
			return newQueue(lock, queueState{Format: 1, Op: op, Key: key, Since: since, path: path})
		case !ok && current && stateErr == nil && !state.Ended:
			state.lock = lock
			return nil, &state, nil
		case tries == 50:
			lock.Close()
			return nil, nil, errors.New("it is locked, and the operation that locked it is unknown")
		case !ok && current: // its holder writes QUEUE.json right after it took the lock
			time.Sleep(20 * time.Millisecond)
		}
		lock.Close()
	}
}

// newQueue notes the operation of a queue that was just locked.
func newQueue(lock *os.File, state queueState) (*queueFile, *queueState, error) {
	if err := errors.Join(lock.Truncate(0), state.write()); err != nil {
		lock.Close()
		return nil, nil, err
	}
	return &queueFile{lock: lock, state: state}, nil, nil
}

// isAt reports whether an open file is the one that stands at a path.
func isAt(f *os.File, path string) bool {
	open, err := f.Stat()
	at, err2 := os.Lstat(path)
	return err == nil && err2 == nil && os.SameFile(open, at)
}

// output is the file that the operation's programs print to.
func (f *queueFile) output() string { return f.state.path + ".out" }

// end notes what came of the operation and gives the queue back.
func (f *queueFile) end(result Result, err error) {
	f.state.Ended, f.state.Result = true, result
	var refused *RefusedError
	var failed *FailedError
	switch {
	case errors.As(err, &refused):
		f.state.Refuse = refused
	case errors.As(err, &failed):
		f.state.Failed = failed
	case err != nil:
		f.state.Failed = &FailedError{Op: f.state.Op.Name, Reason: err.Error()}
	}
	if data, err := json.Marshal(f.state); err == nil {
		f.lock.WriteAt(data, 0) // those who wait would see an operation without an end, and say so
	}
	for _, ending := range []string{".json", ".out", ".lock"} {
		os.Remove(f.state.path + ending)
	}
	f.lock.Close()
}

// close lets go of the queue of another one that nobody waits for.
func (st *queueState) close() { st.lock.Close() }

// await waits until the operation of another process has ended and says what came of it.
func (st *queueState) await(op Op) (Result, error) {
	defer st.lock.Close()
	if err := fcntlLock(st.lock, ofdWaitLock, syscall.F_RDLCK); err != nil {
		return Result{}, &FailedError{Op: op.Name, Reason: err.Error(), Unknown: true}
	}
	now := queueState{path: st.path}
	data, err := io.ReadAll(io.NewSectionReader(st.lock, 0, maxLine))
	if err == nil {
		err = json.Unmarshal(data, &now)
	}
	if err != nil || now.Key != st.Key || !now.Since.Equal(st.Since) || !now.Ended {
		output, _ := readTail(st.path+".out", maxTail)
		return Result{}, &FailedError{Op: op.Name, Reason: "the root helper that ran this operation since " + st.Since.Format(time.DateTime) + " was killed; its programs have ended by now", Output: output, Unknown: true}
	}
	switch {
	case now.Refuse != nil:
		return now.Result, now.Refuse
	case now.Failed != nil:
		return now.Result, now.Failed
	}
	return now.Result, nil
}

func (st queueState) write() error {
	data, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if err := os.WriteFile(st.path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(st.path+".new", st.path+".json")
}

func readState(path string) (queueState, error) {
	data, err := os.ReadFile(path + ".json")
	if err != nil {
		return queueState{}, err
	}
	st := queueState{path: path}
	if err := json.Unmarshal(data, &st); err != nil || st.Format != 1 {
		return queueState{}, fmt.Errorf("%s.json is not one of this version", path)
	}
	return st, nil
}

// runningIn lists the operations in progress of all processes.
func runningIn(dir string) ([]RunningOp, error) {
	locks, err := filepath.Glob(filepath.Join(dir, "*.lock"))
	if err != nil {
		return nil, err
	}
	var out []RunningOp
	for _, name := range locks {
		held, err := isLocked(name)
		if err != nil {
			return nil, err
		}
		st, err := readState(strings.TrimSuffix(name, ".lock"))
		if held && err == nil && !st.Ended {
			out = append(out, RunningOp{Name: st.Op.Name, Queue: st.Op.Queue(), What: st.Op.String(), Since: st.Since})
		}
	}
	return out, nil
}

func isLocked(name string) (bool, error) {
	f, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	l := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(f.Fd(), ofdGetLock, &l); err != nil {
		return false, err
	}
	return l.Type == syscall.F_WRLCK, nil
}

// tryLock takes an exclusive lock; false when somebody else has one.
func tryLock(f *os.File) (bool, error) {
	err := fcntlLock(f, ofdSetLock, syscall.F_WRLCK)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return false, nil
	}
	return err == nil, err
}

// lockFile opens a file and waits for an exclusive lock on it.
func lockFile(name string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := fcntlLock(f, ofdWaitLock, syscall.F_WRLCK); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func fcntlLock(f *os.File, command int, kind int16) error {
	for {
		l := syscall.Flock_t{Type: kind, Whence: io.SeekStart}
		err := syscall.FcntlFlock(f.Fd(), command, &l)
		if err != syscall.EINTR {
			return err
		}
	}
}

// readTail is the end of a file, at most n bytes.
func readTail(name string, n int64) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > n {
		if _, err := f.Seek(-n, io.SeekEnd); err != nil {
			return "", err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, n))
	return tail(string(data), int(n)), err
}
