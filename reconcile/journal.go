package reconcile

import (
	"bytes"
	"encoding/json"
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

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
)

// An Entry is one line of the journal. Every act has an intent, which is on the
// disk before anything is sent, then the task that PVE started, and an outcome:
// no line, no act. The journal is a memory of acts, never of state: losing it costs
// an audit trail, some waiting and one question to a person.
type Entry struct {
	Format int       `json:"v"` // of this line: 1
	Time   time.Time `json:"t"` // by the node's clock
	Act    string    `json:"act"`
	Step   string    `json:"step"` // stepIntent, stepTask or stepOutcome

	ID      string            `json:"id,omitempty"` // of the action
	Object  string            `json:"object,omitempty"`
	Verb    string            `json:"verb,omitempty"`
	Text    string            `json:"text,omitempty"`
	Lane    string            `json:"lane,omitempty"`
	Budget  string            `json:"budget,omitempty"`
	Effect  Effect            `json:"effect,omitempty"`
	Timeout time.Duration     `json:"timeout,omitempty"`
	Call    *proxmox.Call     `json:"call,omitempty"`
	Op      *privileged.Op    `json:"op,omitempty"`
	Before  []string          `json:"before,omitempty"` // tasks on the same guest that were there before
	Facts   map[string]string `json:"facts,omitempty"`

	UPID proxmox.UPID `json:"upid,omitzero"`

	Result string   `json:"result,omitempty"`
	Log    []string `json:"log,omitempty"` // the end of the task's log, after a failure
}

// The steps of an act.
const (
	stepIntent  = "intent"
	stepTask    = "task"
	stepOutcome = "outcome"
)

// The results of an act.
const (
	resultOK      = "ok"
	resultFailed  = "failed"  // its task failed
	resultRefused = "refused" // PVE or the fence said no: there was no task
	resultLocked  = "locked"  // somebody else held the lock: it is tried again
	resultUnsent  = "unsent"  // it was never delivered
	resultLost    = "lost"    // its answer was lost, and nothing of it is found
)

// journalSize is the size at which the journal is put aside as journal.1.jsonl.
const journalSize = 8 << 20

// Journal is the append-only file of what the agent did. Several processes may
// share one file; each reads what the others wrote when it takes the write lock.
type Journal struct {
	mu   sync.Mutex
	path string // "" for one in memory
	file *os.File
	mem  bytes.Buffer
	safe int   // how much of mem would outlast a power cut
	read int64 // how far acts has been read from the file
	acts map[string]*act
	// order is the acts in the order of their intents.
	order []*act
	// unread counts the lines that could not be read.
	unread int
	torn   bool // the last line that this process wrote has no end
	fresh  bool // there was no file before this process
	// files counts those that were put aside since; acts know in which they began.
	files int
	// barrier is asked before a line is written; tests end a life of the agent there.
	barrier func(Entry) error
}

// act is what the journal knows of one act.
type act struct {
	Entry               // its intent
	key          string // see actKey
	began        int    // see Journal.files
	upid         proxmox.UPID
	result       string
	text         string
	log          []string
	ended        time.Time
	outcomeFacts map[string]string
	lost         time.Time // when its answer was given up, by the clock of this process
	sought       time.Time // since when this process looks for its task, by its own clock
	sent         bool      // by this process
}

func (a *act) open() bool { return a.result == "" }

// OpenJournal opens the journal in a directory, which must exist.
func OpenJournal(dir string) (*Journal, error) {
	j := &Journal{path: filepath.Join(dir, "journal.jsonl"), acts: map[string]*act{}}
	if old, err := os.ReadFile(filepath.Join(dir, "journal.1.jsonl")); err == nil {
		j.parse(old)
	}
	_, err := os.Stat(j.path)
	j.fresh = errors.Is(err, fs.ErrNotExist)
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
		j.parse(data)
	}
	return j, nil
}

// MemoryJournal is a journal that ends with the process, for a simulated node.
func MemoryJournal() *Journal { return &Journal{acts: map[string]*act{}} }

func (j *Journal) reopen() error {
	file, err := os.OpenFile(j.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	if j.file != nil {
		j.file.Close()
		j.forget()
	}
	j.file, j.read, j.torn = file, 0, false
	j.files++
	return nil
}

// forget drops the acts that ended and stand in no file any more, as a process that is
// started now would not know them: a service that runs for years needs no more memory
// than its files take.
func (j *Journal) forget() {
	j.order = slices.DeleteFunc(j.order, func(a *act) bool {
		gone := !a.open() && a.began < j.files
		if gone {
			delete(j.acts, a.Act)
		}
		return gone
	})
}

// Close closes the file.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

// refresh reads what other processes have written, ends a line that a crash tore, and puts
// a full file aside. It is called under the write lock.
func (j *Journal) refresh() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	tail, err := j.readAll()
	if err != nil {
		return err
	}
	if len(tail) > 0 {
		j.read += int64(len(tail))
		j.parse(tail)
		if err := j.write([]byte("\n")); err != nil {
			return err
		}
	}
	if j.read > journalSize {
		return j.rotate()
	}
	return nil
}

// readAll reads on, also in the file that follows one that another process has put aside.
func (j *Journal) readAll() (tail []byte, err error) {
	if j.file == nil {
		return nil, nil
	}
	have, err := j.file.Stat()
	if err != nil {
		return nil, err
	}
	if named, err := os.Stat(j.path); err != nil || !os.SameFile(have, named) {
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
	have, err := j.file.Stat()
	if err != nil || have.Size() <= j.read {
		return nil, err
	}
	data, err := io.ReadAll(io.NewSectionReader(j.file, j.read, have.Size()-j.read))
	if err != nil {
		return nil, err
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	j.read += int64(whole)
	j.parse(data[:whole])
	return data[whole:], nil
}

// rotate puts the file aside and carries the open acts over.
func (j *Journal) rotate() error {
	if err := os.Rename(j.path, filepath.Join(filepath.Dir(j.path), "journal.1.jsonl")); err != nil {
		return err
	}
	if err := j.reopen(); err != nil {
		return err
	}
	for _, a := range j.order {
		if !a.open() {
			continue
		}
		lines := []Entry{a.Entry}
		if !a.upid.IsZero() {
			lines = append(lines, Entry{Format: 1, Time: a.Time, Act: a.Act, Step: stepTask, UPID: a.upid})
		}
		for _, e := range lines {
			line, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if err := j.write(append(line, '\n')); err != nil {
				return err
			}
		}
		a.began = j.files
	}
	return j.file.Sync()
}

// write adds to the file. A line of which a full disk took only a part is ended before the
// next one, else both could not be read.
func (j *Journal) write(line []byte) error {
	if j.torn {
		line = append([]byte("\n"), line...)
	}
	n, err := j.file.Write(line)
	j.read += int64(n)
	if n > 0 {
		j.torn = err != nil
	}
	return err
}

// parse adds lines to what is known. A line that does not parse was torn by a crash, or
// damaged; one of another format was written by another version. Both are passed over.
func (j *Journal) parse(data []byte) {
	for line := range bytes.Lines(data) {
		var e Entry
		switch err := json.Unmarshal(line, &e); {
		case err == nil && e.Format == 1:
			j.apply(e)
		case len(bytes.TrimSpace(line)) > 0:
			j.unread++
		}
	}
}

func (j *Journal) apply(e Entry) {
	a := j.acts[e.Act]
	if e.Step == stepIntent {
		if a == nil {
			a = &act{Entry: e, key: actKey(e.ID, e.Call, e.Op)}
			j.acts[e.Act] = a
			j.order = append(j.order, a)
		}
		a.began = j.files // where it was open when a file was put aside, it stands in the next one too
		return
	}
	if a == nil {
		return // its intent was rotated away
	}
	switch e.Step {
	case stepTask:
		a.upid = e.UPID
	case stepOutcome:
		if a.open() {
			a.result, a.text, a.log, a.ended, a.outcomeFacts = e.Result, e.Text, e.Log, e.Time, e.Facts
		}
	}
}

// append writes a line. An intent is on the disk when it returns.
func (j *Journal) append(e Entry) error {
	e.Format = 1
	if j.barrier != nil {
		if err := j.barrier(e); err != nil {
			return err
		}
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		j.mem.Write(line)
		if e.Step == stepIntent && !deliberate.skipSync {
			j.safe = j.mem.Len()
		}
		j.apply(e)
		return nil
	}
	err = j.write(line)
	if err == nil && e.Step == stepIntent && !deliberate.skipSync {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("the journal %s cannot be written: %w; make room: nothing is done without it", j.path, err)
	}
	j.apply(e)
	return nil
}

// open returns the acts that have no outcome.
func (j *Journal) open() []*act {
	j.mu.Lock()
	defer j.mu.Unlock()
	var open []*act
	for _, a := range j.order {
		if a.open() {
			open = append(open, a)
		}
	}
	return open
}

// claims reports whether a task is that of an act.
func (j *Journal) claims(upid proxmox.UPID) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.order, func(a *act) bool { return a.upid == upid })
}

func (j *Journal) act(name string) *act {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.acts[name]
}

var actNumber atomic.Int64

// newAct names an act uniquely among all processes that share a journal.
func newAct() string {
	return fmt.Sprintf("%x-%x-%x", time.Now().UnixNano(), os.Getpid(), actNumber.Add(1))
}
