package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// JournalSize is the size at which the journal is put aside as journal.1.jsonl.
const JournalSize = 8 << 20

// Journal is the append-only file of what the agent did. Several processes may
// share one file; each reads what the others wrote when it takes the write lock.
type Journal struct {
	Mu   sync.Mutex
	Path string // "" for one in memory
	File *os.File
	Mem  bytes.Buffer
	Safe int   // how much of mem would outlast a power cut
	read int64 // how far operations has been read from the file
	records
	torn  bool // the last line that this process wrote has no end
	Fresh bool // there was no file before this process
	// Barrier is asked before a line is written; tests end a life of the agent there.
	Barrier func(Entry) error
}

// OpenJournal opens the journal in a directory, which must exist.
func OpenJournal(dir string) (*Journal, error) {
	j := MemoryJournal()
	j.Path = filepath.Join(dir, "journal.jsonl")
	if old, err := os.ReadFile(filepath.Join(dir, "journal.1.jsonl")); err == nil {
		j.Parse(old)
	}
	_, err := os.Stat(j.Path)
	j.Fresh = errors.Is(err, fs.ErrNotExist)
	if err := j.reopen(); err != nil {
		return nil, fmt.Errorf("the journal cannot be opened: %w; nothing is done without one", err)
	}
	_, err = j.readOn()
	return j, err
}

// ReadJournal reads the journal of a directory without touching it, for those who
// only look: nothing is created, mended or put aside. Without one it is empty. It
// cannot be written to.
func ReadJournal(dir string) (*Journal, error) {
	j := MemoryJournal()
	for _, name := range []string{"journal.1.jsonl", "journal.jsonl"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the journal cannot be read: %w", err)
		}
		j.Parse(data)
	}
	return j, nil
}

// MemoryJournal is a journal that ends with the process, for a simulated node.
func MemoryJournal() *Journal {
	return &Journal{records: records{operations: map[string]*Operation{}, Times: map[string]int{}}}
}

func (j *Journal) reopen() error {
	file, err := os.OpenFile(j.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	if j.File != nil {
		j.File.Close()
		j.forget()
	}
	j.File, j.read, j.torn = file, 0, false
	j.files++
	return nil
}

// Close closes the file.
func (j *Journal) Close() error {
	if j.File == nil {
		return nil
	}
	return j.File.Close()
}

// Refresh reads what other processes have written, ends a line that a crash tore, and puts
// a full file aside. It is called under the write lock.
func (j *Journal) Refresh() error {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	tail, err := j.readAll()
	if err != nil {
		return err
	}
	if len(tail) > 0 {
		j.read += int64(len(tail))
		j.Parse(tail)
		if err := j.write([]byte("\n")); err != nil {
			return err
		}
	}
	if j.read > JournalSize {
		return j.rotate()
	}
	return nil
}

// readAll reads on, also in the file that follows one that another process has put aside.
func (j *Journal) readAll() (tail []byte, err error) {
	if j.File == nil {
		return nil, nil
	}
	have, err := j.File.Stat()
	if err != nil {
		return nil, err
	}
	if named, err := os.Stat(j.Path); err != nil || !os.SameFile(have, named) {
		if _, err := j.readOn(); err != nil { // how it ended
			return nil, err
		}
		if err := j.reopen(); err != nil {
			return nil, err
		}
	}
	return j.readOn()
}

// readOn reads the lines that were written since it read last. What follows the last end
// of a line is returned unread: it may be a line that another process is writing.
func (j *Journal) readOn() (tail []byte, err error) {
	have, err := j.File.Stat()
	if err != nil || have.Size() <= j.read {
		return nil, err
	}
	data, err := io.ReadAll(io.NewSectionReader(j.File, j.read, have.Size()-j.read))
	if err != nil {
		return nil, err
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	j.read += int64(whole)
	j.Parse(data[:whole])
	return data[whole:], nil
}

// rotate puts the file aside and carries the open operations over.
func (j *Journal) rotate() error {
	if err := os.Rename(j.Path, filepath.Join(filepath.Dir(j.Path), "journal.1.jsonl")); err != nil {
		return err
	}
	if err := j.reopen(); err != nil {
		return err
	}
	for _, a := range j.open {
		lines := []Entry{a.Entry}
		if !a.Upid.IsZero() {
			lines = append(lines, Entry{Format: 1, Time: a.Time, Action: a.Action, Step: StepTask, UPID: a.Upid})
		}
		for _, e := range lines {
			line, err := e.line()
			if err != nil {
				return err
			}
			if err := j.write(line); err != nil {
				return err
			}
		}
		a.began = j.files
	}
	return j.File.Sync()
}

// write adds to the file. A line of which a full disk took only a part is ended before the
// next one, else both could not be read.
func (j *Journal) write(line []byte) error {
	if j.torn {
		line = append([]byte("\n"), line...)
	}
	n, err := j.File.Write(line)
	j.read += int64(n)
	if n > 0 {
		j.torn = err != nil
	}
	return err
}

// Append writes a line. An intent is on the disk when it returns.
func (j *Journal) Append(e Entry) error {
	e.Format = 1
	if j.Barrier != nil {
		if err := j.Barrier(e); err != nil {
			return err
		}
	}
	line, err := e.line()
	if err != nil {
		return err
	}
	j.Mu.Lock()
	defer j.Mu.Unlock()
	if j.File == nil {
		j.Mem.Write(line)
		if e.Step == StepIntent {
			j.Safe = j.Mem.Len()
		}
		j.apply(e)
		return nil
	}
	err = j.write(line)
	if err == nil && e.Step == StepIntent {
		err = j.File.Sync()
	}
	if err != nil {
		return fmt.Errorf("the journal %s cannot be written: %w; make room: nothing is done without it", j.Path, err)
	}
	j.apply(e)
	return nil
}

// Open returns the operations that have no outcome.
func (j *Journal) Open() []*Operation {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	return slices.Clone(j.open)
}

// Claims reports whether a task is that of an operation.
func (j *Journal) Claims(upid proxmox.UPID) bool {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	return slices.ContainsFunc(j.Order, func(a *Operation) bool { return a.Upid == upid })
}

func (j *Journal) Action(name string) *Operation {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	return j.operations[name]
}

var actNumber atomic.Int64

// NewAct names an operation uniquely among all processes that share a journal.
func NewAct() string {
	return fmt.Sprintf("%x-%x-%x", time.Now().UnixNano(), os.Getpid(), actNumber.Add(1))
}
