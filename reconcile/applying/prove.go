package applying

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// prove looks after archives of ours that have no size in their notes and whose task
// this journal does not know: the agent died, or its journal was lost, between the
// task's end and the note. Where PVE's task list still has the task, and it ended
// well and names the archive, the disk is written out and the listed size is compared
// with what vzdump printed (of a backup server it prints none); then the archive counts
// like any other. With the log gone it stays unproven, and a person decides.
func (a *Agent) prove(ctx context.Context, want *spec.Desired, have *node.Observed) {
	for id, state := range have.Storages {
		for _, v := range state.Content {
			if v.Content != "backup" || node.Ambiguous(v) || have.Wholeness(v) != node.Unproven {
				continue
			}
			if _, known := have.Memory.Archives[v.VolID]; known {
				continue
			}
			task := taskOfArchive(have, v)
			a.mu.Lock()
			busy := a.proving[v.VolID]
			if task != nil {
				a.proving[v.VolID] = true
			}
			a.mu.Unlock()
			if busy || task == nil {
				continue
			}
			dir := ""
			if m, _ := have.MountOf(want, id); m != nil {
				dir = m.Path
			}
			old := have.Now.Sub(task.EndTime) > journal.UnsyncedAge
			a.O.Go(func() { a.proveOne(ctx, v, task.UPID, dir, old) })
		}
	}
}

// taskOfArchive finds the ended vzdump that made an archive: of its guest, begun no
// later than the archive and ended after it.
func taskOfArchive(have *node.Observed, v proxmox.Volume) *proxmox.Task {
	for i := range have.Tasks {
		t := &have.Tasks[i]
		if t.Type == "vzdump" && t.OK() && (t.ID == v.VMID.String() || t.ID == "") && (during(t, v.CTime) || during(t, have.Begun(v))) {
			return t
		}
	}
	return nil
}

func during(t *proxmox.Task, at time.Time) bool {
	return !t.StartTime.After(at) && !t.EndTime.Before(at)
}

func (a *Agent) proveOne(ctx context.Context, v proxmox.Volume, upid proxmox.UPID, dir string, old bool) {
	file, size, err := a.dumped(ctx, upid)
	named := file != "" && strings.HasSuffix(v.VolID, "/"+file) && (size == dumpSize(v.Size) || node.OnServer(v))
	if err == nil && !named || proxmox.IsNotFound(err) {
		return
	}
	again := err != nil || dir != "" && !a.writtenOut(ctx, dir) && !(a.O.Fence == nil && old)
	a.mu.Lock()
	defer a.mu.Unlock()
	if again {
		delete(a.proving, v.VolID) // by a later pass
		return
	}
	a.proven[v.VolID] = journal.ArchiveState{Whole: true, Marker: v.Notes}
	a.Nudge()
}

// dumpSize prints a size as vzdump does (PVE::VZDump, format_size of the log): whole
// units, rounded down, with GB in two decimals.
func dumpSize(s proxmox.Size) string {
	switch kb := float64(s) / 1024; {
	case kb < 1024:
		return fmt.Sprintf("%dKB", int(kb))
	case kb < 1024*1024:
		return fmt.Sprintf("%dMB", int(kb/1024))
	default:
		return fmt.Sprintf("%.2fGB", kb/1024/1024)
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
	made.file, made.size, _ = a.dumped(ctx, act.Upid)
	if made.file != "" {
		facts["archive"] = storage + ":backup/" + made.file
	}
	if dir := act.Facts["sync"]; dir != "" && !a.writtenOut(ctx, dir) || act.Facts["disk"] != "" {
		facts["synced"] = "no"
	}
	return made, facts
}

// A dump is what the log of a vzdump says that it has made.
type dump struct{ file, size string }

// archiveSize is how vzdump prints the size of an archive: "35MB".
var archiveSize = regexp.MustCompile(`archive file size: (\S+)`)

// dumped reads from the log of a vzdump which file it has made and how large it was,
// in vzdump's own words. The log is the only place that tells.
func (a *Agent) dumped(ctx context.Context, upid proxmox.UPID) (file, size string, err error) {
	log, err := a.O.Client.TaskLog(ctx, upid) // the file stands at its begin, the size at its end
	if err != nil {
		a.log.Warn("the log of a backup cannot be read", zap.Stringer("task", upid), zap.Error(err))
	}
	file, size = readDump(log)
	return file, size, err
}

func readDump(log []string) (file, size string) {
	for _, line := range log {
		if m := creatingArchive.FindStringSubmatch(line); m != nil {
			if file = m[1]; path.IsAbs(file) {
				file = path.Base(file)
			}
		}
		if m := archiveSize.FindStringSubmatch(line); m != nil {
			size = m[1]
		}
	}
	return file, size
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
