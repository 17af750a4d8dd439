package cluster

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// TaskInfo names a task whose duration is asked for.
type TaskInfo struct {
	Node string
	Type string // vzrestore, vzdump, imgdel …
	ID   string // VMID, VMID@STORAGE, or empty
	User string
	Size int64 // bytes that the task moves, 0 when it moves none
}

var (
	// ErrDone ends a task well.
	ErrDone = errors.New("the task is done")
	// ErrWait keeps a task in its phase until it has a lock.
	ErrWait = errors.New("the task waits for a lock")
	// ErrVanish ends a task without a last line, as when its process is killed.
	ErrVanish = errors.New("the task ends without a last line")
)

// DefaultDuration is believable for a small machine with an SSD and a USB disk.
func DefaultDuration(t TaskInfo) time.Duration {
	gib := float64(t.Size) / (1 << 30)
	between := func(least, most, perGiB float64) time.Duration {
		return time.Duration(min(least+gib*perGiB, most) * float64(time.Second))
	}
	kind := t.Type
	if act, ok := strings.CutPrefix(kind, "qm"); ok { // a virtual machine takes as long
		kind = "vz" + act
	}
	switch kind {
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

// Start makes a worker; its first phase is due at once.
func (cl *Cluster) Start(n *world.Node, kind, id, user string, size int64, args map[string]string) *world.Task {
	n.PID++
	t := &world.Task{Type: kind, ID: id, User: user, PID: n.PID, Start: cl.Now.Unix(), Args: args, Due: cl.Now, Node: n}
	t.PStart = cl.Now.Sub(time.Unix(n.Boot, 0)).Milliseconds() / 10
	if t.PStart < 0 {
		t.PStart = 0
	}
	t.Length = cl.Duration(TaskInfo{Node: n.Name, Type: kind, ID: id, User: user, Size: size})
	if f := cl.FaultFor("task " + kind + " " + id); f != nil {
		t.Fault, t.Text = f.Effect, f.Text
	}
	if t.Args == nil {
		t.Args = make(map[string]string)
	}
	n.Tasks = append(n.Tasks, t)
	n.ByUPID[t.UPID()] = t
	cl.Running = append(cl.Running, t)
	listTasks(cl, n)
	return t
}

// listTasks writes the list of tasks, as every worker does that begins or ends. PVE: RESTEnvironment.pm, active_workers.
func listTasks(cl *Cluster, n *world.Node) {
	n.TaskWrites++
	n.TasksAt = cl.Now
}

// Then lets the next phase be due after a part of the task's length.
func (cl *Cluster) Then(t *world.Task, part float64) error {
	t.Phase++
	t.Due = cl.Now.Add(time.Duration(float64(t.Length) * part))
	return nil
}

// After is then with a time of its own.
func (cl *Cluster) After(t *world.Task, d time.Duration) error {
	t.Phase++
	t.Due = cl.Now.Add(d)
	return nil
}

// runStep runs the phase that is due.
func runStep(cl *Cluster, t *world.Task) {
	var err error
	switch {
	case t.Fault == "fail" && t.Phase >= t.Midway():
		err = errors.New(t.Text)
		if t.Text == "" {
			err = errors.New("command failed: exit code 1")
		}
	case t.Fault == "die" && t.Phase >= t.Midway():
		cl.End(t, "")
		return
	case t.Fault == "hollow" && t.Phase >= t.Midway():
		cl.End(t, "OK")
		return
	case t.Fault == "hang" && t.Phase >= t.Midway():
		t.Hung = true
		return
	default:
		err = cl.duties.Run(cl, t)
	}
	switch {
	case err == nil || errors.Is(err, ErrWait):
	case errors.Is(err, ErrDone):
		if t.Fault == "warn" {
			text := t.Text
			if text == "" {
				text = "something is not as it should be"
			}
			t.Logf("WARN: %s", text)
			t.Warnings++
		}
		if t.Warnings > 0 {
			cl.End(t, fmt.Sprintf("WARNINGS: %d", t.Warnings))
		} else {
			cl.End(t, "OK")
		}
	case errors.Is(err, ErrVanish):
		cl.End(t, "")
	default:
		cl.duties.Undo(cl, t, err)
		cl.End(t, t.Failure(err))
	}
}

// End finishes a task; an empty status is a worker that wrote no last line.
func (cl *Cluster) End(t *world.Task, status string) {
	switch {
	case status == "":
		status = "unexpected status"
	case status == "OK":
		t.Logf("TASK OK")
	case strings.HasPrefix(status, "WARNINGS: "):
		t.Logf("TASK %s", status)
	default:
		t.Logf("TASK ERROR: %s", status)
		status = strings.ReplaceAll(status, "\n", " ")
	}
	t.Status = status
	t.End = cl.Now.Unix()
	t.Wait = ""
	for i, r := range cl.Running {
		if r == t {
			cl.Running = append(cl.Running[:i:i], cl.Running[i+1:]...)
			break
		}
	}
	n := t.Node
	listTasks(cl, n)
	for i, o := range n.Tasks { // finished ones in the order of their ends
		if o == t {
			n.Tasks = append(append(n.Tasks[:i:i], n.Tasks[i+1:]...), t)
			break
		}
	}
	holds := t.Holds
	t.Holds = nil
	for _, key := range holds {
		cl.release(key, t.UPID())
	}
	if len(n.Tasks) > world.KeepTasks {
		n.ForgetTasks()
	}
}

// Kill is DELETE of a running task: SIGTERM to its process group.
func (cl *Cluster) Kill(t *world.Task) {
	if t.End != 0 {
		return
	}
	switch {
	case cl.duties.Interrupt(cl, t):
	case t.Type == "vzclone":
		err := errors.New("interrupted by signal")
		cl.duties.Undo(cl, t, err)
		cl.End(t, t.Failure(err))
	default:
		err := errors.New("received interrupt")
		cl.duties.Undo(cl, t, err)
		cl.End(t, err.Error())
	}
}
