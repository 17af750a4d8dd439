package proxmox

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TaskStatus is the state of a task.
type TaskStatus struct {
	UPID    UPID
	Running bool
	// ExitStatus is OK, WARNINGS: N or what went wrong; "" while it runs.
	ExitStatus string
	// Warnings are the WARN: lines of its log; only as returned by WaitTask.
	Warnings []string
}

// OK tells that the task ended well, perhaps with warnings.
func (s TaskStatus) OK() bool { return !s.Running && taskSucceeded(s.ExitStatus) }

func taskSucceeded(exit string) bool { return exit == "OK" || strings.HasPrefix(exit, "WARNINGS: ") }

// TaskStatusOnce asks once. The zero UPID, no task, has ended well.
func (c *Client) TaskStatusOnce(ctx context.Context, upid UPID) (TaskStatus, error) {
	return c.taskStatus(ctx, upid, c.conn.retries)
}

func (c *Client) taskStatus(ctx context.Context, upid UPID, retries int) (TaskStatus, error) {
	if upid.IsZero() {
		return TaskStatus{ExitStatus: "OK"}, nil
	}
	r, err := c.fetch(ctx, taskPath(upid, "status"), nil, retries)
	if err != nil {
		return TaskStatus{}, err
	}
	w, _, err := decode[struct{ Status, ExitStatus text }](r)
	if err != nil {
		return TaskStatus{}, err
	}
	switch w.Status {
	case "running":
		return TaskStatus{UPID: upid, Running: true}, nil
	case "stopped":
		// A task that was killed outright may leave nothing to read.
		return TaskStatus{UPID: upid, ExitStatus: cmp.Or(string(w.ExitStatus), "unexpected status")}, nil
	}
	return TaskStatus{}, r.fault("its status is %q, neither running nor stopped", w.Status)
}

func taskPath(upid UPID, what string) string {
	return On(upid.Node).path("tasks", upid.String(), what)
}

// ended reads what the log adds to the end of a task. A log that cannot be
// read does not change the verdict.
func (c *Client) ended(ctx context.Context, s TaskStatus, tail int) (TaskStatus, error) {
	if s.ExitStatus == "OK" {
		return s, nil
	}
	if s.OK() {
		log, _ := c.TaskLogTail(ctx, s.UPID, 1000)
		for _, line := range log {
			if strings.HasPrefix(line, "WARN: ") {
				s.Warnings = append(s.Warnings, strings.TrimPrefix(line, "WARN: "))
			}
		}
		return s, nil
	}
	e := &TaskError{UPID: s.UPID, ExitStatus: s.ExitStatus}
	if tail > 0 {
		e.LogTail, _ = c.TaskLogTail(ctx, s.UPID, tail)
	}
	e.Denied = parseDenied(strings.Join(taskReasons(e.ExitStatus, e.LogTail), "\n"))
	return s, e
}

// TaskLogTail reads the last n lines of a task's log. (PVE's own default is
// the first 50.) The error IsNotFound when PVE has thrown the log away.
func (c *Client) TaskLogTail(ctx context.Context, upid UPID, n int) ([]string, error) {
	if upid.IsZero() || n <= 0 {
		return nil, nil
	}
	lines, total, err := c.taskLog(ctx, upid, 0, n)
	if err == nil && total > n {
		lines, _, err = c.taskLog(ctx, upid, total-n, n)
	}
	return lines, err
}

// TaskLog reads all of a task's log. The error IsNotFound when PVE has thrown it away.
func (c *Client) TaskLog(ctx context.Context, upid UPID) ([]string, error) {
	if upid.IsZero() {
		return nil, nil
	}
	lines, _, err := c.taskLog(ctx, upid, 0, 0)
	return lines, err
}

func (c *Client) taskLog(ctx context.Context, upid UPID, start, limit int) ([]string, int, error) {
	r, err := c.get(ctx, taskPath(upid, "log"), Params{"start": strconv.Itoa(start), "limit": strconv.Itoa(limit)})
	if err != nil {
		return nil, 0, err
	}
	w, total, err := decode[[]struct{ T text }](r)
	if err != nil {
		return nil, 0, err
	}
	lines := make([]string, len(w))
	for i, line := range w {
		lines[i] = string(line.T)
	}
	if len(lines) == 1 && start == 0 {
		// PVE says these two, with status 200, in place of a log.
		if lines[0] == "no content" {
			return nil, 0, nil
		}
		if strings.HasPrefix(lines[0], "unable to open file - ") {
			return nil, 0, &APIError{Method: r.method, Path: r.path, Status: r.status, Message: lines[0]}
		}
	}
	return lines, total, nil
}

// Task is an entry of a node's task list.
type Task struct {
	// UPID is zero for a task that bears a name which no task of ours has, such as a
	// download of a file with a blank in its name.
	UPID               UPID
	StartTime, EndTime time.Time // EndTime is zero while it runs
	Type, ID           string
	User, TokenID      string // as PVE has them; see Owner
	Status             string // the exit status; RUNNING while it runs
}

// Running tells that the task has not ended.
func (t Task) Running() bool { return t.EndTime.IsZero() }

// OK tells that the task ended well, perhaps with warnings.
func (t Task) OK() bool { return !t.Running() && taskSucceeded(t.Status) }

// Owner is who started the task: USER@REALM, or the full token id. (PVE keeps
// the token's name apart for ended tasks only.)
func (t Task) Owner() string {
	if t.TokenID == "" || strings.Contains(t.User, "!") {
		return t.User
	}
	return t.User + "!" + t.TokenID
}

// identity is what a task is known by: its UPID, else all that never changes of it.
func (t Task) identity() Task {
	if !t.UPID.IsZero() {
		return Task{UPID: t.UPID}
	}
	return Task{StartTime: t.StartTime, Type: t.Type, ID: t.ID, User: t.User}
}

// merge takes another entry of the same task into account, cautiously: a task runs while one
// entry says so (PVE reads the tasks that run and those that ended from two files), and
// ended well only where none says otherwise.
func (t *Task) merge(other Task) {
	switch {
	case t.Running() || other.Running():
		t.EndTime, t.Status = time.Time{}, "RUNNING"
	case !t.OK() || !other.OK():
		if t.OK() {
			t.Status = other.Status
		}
		t.EndTime = later(t.EndTime, other.EndTime)
	default:
		t.EndTime = later(t.EndTime, other.EndTime)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// TaskFilter narrows the task list; the zero value is PVE's: the newest 50 of
// those that have ended.
type TaskFilter struct {
	Source string // archive, active or all
	Type   string // vzdump …
	// VMID matches the task's whole id, so that deletions of a guest's archives
	// (111@usb-backup) and backups of several guests are not found by it.
	VMID         VMID
	User         string // part of the user's name
	Since, Until time.Time
	Errors       bool // only those that did not end with OK
	Start, Limit int  // Limit 0: 50
}

// Tasks lists a node's tasks, newest first, and how many there are in all. A
// token sees its own, and all others with Sys.Audit on the node.
func (v *View) Tasks(ctx context.Context, node string, f TaskFilter) ([]Task, int, error) {
	p := Params{}
	p.set("source", f.Source)
	p.set("typefilter", f.Type)
	p.set("userfilter", f.User)
	for key, n := range map[string]int{"vmid": int(f.VMID), "start": f.Start, "limit": f.Limit} {
		if n != 0 {
			p[key] = strconv.Itoa(n)
		}
	}
	for key, t := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !t.IsZero() {
			p[key] = strconv.FormatInt(t.Unix(), 10)
		}
	}
	if f.Errors {
		p["errors"] = "1"
	}
	r, err := v.get(ctx, On(node).path("tasks"), p)
	if err != nil {
		return nil, 0, err
	}
	return taskList(r)
}

func taskList(r *reply) ([]Task, int, error) {
	tasks, total, err := decodedOnce(r, func() ([]Task, int, error) { return tasksOf(r) })
	return slices.Clone(tasks), total, err
}

func tasksOf(r *reply) ([]Task, int, error) {
	w, total, err := decode[[]struct {
		UPID                            text
		StartTime, EndTime              number
		Type, ID, User, TokenID, Status text
	}](r)
	if err != nil {
		return nil, 0, err
	}
	tasks := make([]Task, 0, len(w))
	for _, e := range w {
		upid, err := ParseUPID(string(e.UPID))
		if err != nil && (e.UPID == "" || e.Type == "" || e.User == "") {
			return nil, 0, r.fault("%v", err)
		}
		tasks = append(tasks, Task{
			UPID: upid, StartTime: unix(e.StartTime), EndTime: unix(e.EndTime),
			Type: string(e.Type), ID: string(e.ID), User: string(e.User), TokenID: string(e.TokenID), Status: string(e.Status),
		})
	}
	tasks = distinct(tasks, Task.identity, (*Task).merge)
	slices.SortStableFunc(tasks, func(a, b Task) int { return b.StartTime.Compare(a.StartTime) })
	return tasks, max(total, len(tasks)), nil
}
