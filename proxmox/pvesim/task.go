package pvesim

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A task is one worker. It is data, so that a world file can hold it half way:
// each phase of it is a step that is due at a time.
type task struct {
	Type     string            `yaml:"type"`
	ID       string            `yaml:"id,omitempty"`
	User     string            `yaml:"user"`
	PID      int               `yaml:"pid"`
	PStart   int64             `yaml:"pstart"`
	Start    int64             `yaml:"start"`
	End      int64             `yaml:"end,omitempty"`
	Status   string            `yaml:"status,omitempty"` // how it ended
	Log      []string          `yaml:"log,omitempty"`
	Args     map[string]string `yaml:"args,omitempty"`
	Phase    int               `yaml:"phase,omitempty"`
	Due      time.Time         `yaml:"due,omitempty"`
	Length   time.Duration     `yaml:"length,omitempty"`
	Wait     string            `yaml:"wait,omitempty"` // the lock that it waits for
	Until    time.Time         `yaml:"until,omitempty"`
	Holds    []string          `yaml:"holds,omitempty"` // the locks that it has
	Hung     bool              `yaml:"hung,omitempty"`
	Warnings int               `yaml:"warnings,omitempty"`
	Fault    string            `yaml:"fault,omitempty"`
	Text     string            `yaml:"text,omitempty"` // of the fault
	// Unwatched is set where the daemon that began it was restarted: it goes on, and is not
	// listed as active any more.
	Unwatched bool `yaml:"unwatched,omitempty"`

	node *node
	name string // the UPID
}

// TaskInfo names a task whose duration is asked for.
type TaskInfo struct {
	Node string
	Type string // vzrestore, vzdump, imgdel …
	ID   string // VMID, VMID@STORAGE, or empty
	User string
	Size int64 // bytes that the task moves, 0 when it moves none
}

var (
	errDone   = errors.New("the task is done")
	errWait   = errors.New("the task waits for a lock")
	errVanish = errors.New("the task ends without a last line")
)

// defaultDuration is believable for a small machine with an SSD and a USB disk.
func defaultDuration(t TaskInfo) time.Duration {
	gib := float64(t.Size) / (1 << 30)
	between := func(least, most, perGiB float64) time.Duration {
		return time.Duration(min(least+gib*perGiB, most) * float64(time.Second))
	}
	switch t.Type {
	case "vzrestore", "vzclone", "move_volume", "vzmigrate":
		return between(20, 40, 6)
	case "vzdump":
		return between(20, 60, 10)
	case "vzcreate":
		return 15 * time.Second
	case "vzstart":
		return 3 * time.Second
	case "vzshutdown":
		return 4 * time.Second
	case "vzreboot":
		return 7 * time.Second
	case "vzdestroy":
		return 3 * time.Second
	case "imgdel", "prunebackups", "vzstop":
		return time.Second
	}
	return 2 * time.Second
}

// start makes a worker; its first phase is due at once.
func (s *Sim) start(n *node, kind, id, user string, size int64, args map[string]string) *task {
	n.PID++
	t := &task{Type: kind, ID: id, User: user, PID: n.PID, Start: s.now.Unix(), Args: args, Due: s.now, node: n}
	t.PStart = s.now.Sub(time.Unix(n.Boot, 0)).Milliseconds() / 10
	if t.PStart < 0 {
		t.PStart = 0
	}
	t.Length = s.duration(TaskInfo{Node: n.Name, Type: kind, ID: id, User: user, Size: size})
	if f := s.fault("task " + kind + " " + id); f != nil {
		t.Fault, t.Text = f.Effect, f.Text
	}
	if t.Args == nil {
		t.Args = make(map[string]string)
	}
	n.Tasks = append(n.Tasks, t)
	n.byUPID[t.upid()] = t
	s.running = append(s.running, t)
	return t
}

func (t *task) upid() string {
	if t.name == "" {
		t.name = fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:%s:", t.nodeName(), t.PID, t.PStart, t.Start, t.Type, t.ID, t.User)
	}
	return t.name
}

func (t *task) nodeName() string {
	if t.node == nil {
		return ""
	}
	return t.node.Name
}

func (t *task) vmid() int { return atoi(t.ID) }

func (t *task) log(format string, args ...any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	t.Log = append(t.Log, strings.Split(text, "\n")...)
}

// then lets the next phase be due after a part of the task's length.
func (s *Sim) then(t *task, part float64) error {
	t.Phase++
	t.Due = s.now.Add(time.Duration(float64(t.Length) * part))
	return nil
}

// after is then with a time of its own.
func (s *Sim) after(t *task, d time.Duration) error {
	t.Phase++
	t.Due = s.now.Add(d)
	return nil
}

// step runs the phase that is due.
func (s *Sim) step(t *task) {
	var err error
	switch {
	case t.Fault == "fail" && t.Phase >= t.midway():
		err = errors.New(t.Text)
		if t.Text == "" {
			err = errors.New("command failed: exit code 1")
		}
	case t.Fault == "die" && t.Phase >= t.midway():
		s.end(t, "")
		return
	case t.Fault == "hollow" && t.Phase >= t.midway():
		s.end(t, "OK")
		return
	case t.Fault == "hang" && t.Phase >= t.midway():
		t.Hung = true
		return
	default:
		err = s.run(t)
	}
	switch {
	case err == nil || errors.Is(err, errWait):
	case errors.Is(err, errDone):
		if t.Fault == "warn" {
			text := t.Text
			if text == "" {
				text = "something is not as it should be"
			}
			t.log("WARN: %s", text)
			t.Warnings++
		}
		if t.Warnings > 0 {
			s.end(t, fmt.Sprintf("WARNINGS: %d", t.Warnings))
		} else {
			s.end(t, "OK")
		}
	case errors.Is(err, errVanish):
		s.end(t, "")
	default:
		s.undo(t, err)
		s.end(t, s.failure(t, err))
	}
}

// midway is the phase at which a fault hits.
func (t *task) midway() int {
	if t.Type == "vzdump" {
		return 2
	}
	return 1
}

// failure is a task's last line for an error.
func (s *Sim) failure(t *task, err error) string {
	text := strings.TrimRight(inTask(err), "\n")
	switch t.Type {
	case "vzcreate":
		text = "unable to create CT " + t.ID + " - " + text
	case "vzrestore":
		text = "unable to restore CT " + t.ID + " - " + text
	case "vzclone":
		text = "clone failed: " + text
	case "vzdump":
		if t.Phase >= 1 {
			text = "job errors"
		}
	}
	return text
}

// end finishes a task; an empty status is a worker that wrote no last line.
func (s *Sim) end(t *task, status string) {
	switch {
	case status == "":
		status = "unexpected status"
	case status == "OK":
		t.log("TASK OK")
	case strings.HasPrefix(status, "WARNINGS: "):
		t.log("TASK %s", status)
	default:
		t.log("TASK ERROR: %s", status)
		status = strings.ReplaceAll(status, "\n", " ")
	}
	t.Status = status
	t.End = s.now.Unix()
	t.Wait = ""
	for i, r := range s.running {
		if r == t {
			s.running = append(s.running[:i:i], s.running[i+1:]...)
			break
		}
	}
	n := t.node
	for i, o := range n.Tasks { // finished ones in the order of their ends
		if o == t {
			n.Tasks = append(append(n.Tasks[:i:i], n.Tasks[i+1:]...), t)
			break
		}
	}
	holds := t.Holds
	t.Holds = nil
	for _, key := range holds {
		s.release(key, t.upid())
	}
	if len(n.Tasks) > keepTasks {
		s.forgetTasks(n)
	}
}

// keepTasks is about what PVE's two index files hold.
const keepTasks = 1000

func (s *Sim) forgetTasks(n *node) {
	over := len(n.Tasks) - keepTasks*9/10
	kept := n.Tasks[:0:0]
	for _, t := range n.Tasks {
		if over > 0 && t.End != 0 {
			delete(n.byUPID, t.upid())
			over--
			continue
		}
		kept = append(kept, t)
	}
	n.Tasks = kept
}

// kill is DELETE of a running task: SIGTERM to its process group.
func (s *Sim) kill(t *task) {
	if t.End != 0 {
		return
	}
	switch {
	case t.Type == "vzdump" && t.Wait == vzdumpLock(t.node):
		t.log("ERROR: can't acquire lock '/var/run/vzdump.lock' - interrupted by signal")
		s.end(t, "")
	case t.Type == "vzdump" && t.Phase >= 2:
		s.vzdumpFailed(t, s.dumpCommand(t, "interrupted by signal"))
		t.log("INFO: Backup job finished with errors")
		s.end(t, "job errors")
	case t.Type == "vzclone":
		err := errors.New("interrupted by signal")
		s.undo(t, err)
		s.end(t, s.failure(t, err))
	default:
		err := errors.New("received interrupt")
		s.undo(t, err)
		s.end(t, err.Error())
	}
}

// run is the phase that is due, by the task's type.
func (s *Sim) run(t *task) error {
	switch t.Type {
	case "vzdump", "imgdel", "prunebackups", "startall", "stopall", "vzstop", "vzshutdown", "vzsuspend", "vzresume":
	default:
		if err := s.writable(t.node, t.vmid()); err != nil {
			return err
		}
	}
	switch t.Type {
	case "vzcreate", "vzrestore":
		return s.runCreate(t)
	case "vzstart":
		return s.runStart(t)
	case "vzstop", "vzshutdown":
		return s.runStop(t)
	case "vzreboot":
		return s.runReboot(t)
	case "vzsuspend", "vzresume":
		return s.runFreeze(t)
	case "vzsnapshot":
		return s.runSnapshot(t)
	case "vzdelsnapshot":
		return s.runDeleteSnapshot(t)
	case "vzrollback":
		return s.runRollback(t)
	case "vzdestroy":
		return s.runDestroy(t)
	case "resize":
		return s.runResize(t)
	case "move_volume":
		return s.runMove(t)
	case "vzclone":
		return s.runClone(t)
	case "vztemplate":
		return s.runTemplate(t)
	case "vzdump":
		return s.runVzdump(t)
	case "imgdel":
		return s.runDelete(t)
	case "prunebackups":
		return s.runPrune(t)
	case "hastart", "hastop":
		return s.runHA(t)
	case "startall", "stopall":
		return s.runAll(t)
	}
	return errDone
}

// undo is what a task cleans up when it fails.
func (s *Sim) undo(t *task, err error) {
	switch t.Type {
	case "vzcreate", "vzrestore":
		s.undoCreate(t)
	case "vzsnapshot":
		s.undoSnapshot(t)
	case "vzclone":
		s.undoClone(t)
	case "vzdelsnapshot", "vzrollback", "move_volume":
		s.undoLock(t)
	case "vzdump":
		if t.Phase >= 2 {
			s.vzdumpFailed(t, err)
			t.log("INFO: Backup job finished with errors")
		}
	}
}
