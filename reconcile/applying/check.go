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
func (p *prover) checkContents(ctx context.Context, want *spec.Desired, have *node.Observed) {
	have.Memory.Checking = map[string]time.Time{}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, file := range node.ToCheck(have, want) {
		if _, known := have.Memory.Archives[file.VolID]; known || p.O.Fence == nil {
			continue
		}
		if since, runs := p.checking[file.VolID]; runs {
			have.Memory.Checking[file.VolID] = since
			continue
		}
		if _, done := p.proven[file.VolID]; done || len(p.checking) > 0 || p.proving[file.VolID] && !p.unlogged[file.VolID] {
			continue // its log, or another archive, comes first
		}
		p.checking[file.VolID], have.Memory.Checking[file.VolID] = have.Now, have.Now
		marker := have.Volume(file.VolID).Notes
		p.O.Go(func() { p.checkOne(ctx, file, marker) })
	}
}

func (p *prover) checkOne(ctx context.Context, file node.ArchiveFile, marker string) {
	ctx, cancel := context.WithTimeout(ctx, node.CheckAtMost)
	defer cancel()
	state := journal.ArchiveState{Marker: marker}
	check, err := privileged.CheckArchive(ctx, p.O.Fence, p.O.Node, file.Mount, file.File)
	switch {
	case err != nil:
		p.log.Warn("an archive could not be checked", zap.String("archive", file.VolID), zap.Error(err))
		state.Unchecked = "its contents could not be checked: " + err.Error()
	case check.Fault == "" && check.Unchecked == "":
		state.Whole = p.writtenOut(ctx, file.Mount)
		if !state.Whole {
			state.Unchecked = "its disk cannot be written to"
		}
	default:
		state.Broken, state.Unchecked = check.Fault, check.Unchecked
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.checking, file.VolID)
	p.proven[file.VolID] = state
	p.flights.Nudge()
}
