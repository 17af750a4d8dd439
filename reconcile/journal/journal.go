package journal

import (
	"bytes"
	"cmp"
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
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// An Entry is one line of the journal. Every act has an intent, which is on the
// disk before anything is sent, then the task that PVE started, and an outcome:
// no line, no act. The journal is a memory of acts, never of state: losing it costs
// an audit trail, some waiting and one question to a person.
type Entry struct {
	Format int       `json:"v"` // of this line: 1
	Time   time.Time `json:"t"` // by the node's clock
	Act    string    `json:"action"`
	Step   string    `json:"step"` // stepIntent, stepTask or stepOutcome

	ID      string            `json:"id,omitempty"` // of the action
	Object  string            `json:"object,omitempty"`
	Verb    string            `json:"verb,omitempty"`
	Text    string            `json:"text,omitempty"`
	Queue   string            `json:"queue,omitempty"`
	Limit   string            `json:"concurrency,omitempty"`
	Effect  plan.Effect       `json:"effect,omitempty"`
	Timeout time.Duration     `json:"timeout,omitempty"`
	Call    *proxmox.Call     `json:"call,omitempty"`
	Op      *privileged.Op    `json:"op,omitempty"`
	Before  []string          `json:"before,omitempty"` // tasks on the same guest that were there before
	Facts   map[string]string `json:"facts,omitempty"`

	UPID proxmox.UPID `json:"upid,omitzero"`

	Result string   `json:"result,omitempty"`
	Log    []string `json:"log,omitempty"` // the end of the task's log, after a failure

	// Sum ends the line: the checksum of the line without it, as 12 hexadecimal digits. A
	// line without one was written by an earlier version.
	Sum string `json:"sum,omitempty"`
}

// line prints an entry as a line of the journal, with its checksum.
func (e Entry) line() ([]byte, error) {
	e.Format, e.Sum = 1, ""
	plain, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s%s%s%s\n", plain[:len(plain)-1], sumHead, text.ShortHash(string(plain)), sumTail), nil
}

// What stands around the checksum at the end of a line.
const sumHead, sumTail = `,"sum":"`, `"}`

// parseLine reads a line of the journal. What is damaged, and what this version does not
// know (a key, a step, a format), is an error.
func parseLine(line []byte) (Entry, error) {
	var read struct {
		Entry
		// The keys that earlier versions wrote.
		Act    string `json:"act"`
		Lane   string `json:"lane"`
		Budget string `json:"budget"`
	}
	line = bytes.TrimSpace(line)
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&read)
	e := read.Entry
	e.Act, e.Queue, e.Limit = cmp.Or(e.Act, read.Act), cmp.Or(e.Queue, read.Lane), cmp.Or(e.Limit, read.Budget)
	switch {
	case err != nil:
		return e, err
	case decoder.InputOffset() != int64(len(line)):
		return e, errors.New("something follows its end")
	case e.Format != 1:
		return e, fmt.Errorf("format %d, and this version knows 1", e.Format)
	case e.Step != StepIntent && e.Step != StepTask && e.Step != StepOutcome:
		return e, fmt.Errorf("unknown step %q", e.Step)
	case e.Sum == "":
		return e, nil
	}
	body, _, ok := bytes.Cut(line, []byte(sumHead+e.Sum+sumTail))
	if !ok || text.ShortHash(string(body)+"}") != e.Sum {
		return e, errors.New("its checksum does not match")
	}
	e.Sum = ""
	return e, nil
}

// The steps of an act.
const (
	StepIntent  = "intent"
	StepTask    = "task"
	StepOutcome = "outcome"
)

// The results of an act.
const (
	ResultOK      = "ok"
	ResultFailed  = "failed"  // its task failed
	ResultRefused = "refused" // PVE or the fence said no: there was no task
	ResultLocked  = "locked"  // somebody else held the lock: it is tried again
	ResultUnsent  = "unsent"  // it was never delivered
	ResultLost    = "lost"    // its answer was lost, and nothing of it is found
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
	read int64 // how far acts has been read from the file
	acts map[string]*Operation
	// Order is the acts in the order of their intents.
	Order []*Operation
	// unread counts the lines that could not be read.
	unread int
	// whyUnread says why the last of them could not.
	whyUnread error
	torn      bool // the last line that this process wrote has no end
	Fresh     bool // there was no file before this process
	// files counts those that were put aside since; acts know in which they began.
	files int
	// Barrier is asked before a line is written; tests end a life of the agent there.
	Barrier func(Entry) error
}

// Operation is what the journal knows of one act.
type Operation struct {
	Entry               // its intent
	Key          string // see actKey
	began        int    // see Journal.files
	Upid         proxmox.UPID
	Result       string
	text         string
	log          []string
	ended        time.Time
	outcomeFacts map[string]string
	Lost         time.Time // when its answer was given up, by the clock of this process
	Sought       time.Time // since when this process looks for its task, by its own clock
	Sent         bool      // by this process
}

func (a *Operation) Open() bool { return a.Result == "" }

// OpenJournal opens the journal in a directory, which must exist.
func OpenJournal(dir string) (*Journal, error) {
	j := &Journal{Path: filepath.Join(dir, "journal.jsonl"), acts: map[string]*Operation{}}
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
func MemoryJournal() *Journal { return &Journal{acts: map[string]*Operation{}} }

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

// forget drops the acts that ended and stand in no file any more, as a process that is
// started now would not know them: a service that runs for years needs no more memory
// than its files take.
func (j *Journal) forget() {
	j.Order = slices.DeleteFunc(j.Order, func(a *Operation) bool {
		gone := !a.Open() && a.began < j.files
		if gone {
			delete(j.acts, a.Act)
		}
		return gone
	})
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

// rotate puts the file aside and carries the open acts over.
func (j *Journal) rotate() error {
	if err := os.Rename(j.Path, filepath.Join(filepath.Dir(j.Path), "journal.1.jsonl")); err != nil {
		return err
	}
	if err := j.reopen(); err != nil {
		return err
	}
	for _, a := range j.Order {
		if !a.Open() {
			continue
		}
		lines := []Entry{a.Entry}
		if !a.Upid.IsZero() {
			lines = append(lines, Entry{Format: 1, Time: a.Time, Act: a.Act, Step: StepTask, UPID: a.Upid})
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

// Parse adds lines to what is known. A line that cannot be read was torn by a crash, is
// damaged, or was written by another version. It is passed over and counted.
func (j *Journal) Parse(data []byte) {
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		e, err := parseLine(line)
		if err != nil {
			j.unread++
			j.whyUnread = err
			continue
		}
		j.apply(e)
	}
}

func (j *Journal) apply(e Entry) {
	a := j.acts[e.Act]
	if e.Step == StepIntent {
		if a == nil {
			a = &Operation{Entry: e, Key: ActKey(e.ID, e.Call, e.Op)}
			j.acts[e.Act] = a
			j.Order = append(j.Order, a)
		}
		a.began = j.files // where it was open when a file was put aside, it stands in the next one too
		return
	}
	if a == nil {
		return // its intent was rotated away
	}
	switch e.Step {
	case StepTask:
		a.Upid = e.UPID
	case StepOutcome:
		if a.Open() {
			a.Result, a.text, a.log, a.ended, a.outcomeFacts = e.Result, e.Text, e.Log, e.Time, e.Facts
		}
	}
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

// Open returns the acts that have no outcome.
func (j *Journal) Open() []*Operation {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	var open []*Operation
	for _, a := range j.Order {
		if a.Open() {
			open = append(open, a)
		}
	}
	return open
}

// Claims reports whether a task is that of an act.
func (j *Journal) Claims(upid proxmox.UPID) bool {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	return slices.ContainsFunc(j.Order, func(a *Operation) bool { return a.Upid == upid })
}

func (j *Journal) Act(name string) *Operation {
	j.Mu.Lock()
	defer j.Mu.Unlock()
	return j.acts[name]
}

var actNumber atomic.Int64

// NewAct names an act uniquely among all processes that share a journal.
func NewAct() string {
	return fmt.Sprintf("%x-%x-%x", time.Now().UnixNano(), os.Getpid(), actNumber.Add(1))
}
