package applying

import (
	"cmp"
	"context"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// prove looks after archives of ours that have no size in their notes and whose task
// this journal does not know: the agent died, or its journal was lost, between the
// task's end and the note. Where PVE's task list still has the task, and it ended
// well and names the archive, the disk is written out and the listed size is compared
// with what vzdump printed (of a backup server it prints none); then the archive counts
// like any other, or is known to be damaged. Where no log tells, and a guest is to be made
// from it, its contents are checked.
func (a *Agent) prove(ctx context.Context, want *spec.Desired, have *node.Observed) {
	for id, state := range have.Storages {
		for _, v := range state.Content {
			if lost := v.Notes == "" && have.Wholeness(v) == node.Unrecorded; v.Content != "backup" || node.Ambiguous(v) || !lost && have.Wholeness(v) != node.Unproven {
				continue
			}
			if _, known := have.Memory.Archives[v.VolID]; known {
				continue
			}
			tasks := tasksOfArchive(have, v)
			if v.Notes == "" { // anybody's, as far as its name tells
				tasks = slices.DeleteFunc(tasks, func(t proxmox.Task) bool { return t.Owner() != a.O.Sight.TokenID })
			}
			a.mu.Lock()
			busy := a.proving[v.VolID]
			if len(tasks) > 0 {
				a.proving[v.VolID] = true
			}
			a.mu.Unlock()
			if busy || len(tasks) == 0 {
				continue
			}
			dir := ""
			if m, _ := have.MountOf(want, id); m != nil {
				dir = m.Path
			}
			now := have.Now
			a.O.Go(func() { a.proveOne(ctx, v, tasks, dir, now) })
		}
	}
	a.checkContents(ctx, want, have)
}

// logsAtMost bounds how many logs are read to find the task of one archive.
const logsAtMost = 8

// tasksOfArchive finds the ended backups that can have made an archive: of its guest or of
// several, begun no later than the archive and ended after it. The archive's time is read from its
// name in the time zone that the node has now; in another one it was made at another time. The
// log of the task names the archive, which decides.
func tasksOfArchive(have *node.Observed, v proxmox.StorageContent) []proxmox.Task {
	var exact, moved []proxmox.Task
	for _, t := range have.Tasks {
		if t.Type != "vzdump" || !t.OK() || t.ID != v.VMID.String() && t.ID != "" {
			continue
		}
		made := journal.ArchiveState{Begun: t.StartTime, Ended: t.EndTime}
		switch {
		case during(&t, v.CTime), during(&t, have.Begun(v)):
			exact = append(exact, t)
		case !node.InZone(v.CTime, made).Equal(v.CTime):
			moved = append(moved, t)
		}
	}
	tasks := append(exact, moved...)
	return tasks[:min(len(tasks), logsAtMost)]
}

func during(t *proxmox.Task, at time.Time) bool {
	return !t.StartTime.After(at) && !t.EndTime.Before(at)
}

func (a *Agent) proveOne(ctx context.Context, v proxmox.StorageContent, tasks []proxmox.Task, dir string, now time.Time) {
	state, old, again := journal.ArchiveState{}, false, false
	for _, t := range tasks {
		found, err := a.dumped(ctx, t.UPID)
		if err != nil && !proxmox.IsNotFound(err) {
			again = true
		}
		for _, d := range found {
			if strings.HasSuffix(v.VolID, "/"+d.file) {
				state = journal.ArchiveState{Marker: cmp.Or(v.Notes, d.notes), Size: d.size, Begun: t.StartTime, Ended: t.EndTime}
				state.Whole = d.size == node.DumpSize(v.Size) || node.OnServer(v)
				old = now.Sub(t.EndTime) > journal.UnsyncedAge
			}
		}
		if state.Marker != "" {
			break
		}
	}
	if state.Whole && dir != "" && !a.writtenOut(ctx, dir) && !(a.O.Fence == nil && old) {
		again = true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case state.Marker != "" && !again, state.Marker != "" && !state.Whole:
		a.proven[v.VolID] = state
		a.Nudge()
	case again:
		delete(a.proving, v.VolID) // by a later pass
	default:
		a.unlogged[v.VolID] = true
	}
}

// creatingArchive is the line that names the archive: a file, or on a backup server
// ct/VMID/TIME.
var creatingArchive = regexp.MustCompile(`creating (?:vzdump|Proxmox Backup Server) archive '([^']+)'`)

// afterDump finds out which archive a vzdump has made, and has it written out to its
// disk: vzdump does not, so a disk that is pulled seconds later would hold half of it
// under its final name.
func (a *Agent) afterDump(ctx context.Context, act *journal.Operation) (made dump, facts map[string]string) {
	storage := act.Facts["storage"]
	if kind, _ := TaskOf(act.Call); kind != "vzdump" {
		return made, nil
	}
	facts = map[string]string{}
	if found, _ := a.dumped(ctx, act.Upid); len(found) > 0 {
		made = found[0]
		facts["archive"], facts["size"] = storage+":backup/"+made.file, made.size
	}
	if dir := act.Facts["sync"]; dir != "" && !a.writtenOut(ctx, dir) || act.Facts["disk"] != "" {
		facts["synced"] = "no"
	}
	return made, facts
}

// writeOutThenFinish has the notes of an archive written out too, with the folder that names
// them: they are a file of their own, and the proof that is lost with them would be missed
// after a fire. A disk may take its time, so nothing waits for it but the end of this act.
func (a *Agent) writeOutThenFinish(ctx context.Context, act *journal.Operation) {
	a.mu.Lock()
	a.waiting[act.Act] = true
	a.mu.Unlock()
	a.O.Go(func() {
		a.writtenOut(ctx, act.Facts["sync"])
		a.finish(ending{act: act, result: journal.ResultOK})
	})
}

// jobNotes are the notes in the command that a job logs at its begin.
var jobNotes = regexp.MustCompile(`^INFO: starting new backup job: .* --notes-template '([^']*)'`)

// archiveSize is how vzdump prints the size of an archive: "35MB".
var archiveSize = regexp.MustCompile(`archive file size: (\S+)`)

// A dump is what the log of a vzdump says of one archive, in vzdump's own words.
type dump struct {
	file  string // vzdump-lxc-111-2026_11_22-18_02_09.tar.zst; on a backup server ct/111/TIME
	size  string // 35MB; "" on a backup server
	notes string // of ours: the marker that its job was to write into the notes
}

// dumped reads from the log of a vzdump which archives it has made. The log is the only
// place that tells.
func (a *Agent) dumped(ctx context.Context, upid proxmox.UPID) ([]dump, error) {
	log, err := a.O.Client.TaskLog(ctx, upid) // the file stands at its begin, the size at its end
	if err != nil {
		a.log.Warn("the log of a backup cannot be read", zap.Stringer("task", upid), zap.Error(err))
	}
	return readDumps(log), err
}

// readDumps reads a log: one archive for each guest of the job.
func readDumps(log []string) (found []dump) {
	notes := ""
	for _, line := range log {
		if m := jobNotes.FindStringSubmatch(line); m != nil {
			if mark, ok := marker.OneMarker(m[1]); ok {
				notes = mark.String()
			}
		}
		if m := creatingArchive.FindStringSubmatch(line); m != nil {
			file := m[1]
			if path.IsAbs(file) {
				file = path.Base(file)
			}
			found = append(found, dump{file: file, notes: notes})
		}
		if m := archiveSize.FindStringSubmatch(line); m != nil && len(found) > 0 {
			found[len(found)-1].size = m[1]
		}
	}
	return found
}

// writtenOut has everything on a declared disk written out.
func (a *Agent) writtenOut(ctx context.Context, dir string) bool {
	if a.O.Fence == nil {
		return false
	}
	if err := privileged.SyncMount(ctx, a.O.Fence, a.O.Node, dir); err != nil {
		a.log.Warn("a backup could not be written out", zap.String("path", dir), zap.Error(err))
		return false
	}
	return true
}
