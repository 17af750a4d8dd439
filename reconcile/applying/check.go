package applying

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// checkContents has the root helper read an archive from which a missing guest may have to be
// made, where neither a note nor a log proves it. One is read at a time, the newest first: with
// it proven, no older one matters.
func (a *Agent) checkContents(ctx context.Context, want *spec.Desired, have *node.Observed) {
	have.Memory.Checking = map[string]time.Time{}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, file := range have.ToCheck(want) {
		if _, known := have.Memory.Archives[file.VolID]; known || a.O.Fence == nil {
			continue
		}
		if since, runs := a.checking[file.VolID]; runs {
			have.Memory.Checking[file.VolID] = since
			continue
		}
		if _, done := a.proven[file.VolID]; done || len(a.checking) > 0 || a.proving[file.VolID] && !a.unlogged[file.VolID] {
			continue // its log, or another archive, comes first
		}
		a.checking[file.VolID], have.Memory.Checking[file.VolID] = have.Now, have.Now
		marker := have.Volume(file.VolID).Notes
		a.O.Go(func() { a.checkOne(ctx, file, marker) })
	}
}

func (a *Agent) checkOne(ctx context.Context, file node.ArchiveFile, marker string) {
	ctx, cancel := context.WithTimeout(ctx, node.CheckAtMost)
	defer cancel()
	state := journal.ArchiveState{Marker: marker}
	check, err := privileged.CheckArchive(ctx, a.O.Fence, a.O.Node, file.Mount, file.File)
	switch {
	case err != nil:
		a.log.Warn("an archive could not be checked", zap.String("archive", file.VolID), zap.Error(err))
		state.Unchecked = "its contents could not be checked: " + err.Error()
	case check.Fault == "" && check.Unchecked == "":
		state.Whole = a.writtenOut(ctx, file.Mount)
		if !state.Whole {
			state.Unchecked = "its disk cannot be written to"
		}
	default:
		state.Broken, state.Unchecked = check.Fault, check.Unchecked
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.checking, file.VolID)
	a.proven[file.VolID] = state
	a.Nudge()
}
