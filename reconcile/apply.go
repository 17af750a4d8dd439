package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// An ending is what a waiter tells of an act.
type ending struct {
	act    *act
	result string
	text   string
	log    []string
	facts  map[string]string
	err    error
	at     time.Time // by the node's clock
}

// passed is what a pass has found and done.
type passed struct {
	plan   *Plan
	sent   int       // acts that were sent, of which
	atOnce int       // were done at once
	busy   []string  // why actions of the plan were not sent
	soon   time.Time // when a lock is tried again, by the node's clock
}

// pass looks, plans and sends what is ready, under the write lock.
func (a *Agent) pass(ctx context.Context, want *spec.Desired) (*passed, error) {
	release, err := a.o.Lock.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if a.o.Journal.path != "" {
		if err := a.o.Journal.refresh(); err != nil {
			return nil, err
		}
	}
	if want.Hash != a.hash { // an edit: what failed may be tried at once
		a.hash = want.Hash
		clear(a.cooling)
		clear(a.repeats)
	}
	finished, err := a.judge()
	if err != nil {
		return nil, err
	}
	sight := a.o.Sight
	sight.View = a.o.Client.Look()
	if sight.Stored, err = a.o.Store.Load(); err != nil {
		return nil, err
	}
	have, err := sight.look(ctx, want, a.o.Journal, &a.facts)
	for _, e := range finished {
		a.report(e, have)
	}
	if err != nil {
		return nil, err
	}
	if err := a.adopt(ctx, have); err != nil {
		return nil, err
	}
	a.prove(ctx, want, have)
	now := have.Now
	maps.DeleteFunc(a.cooling, func(_ string, f Failure) bool {
		over := !f.Until.IsZero() && !f.Until.After(now) && (a.o.Watching || f.Undelivered)
		return over || f.Until.IsZero() && f.basis != "" && f.basis != basis(f.lane, have)
	})
	have.Memory.Cooling = a.cooling
	have.Memory.Stale = a.stale
	have.Memory.Making = a.o.Journal.memory(now).Making // adoption may have settled some
	a.mu.Lock()
	for volid, state := range a.proven {
		if _, known := have.Memory.Archives[volid]; !known {
			have.Memory.Archives[volid] = state
		}
	}
	a.mu.Unlock()
	plan := planOf(want, have)
	a.stale = staleNow(have)
	if again := a.stillWanted(finished, plan, now); again {
		plan = planOf(want, have)
	}
	if err := a.keep(want, plan, have); err != nil {
		return nil, err
	}
	p, err := a.send(ctx, want, have, plan)
	if p != nil {
		p.plan = plan
	}
	return p, err
}

// keep stores what this look has seen and a later one could not look up: guests that
// somebody destroyed (task lists are short), the last whole backups (disks go away),
// since when a reported difference is there. Holds that ended are dropped.
func (a *Agent) keep(want *spec.Desired, plan *Plan, have *Observed) error {
	return a.o.Store.Change(func(stored *Stored) {
		for _, seen := range plan.Seen {
			if !slices.ContainsFunc(stored.Holds, func(h Hold) bool { return h.Name == seen.Name && h.Kind == seen.Kind }) {
				stored.Holds = append(stored.Holds, seen)
			}
		}
		stored.Holds = slices.DeleteFunc(stored.Holds, func(h Hold) bool {
			if !h.Until.IsZero() && !have.Now.Before(h.Until) {
				return true
			}
			ref, err := spec.ParseRef(h.Name)
			g := want.Guest(ref.Name)
			return h.Kind == HoldDestroyed && err == nil && (have.Named[ref] || g != nil && have.Guests[g.VMID] != nil)
		})
		for guest, last := range plan.Backups {
			if stored.Backups == nil {
				stored.Backups = map[string]LastBackup{}
			}
			if old := stored.Backups[guest]; !last.Time.Before(old.Time) {
				stored.Backups[guest] = last
			}
		}
		since := map[string]time.Time{}
		for _, n := range plan.Notes {
			if !n.Drift {
				continue
			}
			key := n.Object.String() + ": " + n.Text
			since[key] = have.Now
			if old, ok := stored.Drift[key]; ok {
				since[key] = old
			}
		}
		if stored.Drift = since; len(since) == 0 {
			stored.Drift = nil
		}
	})
}

// staleNow lists the guests with a lock that no running task explains.
func staleNow(have *Observed) map[proxmox.VMID]bool {
	stale := map[proxmox.VMID]bool{}
	for vmid, state := range have.Guests {
		if state.Lock != "" && have.task(vmid) == nil {
			stale[vmid] = true
		}
	}
	return stale
}

// judge writes the outcome of acts that have ended into the journal, where no line
// has it yet.
func (a *Agent) judge() (judged []ending, err error) {
	a.mu.Lock()
	ended := a.ended
	a.ended = nil
	a.mu.Unlock()
	for _, e := range ended {
		if !e.act.open() {
			continue // another process was first
		}
		if err := a.o.Journal.append(Entry{Time: e.at, Act: e.act.Act, Step: stepOutcome, Result: e.result, Text: e.text, Log: e.log, Facts: e.facts}); err != nil {
			return nil, err
		}
		judged = append(judged, e)
	}
	return judged, nil
}

// report tells what became of an act and in what state its guest is now, and lets a
// failed one cool down. have is nil where the node could not be looked at.
func (a *Agent) report(e ending, have *Observed) {
	ref, _ := spec.ParseRef(e.act.Object)
	event := Event{Time: e.at, Object: ref, Verb: e.act.Verb, Elapsed: e.at.Sub(e.act.Time), UPID: e.act.upid.String()}
	switch e.result {
	case resultOK:
		event.State = "ok"
		event.Text = e.text
		delete(a.cooling, e.act.ID)
	case resultLocked:
		event.State = "waits"
		event.Text = e.text
		a.lockedOut[e.act.Lane] = e.at.Add(5*time.Second + rand.N(10*time.Second))
	case resultUnsent:
		event.State, event.Text = "waits", e.text
		a.cool(e, true)
	default:
		event.State, event.Text = "FAILED", e.text
		if e.result == resultRefused {
			event.State = "REFUSED"
		}
		f := a.cool(e, !permanent(e.err))
		f.basis = basis(e.act.Lane, have)
		a.cooling[e.act.ID] = f
		event.Lines = failureLines(e, f, have)
		a.failures = append(a.failures, event)
	}
	a.o.Events(event)
}

func permanent(err error) bool {
	var refused *privileged.RefusedError
	return proxmox.IsPermanent(err) || errors.As(err, &refused)
}

// The cool-down of a failed act: doubling up to a limit.
const (
	coolFirst = 30 * time.Second
	coolMost  = 15 * time.Minute
)

// cool remembers a failure. One that repeating cannot mend stays until the YAML
// changes or the agent is started anew.
func (a *Agent) cool(e ending, again bool) Failure {
	f := Failure{ID: e.act.ID, lane: e.act.Lane, Text: e.text, Cure: failureCure(e), times: a.cooling[e.act.ID].times + 1}
	if again {
		wait := coolFirst
		if f.Undelivered = e.result == resultUnsent; f.Undelivered {
			wait = 5 * time.Second
		}
		for range f.times - 1 {
			wait = min(2*wait, coolMost)
		}
		f.Until = e.at.Add(wait)
	}
	a.cooling[e.act.ID] = f
	return f
}

// failureCure is what a person can do about a failure.
func failureCure(e ending) []string {
	var task *proxmox.TaskError
	denied := proxmox.DeniedBy(e.err)
	switch {
	case denied != nil && len(denied.Privileges) > 0:
		return []string{appendPrivilege(denied.Privileges[0]), fmt.Sprintf("or, where an ACL entry on %s hides it: pveum acl list", denied.Path)}
	case errors.As(e.err, &task):
		return []string{fmt.Sprintf("log: felhom-agent --history --only %s", e.act.Object)}
	}
	var refused *privileged.RefusedError
	if errors.As(e.err, &refused) && refused.Cure != "" {
		return []string{refused.Cure}
	}
	return []string{fmt.Sprintf("look: felhom-agent --history --only %s", e.act.Object)}
}

// basis stands for what a permanent failure may depend on besides the YAML: the
// token's rights and the guest's config. When it changes, the act is tried again.
func basis(lane string, have *Observed) string {
	if have == nil {
		return ""
	}
	text := fmt.Sprint(have.Permissions) // maps are printed in order
	if id, ok := strings.CutPrefix(lane, "lxc/"); ok {
		if vmid, err := proxmox.ParseVMID(id); err == nil {
			if state := have.Guests[vmid]; state != nil && state.Config != nil {
				text += state.Config.Digest
			}
		}
	}
	return shortHash(text)
}

// stateNow says in what state a guest is, in the words of a failure's second line.
func stateNow(lane string, have *Observed) string {
	id, ok := strings.CutPrefix(lane, "lxc/")
	if !ok || have == nil {
		return ""
	}
	vmid, err := proxmox.ParseVMID(id)
	if err != nil {
		return ""
	}
	state := have.Guests[vmid]
	switch {
	case state == nil:
		return "NOT THERE"
	case state.Lock != "":
		return fmt.Sprintf("%s, locked (%s)", strings.ToUpper(state.Status), state.Lock)
	}
	return strings.ToUpper(state.Status)
}

func failureLines(e ending, f Failure, have *Observed) []EventLine {
	var lines []EventLine
	if now := stateNow(e.act.Lane, have); now != "" {
		lines = append(lines, EventLine{strings.TrimPrefix(e.act.Lane, "lxc/") + " is now", now})
	}
	if denied := proxmox.DeniedBy(e.err); denied != nil && len(denied.Privileges) > 0 {
		lines = append(lines, EventLine{"missing", fmt.Sprintf("%s on %s", strings.Join(denied.Privileges, " or "), denied.Path)})
	}
	if !e.act.upid.IsZero() {
		lines = append(lines, EventLine{"task", e.act.upid.String()})
	}
	for _, cure := range f.Cure {
		lines = append(lines, EventLine{"do", cure})
	}
	next := "not tried again before the YAML, the rights or the guest change"
	if !f.Until.IsZero() {
		next = fmt.Sprintf("tried again in %s (with --once: at the next run)", f.Until.Sub(e.at).Round(time.Second))
	}
	return append(lines, EventLine{"next", next})
}

// repeatLimit is how often the same act may succeed and still be wanted.
const repeatLimit = 3

// stillWanted looks whether acts that ended well are wanted again at once: a thing
// that moves back is not chased for ever.
func (a *Agent) stillWanted(finished []ending, plan *Plan, now time.Time) bool {
	any := false
	for _, e := range finished {
		if e.result != resultOK {
			continue
		}
		i := slices.IndexFunc(plan.Actions, func(next Action) bool { return next.ID == e.act.ID && sameAct(next, e.act) })
		if i < 0 {
			delete(a.repeats, e.act.ID)
			continue
		}
		recent := slices.DeleteFunc(append(a.repeats[e.act.ID], now), func(t time.Time) bool { return now.Sub(t) > time.Hour })
		a.repeats[e.act.ID] = recent
		if len(recent) >= repeatLimit {
			what := plan.Actions[i].Text
			for _, f := range plan.Actions[i].Fields {
				what += fmt.Sprintf(" %s %s -> %s", f.Name, f.Old, f.New)
			}
			a.cooling[e.act.ID] = Failure{ID: e.act.ID, Text: fmt.Sprintf("done %d times and wanted again: something moves it back (%s)", len(recent), strings.TrimSpace(what)),
				Cure: []string{"find out who changes it; then edit the YAML, or run felhom-agent --once"}}
			any = true
		}
	}
	return any
}

// sameAct reports whether an action asks for what an act has done; the digest of a
// config is no part of it.
func sameAct(next Action, done *act) bool {
	if next.Op != nil || done.Op != nil {
		return reflect.DeepEqual(next.Op, done.Op)
	}
	if next.Call == nil || done.Call == nil || next.Call.Method != done.Call.Method || next.Call.Path != done.Call.Path {
		return false
	}
	a, b := maps.Clone(next.Call.Params), maps.Clone(done.Call.Params)
	delete(a, "digest")
	delete(b, "digest")
	return maps.Equal(a, b)
}

// adopt gives a waiter to every act that has none in this process, and finds out what
// became of those whose answer was lost.
func (a *Agent) adopt(ctx context.Context, have *Observed) error {
	for _, act := range a.o.Journal.open() {
		a.mu.Lock()
		known := a.waiting[act.Act] || a.aside[act.Act]
		a.mu.Unlock()
		if known {
			continue
		}
		switch {
		case !act.upid.IsZero():
			a.tell(act, "adopted", "it was begun earlier")
			a.wait(ctx, act)
		case act.Op != nil:
			if have.Host != nil && !slices.ContainsFunc(have.Host.Running, func(op privileged.RunningOp) bool { return op.Lane == act.Lane }) {
				if err := a.settle(act, resultLost, "the process that did it ended; the state of the host decides", have.Now); err != nil {
					return err
				}
			}
		default:
			if upid, ok := a.find(act, have); ok {
				if err := a.o.Journal.append(Entry{Time: have.Now, Act: act.Act, Step: stepTask, UPID: upid}); err != nil {
					return err
				}
				a.tell(act, "adopted", "its answer was lost; the task list has it: "+upid.String())
				a.wait(ctx, act)
			} else if have.Now.Sub(act.Time) > a.o.Settle && time.Since(act.lost) > a.o.Settle {
				if err := a.settle(act, resultLost, "its answer was lost, and no task of it is found", have.Now); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (a *Agent) settle(act *act, result, text string, now time.Time) error {
	if err := a.o.Journal.append(Entry{Time: now, Act: act.Act, Step: stepOutcome, Result: result, Text: text}); err != nil {
		return err
	}
	a.tell(act, "waits", text)
	return nil
}

func (a *Agent) tell(act *act, state, text string) {
	ref, _ := spec.ParseRef(act.Object)
	a.o.Events(Event{Time: a.clock(), Object: ref, Verb: act.Verb, State: state, Text: text, UPID: act.upid.String()})
}

// find looks for the task of an act whose answer was lost: of the type that its call
// starts, on its guest, by our token, and not among those that were there before.
func (a *Agent) find(act *act, have *Observed) (proxmox.UPID, bool) {
	kind, id := taskOf(act.Call)
	for _, t := range have.Tasks {
		if t.Type == kind && t.ID == id && t.UPID.User == have.TokenID && !slices.Contains(act.Before, t.UPID.String()) && !t.StartTime.Before(act.Time.Add(-2*time.Second).Truncate(time.Second)) {
			return t.UPID, true
		}
	}
	return proxmox.UPID{}, false
}

var vmidInPath = regexp.MustCompile(`/lxc/(\d+)`)

// taskOf names the type and the id of the task that a call starts.
func taskOf(c *proxmox.Call) (kind, id string) {
	if m := vmidInPath.FindStringSubmatch(c.Path); m != nil {
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
		storage, name, _ := strings.Cut(c.Path[strings.Index(c.Path, "/storage/")+len("/storage/"):], "/content/")
		if i := strings.IndexByte(name, ':'); i >= 0 {
			storage = name[:i]
		}
		id = storage
		if archive, ok := proxmox.ParseArchive(strings.NewReplacer("%3A", ":", "%2F", "/").Replace(name)); ok && archive.VMID != 0 {
			id = fmt.Sprintf("%d@%s", archive.VMID, storage)
		}
	}
	return kind, id
}

// wait looks after a task until it ends. Ending the agent never cancels a task.
func (a *Agent) wait(ctx context.Context, act *act) {
	a.mu.Lock()
	a.waiting[act.Act] = true
	a.mu.Unlock()
	go func() {
		e := ending{act: act}
		o := a.o.Wait
		o.Total = max(act.Timeout-a.clock().Sub(act.Time), time.Second)
		o.LogTail = 40
		ref, _ := spec.ParseRef(act.Object)
		o.Progress = func(s proxmox.TaskStatus) {
			if s.Running {
				a.o.Events(Event{Time: a.clock(), Object: ref, Verb: act.Verb, State: "running", UPID: act.upid.String(), Elapsed: a.clock().Sub(act.Time)})
			}
		}
		status, err := a.o.Client.WaitTask(ctx, act.upid, o)
		e.err = err
		var waited *proxmox.WaitError
		var task *proxmox.TaskError
		switch {
		case err == nil:
			e.result = resultOK
			if len(status.Warnings) > 0 {
				e.text = "with warnings: " + strings.Join(status.Warnings, "; ")
			}
			e.facts = a.afterDump(ctx, act)
		case proxmox.IsLocked(err):
			e.result, e.text = resultLocked, lockText(err)
		case errors.As(err, &task):
			e.result, e.text, e.log = resultFailed, task.Reason(), task.LogTail
		case ctx.Err() != nil:
			a.forget(act, false)
			return
		case errors.As(err, &waited) && errors.Is(err, context.DeadlineExceeded):
			a.log.Warn("gave up waiting; the task still runs", zap.String("object", act.Object), zap.Stringer("task", act.upid))
			a.o.Events(Event{Time: a.clock(), Object: ref, Verb: act.Verb, State: "overdue", UPID: act.upid.String(), Elapsed: a.clock().Sub(act.Time),
				Text: "gave up waiting; the task still runs and will be adopted"})
			a.forget(act, true)
			a.Nudge()
			return
		case proxmox.IsNotFound(err):
			e.result, e.text = resultLost, "PVE does not know the task any more; the state of the node decides"
		default: // asked again by the next pass
			a.log.Warn("the task cannot be asked about", zap.String("object", act.Object), zap.Error(err))
			a.forget(act, false)
			a.Nudge()
			return
		}
		a.finish(e)
	}()
}

func (a *Agent) forget(act *act, overdue bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, act.Act)
	if overdue {
		a.overdue = append(a.overdue, act)
		a.aside[act.Act] = true
	}
}

// finish hands an ending to the next pass.
func (a *Agent) finish(e ending) {
	e.at = a.clock()
	a.mu.Lock()
	a.ended = append(a.ended, e)
	delete(a.waiting, e.act.Act)
	a.aside[e.act.Act] = true // until it is judged: nobody adopts it
	a.mu.Unlock()
	a.Nudge()
}

func lockText(err error) string {
	if word, ok := proxmox.LockOf(err); ok && word != "" {
		return fmt.Sprintf("it is locked (%s)", word)
	}
	return "somebody else works on it"
}

var creatingArchive = regexp.MustCompile(`creating vzdump archive '([^']+)'`)

// afterDump finds out which archive a vzdump has made, and has it written out to its
// disk: vzdump does not, so a disk that is pulled seconds later would hold half of it
// under its final name.
func (a *Agent) afterDump(ctx context.Context, act *act) map[string]string {
	storage := act.Facts["storage"]
	if storage == "" {
		return nil
	}
	facts := map[string]string{}
	name, _ := a.dumped(ctx, act.upid)
	if name != "" {
		facts["archive"] = storage + ":backup/" + name
	}
	if dir := act.Facts["sync"]; dir != "" && !a.writtenOut(ctx, dir) || act.Facts["disk"] != "" {
		facts["synced"] = "no"
	}
	return facts
}

// archiveSize is how vzdump prints the size of an archive: "35MB".
var archiveSize = regexp.MustCompile(`archive file size: (\S+)`)

// dumped reads from the log of a vzdump which file it has made and how large it was,
// in vzdump's own words. The log is the only place that tells.
func (a *Agent) dumped(ctx context.Context, upid proxmox.UPID) (file, size string) {
	log, err := a.o.Client.TaskLogTail(ctx, upid, 5000)
	if err != nil {
		a.log.Warn("the log of a backup cannot be read", zap.Stringer("task", upid), zap.Error(err))
	}
	for _, line := range log {
		if m := creatingArchive.FindStringSubmatch(line); m != nil {
			file = path.Base(m[1])
		}
		if m := archiveSize.FindStringSubmatch(line); m != nil {
			size = m[1]
		}
	}
	return file, size
}

// writtenOut has everything on a declared disk written out.
func (a *Agent) writtenOut(ctx context.Context, dir string) bool {
	if a.o.Fence == nil {
		return false
	}
	if err := privileged.SyncMount(ctx, a.o.Fence, a.o.Node, dir); err != nil {
		a.log.Warn("a backup could not be written out", zap.String("path", dir), zap.Error(err))
		return false
	}
	return true
}

// send sends what is ready, one act per lane, within the budgets.
func (a *Agent) send(ctx context.Context, want *spec.Desired, have *Observed, plan *Plan) (*passed, error) {
	p := &passed{}
	taken := map[string]string{} // lane -> who
	budget := map[string]int{}
	disruptive, creating := "", false
	ours := map[proxmox.UPID]bool{}
	for _, act := range a.o.Journal.open() {
		ours[act.upid] = true
		taken[act.Lane] = fmt.Sprintf("%s of %s runs", act.Verb, act.Object)
		budget[act.Budget]++
		if act.Effect == Disruptive {
			disruptive = act.Object
		}
	}
	for _, t := range have.Tasks {
		if !t.Running() {
			continue
		}
		owner, _, _ := strings.Cut(t.ID, "@")
		if l := "lxc/" + owner; owner != "" && taken[l] == "" && t.Type != "imgdel" {
			taken[l] = fmt.Sprintf("%s runs since %s, by %s", t.Type, have.clock(t.StartTime), t.Owner())
		}
		if t.Type == "vzdump" && budget["vzdump"] == 0 {
			budget["vzdump"]++
		}
		if (t.Type == "vzrestore" || t.Type == "vzcreate" || t.Type == "vzclone") && !ours[t.UPID] {
			creating = true // on which storage nobody tells
		}
	}
	if have.Host != nil {
		for _, op := range have.Host.Running {
			if taken[op.Lane] == "" {
				taken[op.Lane] = op.Name + " runs through the fence"
			}
		}
	}
	for vmid, state := range have.Guests {
		if state.Lock != "" && taken[lane(vmid)] == "" {
			taken[lane(vmid)] = fmt.Sprintf("it is locked (%s)", state.Lock)
		}
	}
	for _, g := range guestsOf(want) { // a guest that is being restarted keeps the lane until it runs
		if state := have.Guests[g.VMID]; have.Memory.Restarting[g.Ref.String()] && state != nil && state.Status != "running" && g.State == spec.Running {
			disruptive = orElse(disruptive, g.Ref.String())
		}
	}
	for i := range plan.Actions {
		action := &plan.Actions[i]
		why := ""
		switch limit := budgetOf(action.Budget); {
		case taken[action.Lane] != "":
			why = taken[action.Lane]
		case a.lockedOut[action.Lane].After(have.Now):
			why = "a lock; tried again soon"
			if at := a.lockedOut[action.Lane]; p.soon.IsZero() || at.Before(p.soon) {
				p.soon = at
			}
		case creating && strings.HasPrefix(action.Budget, "create "):
			why = "somebody else creates a guest, and storages lock"
		case limit > 0 && budget[action.Budget] >= limit:
			why = "its turn comes: " + action.Budget
		case action.Effect == Disruptive && disruptive != "" && disruptive != action.Object.String():
			why = "one disruptive act at a time: " + disruptive
		}
		if why != "" {
			p.busy = append(p.busy, fmt.Sprintf("%s: %s", action.Object, why))
			continue
		}
		atOnce, err := a.begin(ctx, action, have)
		if err != nil {
			return p, err
		}
		taken[action.Lane] = action.Verb + " was sent"
		budget[action.Budget]++
		if action.Effect == Disruptive {
			disruptive = action.Object.String()
		}
		p.sent++
		if atOnce {
			p.atOnce++
		}
	}
	return p, nil
}

// budgetOf is how many acts may share a budget: one creation per storage (PVE's
// storage lock times out beyond), two snapshots per storage, one vzdump per node.
func budgetOf(budget string) int {
	switch {
	case budget == "":
		return 0
	case strings.HasPrefix(budget, "snapshot "):
		return 2
	}
	return 1
}

// begin journals an act and sends it, exactly once.
func (a *Agent) begin(ctx context.Context, action *Action, have *Observed) (atOnce bool, err error) {
	e := Entry{Time: a.clock(), Act: newAct(), Step: stepIntent, ID: action.ID, Object: action.Object.String(), Verb: action.Verb, Text: action.Text,
		Lane: action.Lane, Budget: action.Budget, Effect: action.Effect, Timeout: action.Timeout, Call: action.Call, Op: action.Op, Facts: action.facts}
	if action.Call != nil {
		kind, id := taskOf(action.Call)
		for _, t := range have.Tasks {
			if t.Type == kind && t.ID == id {
				e.Before = append(e.Before, t.UPID.String())
			}
		}
	}
	if err := a.o.Journal.append(e); err != nil {
		return false, err
	}
	act := a.o.Journal.act(e.Act)
	a.sent[act] = true
	if action.Op != nil {
		a.doOp(ctx, act)
		return false, nil
	}
	upid, err := a.o.Client.Do(ctx, *action.Call)
	switch {
	case err == nil && upid.IsZero():
		a.finish(ending{act: act, result: resultOK})
		return true, nil
	case err == nil:
		if err := a.o.Journal.append(Entry{Time: a.clock(), Act: act.Act, Step: stepTask, UPID: upid}); err != nil {
			return false, err
		}
		a.tell(act, "started", "")
		a.wait(ctx, act)
		return false, nil
	case proxmox.IsOutcomeUnknown(err) || ctx.Err() != nil:
		act.lost = time.Now()
		a.log.Warn("the answer was lost", zap.String("object", act.Object), zap.String("verb", act.Verb), zap.Error(err))
		a.tell(act, "waits", "its answer was lost; looking what became of it")
		return false, nil
	case proxmox.IsNotDelivered(err):
		a.finish(ending{act: act, result: resultUnsent, text: err.Error(), err: err})
	case proxmox.IsLocked(err), proxmox.IsDigestConflict(err):
		text := "the config was changed by somebody else meanwhile; looked at anew"
		if proxmox.IsLocked(err) {
			text = lockText(err)
		}
		a.finish(ending{act: act, result: resultLocked, text: text, err: err})
	default:
		a.finish(ending{act: act, result: resultRefused, text: plainError(err), err: err})
	}
	return true, nil
}

// plainError is an error as people read it in a line.
func plainError(err error) string { return strings.TrimSpace(err.Error()) }

// doOp hands an act to the fence, outside of the write lock.
func (a *Agent) doOp(ctx context.Context, act *act) {
	a.mu.Lock()
	a.waiting[act.Act] = true
	a.mu.Unlock()
	a.tell(act, "started", "through the fence: "+act.Op.String())
	ref, _ := spec.ParseRef(act.Object)
	go func() {
		e := ending{act: act, result: resultOK}
		result, err := a.o.Runner.Do(ctx, *act.Op, func(line string) {
			a.o.Events(Event{Time: a.clock(), Object: ref, Verb: act.Verb, State: "running", Text: line, Elapsed: a.clock().Sub(act.Time)})
		})
		a.o.Client.Version(ctx) // the fence has no clock of the node's: an answer of the API brings it
		var refused *privileged.RefusedError
		switch {
		case err == nil && result.StillRunning != nil, err != nil && ctx.Err() != nil:
			a.forget(act, false) // the fence goes on; its query Running tells when it ends
			a.Nudge()
			return
		case err == nil:
			e.text = strings.Join(result.Notes, "; ")
		case errors.As(err, &refused):
			e.result, e.text, e.err = resultRefused, plainError(err), err
		default:
			e.result, e.text, e.err = resultFailed, plainError(err), err
		}
		a.finish(e)
	}()
}
