package applying

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// adopt gives a waiter to every act that has none in this process, and finds out what
// became of those whose answer was lost.
func (a *Agent) adopt(ctx context.Context, have *node.Observed) error {
	for _, act := range a.O.Journal.Open() {
		if a.lookedAfter(act, have) {
			continue
		}
		switch {
		case !act.Upid.IsZero():
			a.mu.Lock()
			late := slices.Contains(a.overdue, act) // it has ended at last, and is judged like any other
			a.mu.Unlock()
			if !late {
				a.tell(act, "adopted", "it was begun earlier")
			}
			a.wait(ctx, act, endOf(act.Upid, have))
		case act.Op != nil:
			if have.Host != nil && !slices.ContainsFunc(have.Host.Running, func(op privileged.RunningOp) bool { return op.Lane == act.Queue }) {
				if err := a.settle(act, journal.ResultLost, "the process that did it ended; the state of the host decides", have.Now); err != nil {
					return err
				}
			}
		default:
			if upid, ok := a.Find(act, have); ok {
				if err := a.O.Journal.Append(journal.Entry{Time: have.Now, Act: act.Act, Step: journal.StepTask, UPID: upid}); err != nil {
					return err
				}
				a.tell(act, "adopted", "its answer was lost; the task list has it: "+upid.String())
				a.wait(ctx, act, endOf(upid, have))
			} else if act.Sought.IsZero() {
				act.Sought = time.Now() // how long an earlier process waited for the answer, nobody knows
			} else if min(time.Since(act.Sought), time.Since(act.Lost)) > a.O.Settle {
				if err := a.giveUpLost(act, have); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// endOf is when a task has ended, by the node's clock, as the task list says; zero: not
// yet, or it does not say.
func endOf(upid proxmox.UPID, have *node.Observed) time.Time {
	for _, t := range have.Tasks {
		if t.UPID == upid && !t.Running() {
			return t.EndTime
		}
	}
	return time.Time{}
}

// lookedAfter reports whether nothing is to be found out of an open act: its waiter
// will tell, or has told, how it ended, or it is overdue and goes on.
func (a *Agent) lookedAfter(act *journal.Operation, have *node.Observed) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	goesOn := func(t proxmox.Task) bool { return t.UPID == act.Upid && t.Running() }
	return a.waiting[act.Act] || slices.ContainsFunc(a.ended, func(e ending) bool { return e.act == act }) ||
		slices.Contains(a.overdue, act) && slices.ContainsFunc(have.Tasks, goesOn)
}

// giveUpLost settles an act whose answer was lost and of which the node shows nothing. It
// may be sent once more; one whose answers are lost again and again cools down like any
// that fails.
func (a *Agent) giveUpLost(act *journal.Operation, have *node.Observed) error {
	const text = "its answer was lost, and no task of it is found"
	again := a.tries[act.ID] > 0
	if !again {
		a.tries[act.ID]++
		return a.settle(act, journal.ResultLost, text, have.Now)
	}
	if err := a.O.Journal.Append(journal.Entry{Time: have.Now, Act: act.Act, Step: journal.StepOutcome, Result: journal.ResultLost, Text: text}); err != nil {
		return err
	}
	a.report(ending{act: act, result: journal.ResultLost, text: text + ", as the last time", at: have.Now}, have)
	return nil
}

// seeEffects settles acts whose answer was lost and whose effect the node shows: calls
// that PVE carries out at once.
func (a *Agent) seeEffects(ctx context.Context, have *node.Observed) error {
	for _, act := range a.O.Journal.Open() {
		if a.lookedAfter(act, have) || act.Call == nil || act.Call.Async() || !act.Upid.IsZero() || !shown(act.Call, have) {
			continue
		}
		if dir := act.Facts["sync"]; dir != "" { // the agent died before it had the note written out
			a.writtenOut(ctx, dir)
		}
		if err := a.settle(act, journal.ResultOK, "its answer was lost, but the node shows its effect", have.Now); err != nil {
			return err
		}
	}
	return nil
}

// shown reports whether the node is as a call that changes a config or the notes of
// an archive would make it.
func shown(call *proxmox.Call, have *node.Observed) bool {
	var seen sighting
	if _, volid, ok := strings.Cut(call.Path, "/content/"); ok {
		if v := have.Volume(volid); v != nil {
			seen.volumes = []proxmox.StorageContent{*v}
		}
	} else {
		state := have.Guests[GuestOf(call)]
		if state == nil || state.Config == nil || path.Base(call.Path) != "config" {
			return false
		}
		seen.config = state.Config
	}
	return lacksValue(call, seen) == ""
}

func (a *Agent) settle(act *journal.Operation, result, text string, now time.Time) error {
	if err := a.O.Journal.Append(journal.Entry{Time: now, Act: act.Act, Step: journal.StepOutcome, Result: result, Text: text}); err != nil {
		return err
	}
	a.tell(act, "waits", text)
	return nil
}

// tell says in what state an act is now.
func (a *Agent) tell(act *journal.Operation, state, text string) {
	ref, _ := spec.ParseRef(act.Object)
	a.O.Events(Event{Time: a.Clock(), Object: ref, Verb: act.Verb, State: state, What: act.Text, Text: text, UPID: act.Upid.String(), Elapsed: a.age(act)})
}

// age is how long ago an act was begun, by the node's clock, which may be set back.
func (a *Agent) age(act *journal.Operation) time.Duration { return max(a.Clock().Sub(act.Time), 0) }

// Find looks for the task of an act whose answer was lost: of the type that its call
// starts, on its guest, by our token, not among those that were there before, and no
// other act's. Of several it is the first: a later one is somebody else's.
func (a *Agent) Find(act *journal.Operation, have *node.Observed) (proxmox.UPID, bool) {
	kind, id := TaskOf(act.Call)
	var first *proxmox.Task
	for i := range have.Tasks {
		t := &have.Tasks[i]
		if t.Type != kind || t.ID != id {
			continue
		}
		if t.UPID.User == have.TokenID && !slices.Contains(act.Before, t.UPID.String()) && !t.StartTime.Before(act.Time.Add(-2*time.Second).Truncate(time.Second)) &&
			(first == nil || t.StartTime.Before(first.StartTime)) && !a.O.Journal.Claims(t.UPID) {
			first = t
		}
	}
	if first == nil {
		return proxmox.UPID{}, false
	}
	return first.UPID, true
}

// TaskOf names the type and the id of the task that a call starts.
func TaskOf(c *proxmox.Call) (kind, id string) {
	if m := plan.VmidInPath.FindStringSubmatch(c.Path); m != nil {
		id = m[1]
	}
	last := path.Base(c.Path)
	switch {
	case last == "lxc":
		kind, id = "vzcreate", c.Params["vmid"]
		if c.Params["restore"] == "1" {
			kind = "vzrestore"
		}
	case last == "vzdump":
		kind, id = "vzdump", c.Params["vmid"]
		if strings.ContainsAny(id, ",; ") { // PVE names none where it backs up several
			id = ""
		}
	case last == "start", last == "stop", last == "shutdown", last == "reboot":
		kind = "vz" + last
	case last == "rollback":
		kind = "vzrollback"
	case last == "snapshot":
		kind = "vzsnapshot"
	case last == "resize":
		kind = "resize"
	case c.Method == "DELETE" && strings.Contains(c.Path, "/snapshot/"):
		kind = "vzdelsnapshot"
	case c.Method == "DELETE" && strings.Contains(c.Path, "/content/"):
		kind = "imgdel"
		_, volid, _ := strings.Cut(c.Path, "/content/")
		id = text.ProxmoxStorage(volid)
		if archive, ok := proxmox.ParseArchive(volid); ok && archive.VMID != 0 {
			id = fmt.Sprintf("%d@%s", archive.VMID, id)
		}
	}
	return kind, id
}

// wait looks after a task until it ends, or judges one that has ended already at a time;
// zero: it has not. Ending the agent never cancels a task.
func (a *Agent) wait(ctx context.Context, act *journal.Operation, ended time.Time) {
	a.mu.Lock()
	a.waiting[act.Act] = true
	a.mu.Unlock()
	a.O.Go(func() {
		e := ending{act: act, at: ended}
		o := a.O.Wait
		o.Total = max(act.Timeout-a.age(act), time.Second)
		o.LogTail = 40
		log := logWatch{client: a.O.Client, upid: act.Upid}
		o.Progress = func(s proxmox.TaskStatus) {
			if s.Running {
				a.tell(act, "running", log.line(ctx))
			}
		}
		status, err := a.O.Client.WaitTask(ctx, act.Upid, o)
		e.err = err
		var waited *proxmox.WaitError
		var task *proxmox.TaskError
		switch {
		case err == nil:
			if !a.seen(ctx, &e, status) {
				return
			}
		case proxmox.IsLocked(err):
			e.result, e.text = journal.ResultLocked, lockText(err)
		case errors.As(err, &task) && proxmox.IsTransient(err): // such as a storage's lock
			e.result, e.text = journal.ResultLocked, task.Reason()
		case errors.As(err, &task):
			e.result, e.text, e.log = journal.ResultFailed, task.Reason(), task.LogTail
		case ctx.Err() != nil:
			a.forget(act, false)
			return
		case errors.As(err, &waited) && errors.Is(err, context.DeadlineExceeded):
			a.log.Warn("gave up waiting; the task still runs", zap.String("object", act.Object), zap.Stringer("task", act.Upid))
			a.tell(act, "overdue", "gave up waiting; the task still runs and will be adopted")
			a.forget(act, true)
			a.Nudge()
			return
		case proxmox.IsNotFound(err):
			e.result, e.text = journal.ResultLost, "PVE does not know the task any more; the state of the node decides"
		default: // PVE has an answer, and no good one
			a.askLater(ctx, act, err)
			return
		}
		a.finish(e)
	})
}

// seen judges an act whose task ended well by what the node shows. It is false where that
// cannot be read now: a later pass asks again.
func (a *Agent) seen(ctx context.Context, e *ending, status proxmox.TaskStatus) bool {
	made, facts := a.afterDump(ctx, e.act)
	e.facts = facts
	e.err = a.readBack(ctx, e.act, made)
	switch {
	case e.err == nil:
		e.result = journal.ResultOK
		if len(status.Warnings) > 0 {
			e.text = "with warnings: " + strings.Join(status.Warnings, "; ")
		}
	case ctx.Err() != nil:
		a.forget(e.act, false)
		return false
	case proxmox.IsTransient(e.err):
		a.askLater(ctx, e.act, e.err)
		return false
	default:
		e.result, e.text = journal.ResultFailed, plainError(e.err)
	}
	return true
}

// askLater leaves an act to a pass in a while.
func (a *Agent) askLater(ctx context.Context, act *journal.Operation, err error) {
	a.log.Warn("the task cannot be asked about", zap.String("object", act.Object), zap.Error(err))
	select {
	case <-ctx.Done():
	case <-time.After(WaitedFor):
	}
	a.forget(act, a.age(act) >= act.Timeout)
	a.Nudge()
}

// A logWatch knows the last line of a running task's log: how far it is, as far as PVE
// tells. (A vzdump of a container tells its steps and no percentage.)
type logWatch struct {
	client *proxmox.Client
	upid   proxmox.UPID
	last   string
	read   time.Time
}

// logPace is how often the log of a running task is read: most tasks have ended before.
const logPace = 10 * time.Second

// line returns the last line that says something. A log that cannot be read is no matter.
func (l *logWatch) line(ctx context.Context) string {
	switch {
	case l.read.IsZero():
		l.read = time.Now() // at its begin it says nothing yet
	case time.Since(l.read) >= logPace:
		ctx, cancel := context.WithTimeout(ctx, logPace/2) // the polls wait meanwhile
		defer cancel()
		lines, _ := l.client.TaskLogTail(ctx, l.upid, 50)
		for _, line := range lines {
			if line = strings.TrimSpace(strings.TrimPrefix(line, "INFO: ")); line != "" {
				l.last = line
			}
		}
		l.read = time.Now()
	}
	return l.last
}

func (a *Agent) forget(act *journal.Operation, overdue bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, act.Act)
	if overdue && !slices.Contains(a.overdue, act) {
		a.overdue = append(a.overdue, act)
	}
}

// finish hands an ending to the next pass.
func (a *Agent) finish(e ending) {
	if e.at.IsZero() {
		e.at = a.Clock()
	}
	a.mu.Lock()
	a.ended = append(a.ended, e)
	delete(a.waiting, e.act.Act)
	a.overdue = slices.DeleteFunc(a.overdue, func(late *journal.Operation) bool { return late == e.act })
	a.mu.Unlock()
	a.Nudge()
}

func lockText(err error) string {
	if word, ok := proxmox.LockOf(err); ok && word != "" {
		return fmt.Sprintf("it is locked (%s)", word)
	}
	return "another program works on it"
}
