package applying

import (
	"cmp"
	"context"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
	"go.uber.org/zap"
)

// A prover finds out of archives whether they are complete, where this process did not see them made. It reads logs and contents in goroutines of its own.
type prover struct {
	*tools

	mu       sync.Mutex
	proven   map[string]journal.ArchiveState // managed archives whose task another process or generation began
	proving  map[string]bool
	checking map[string]time.Time // archives that the root helper reads now -> since when
	unlogged map[string]bool      // archives of which no log tells
	asks     int                  // how many logs are being read
	again    bool                 // one that could not be is left to a later pass
}

func newProver(t *tools) *prover {
	return &prover{tools: t, proven: map[string]journal.ArchiveState{}, proving: map[string]bool{}, unlogged: map[string]bool{}, checking: map[string]time.Time{}}
}

// recall adds to what the journal knows of archives what was found out since.
func (p *prover) recall(archives map[string]journal.ArchiveState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for volid, state := range p.proven {
		if _, known := archives[volid]; !known {
			archives[volid] = state
		}
	}
}

// reads reports whether the contents of an archive are being read.
func (p *prover) reads() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.checking) > 0
}

// open reports whether something is still to be found out of an archive, now or by a later pass.
func (p *prover) open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.checking) > 0 || p.asks > 0 || p.again
}

// prove looks after archives of ours that have no size in their notes and whose task
// this journal does not know: the agent died, or its journal was lost, between the
// task's end and the note. Where PVE's task list still has the task, and it ended
// well and names the archive, the disk is written out and the listed size is compared
// with what vzdump printed (of a backup server it prints none); then the archive counts
// like any other, or is known to be damaged. Where no log tells, and a guest is to be made
// from it, its contents are checked.
func (p *prover) prove(ctx context.Context, want *spec.Desired, have *node.Observed) {
	p.mu.Lock()
	p.again = false
	p.mu.Unlock()
	for id, state := range have.Storages {
		for _, v := range state.Content {
			if lost := v.Notes == "" && node.WholenessOf(have, v) == node.Unrecorded; v.Content != "backup" || node.Ambiguous(v) || !lost && node.WholenessOf(have, v) != node.Unproven {
				continue
			}
			if _, known := have.Memory.Archives[v.VolID]; known {
				continue
			}
			tasks := tasksOfArchive(have, v)
			if v.Notes == "" { // anybody's, as far as its name tells
				tasks = slices.DeleteFunc(tasks, func(t proxmox.Task) bool { return t.Owner() != p.O.Source.TokenID })
			}
			p.mu.Lock()
			busy := p.proving[v.VolID]
			if !busy && len(tasks) > 0 {
				p.proving[v.VolID] = true
				p.asks++
			}
			p.mu.Unlock()
			if busy || len(tasks) == 0 {
				continue
			}
			dir := ""
			if m, _ := have.MountOf(want, id); m != nil {
				dir = m.Path
			}
			now := have.Now
			p.O.Go(func() { p.proveOne(ctx, v, tasks, dir, now) })
		}
	}
	p.checkContents(ctx, want, have)
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

func (p *prover) proveOne(ctx context.Context, v proxmox.StorageContent, tasks []proxmox.Task, dir string, now time.Time) {
	state, old, again := journal.ArchiveState{}, false, false
	for _, t := range tasks {
		found, err := p.dumped(ctx, t.UPID)
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
	if state.Whole && dir != "" && !p.writtenOut(ctx, dir) && !(p.O.Fence == nil && old) {
		again = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asks--
	p.again = p.again || again
	switch {
	case state.Marker != "" && !again, state.Marker != "" && !state.Whole:
		p.proven[v.VolID] = state
		p.flights.Nudge()
	case again:
		delete(p.proving, v.VolID) // by a later pass
	default:
		p.unlogged[v.VolID] = true
	}
}

// creatingArchive is the line that names the archive: a file, or on a backup server
// ct/VMID/TIME.
var creatingArchive = regexp.MustCompile(`creating (?:vzdump|Proxmox Backup Server) archive '([^']+)'`)

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
func (t *tools) dumped(ctx context.Context, upid proxmox.UPID) ([]dump, error) {
	log, err := t.O.Client.TaskLog(ctx, upid) // the file stands at its begin, the size at its end
	if err != nil {
		t.log.Warn("the log of a backup cannot be read", zap.Stringer("task", upid), zap.Error(err))
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
