package applying

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"go.uber.org/zap"
)

// A waiter follows an operation to its end, and asks the node whether its effect is there. It does so in goroutines of its own; a pass hears of the end.
type waiter struct {
	*tools
	tester *tester // that goes on when a test guest was started
}

// wait looks after a task until it ends, or judges one that has ended already at a time;
// zero: it has not. Ending the agent never cancels a task.
func (w *waiter) wait(ctx context.Context, operation *journal.Operation, ended time.Time) {
	w.flights.begin(operation)
	pace := w.paceOf(operation)
	w.O.Go(func() {
		e := ending{operation: operation, at: ended}
		o := pace
		o.Total = max(operation.Timeout-w.age(operation), time.Second)
		o.LogTail = 40
		log := logWatch{client: w.O.Client, upid: operation.Upid}
		o.Progress = func(s proxmox.TaskStatus) {
			if s.Running && !ofTest(operation) {
				w.tell(operation, "running", log.line(ctx))
			}
		}
		status, err := w.O.Client.WaitTask(ctx, operation.Upid, o)
		e.err = err
		var waited *proxmox.WaitError
		var task *proxmox.TaskError
		switch {
		case err == nil:
			if !w.seen(ctx, &e, status) {
				return
			}
		case errors.As(err, &task) && proxmox.IsLocked(err): // an answer that says so of a question is no end of the task
			e.result, e.text = journal.ResultLocked, lockText(err)
		case errors.As(err, &task) && proxmox.IsTransient(err): // such as a storage's lock
			e.result, e.text = journal.ResultLocked, task.Reason()
		case errors.As(err, &task):
			e.result, e.text, e.log = journal.ResultFailed, task.Reason(), task.LogTail
		case ctx.Err() != nil:
			w.flights.forget(operation, false)
			return
		case errors.As(err, &waited) && errors.Is(err, context.DeadlineExceeded):
			w.log.Warn("gave up waiting; the task still runs", zap.String("object", operation.Object), zap.Stringer("task", operation.Upid))
			w.tell(operation, "overdue", "gave up waiting; the task still runs and will be adopted")
			w.flights.forget(operation, true)
			w.flights.Nudge()
			return
		case proxmox.IsNotFound(err):
			e.result, e.text = journal.ResultLost, "PVE does not know the task any more; the state of the node decides"
		default: // PVE has an answer, and no good one
			w.askLater(ctx, operation, err)
			return
		}
		w.keepEnd(e)
		if !w.tester.started(ctx, e) {
			w.flights.nudgeOver()
		}
	})
}

// seen judges an operation whose task ended well by what the node shows. It is false where that
// cannot be read now: a later pass asks again.
func (w *waiter) seen(ctx context.Context, e *ending, status proxmox.TaskStatus) bool {
	made, facts := w.afterDump(ctx, e.operation)
	e.facts = facts
	e.err = w.readBack(ctx, e.operation, made)
	switch {
	case e.err == nil:
		e.result = journal.ResultOK
		if len(status.Warnings) > 0 {
			e.text = "with warnings: " + strings.Join(status.Warnings, "; ")
		}
	case ctx.Err() != nil:
		w.flights.forget(e.operation, false)
		return false
	case proxmox.IsTransient(e.err):
		w.askLater(ctx, e.operation, e.err)
		return false
	default:
		e.result, e.text = journal.ResultFailed, plainError(e.err)
	}
	return true
}

// askLater leaves an operation to a pass in a while.
func (w *waiter) askLater(ctx context.Context, operation *journal.Operation, err error) {
	w.log.Warn("the task cannot be asked about", zap.String("object", operation.Object), zap.Error(err))
	select {
	case <-ctx.Done():
	case <-time.After(WaitedFor):
	}
	w.flights.forget(operation, w.age(operation) >= operation.Timeout)
	w.flights.Nudge()
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

// afterDump finds out which archive a vzdump has made, and has it written out to its
// disk: vzdump does not, so a disk that is pulled seconds later would hold half of it
// under its final name.
func (w *waiter) afterDump(ctx context.Context, operation *journal.Operation) (made dump, facts map[string]string) {
	storage := operation.Facts["storage"]
	if kind, _ := TaskOf(operation.Call); kind != "vzdump" {
		return made, nil
	}
	facts = map[string]string{}
	if found, _ := w.dumped(ctx, operation.Upid); len(found) > 0 {
		made = found[0]
		facts["archive"], facts["size"] = storage+":backup/"+made.file, made.size
	}
	if dir := operation.Facts["sync"]; dir != "" && !w.writtenOut(ctx, dir) || operation.Facts["disk"] != "" {
		facts["synced"] = "no"
	}
	return made, facts
}

// writeOutThenFinish has the notes of an archive written out too, with the folder that names
// them: they are a file of their own, and the proof that is lost with them would be missed
// after a fire. A disk may take its time, so nothing waits for it but the end of this operation.
func (w *waiter) writeOutThenFinish(ctx context.Context, operation *journal.Operation) {
	w.flights.begin(operation)
	w.O.Go(func() {
		w.writtenOut(ctx, operation.Facts["sync"])
		w.finish(ending{operation: operation, result: journal.ResultOK})
	})
}

func lockText(err error) string {
	if word, ok := proxmox.LockOf(err); ok && word != "" {
		return fmt.Sprintf("it is locked (%s)", word)
	}
	return "another program works on it"
}
