package reconcile

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/reconcile/export"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// RollbackText prints the YAML lines that ask, now, for the rollback of a declared guest
// to a snapshot, below comments on what would be lost. Like a plan it can only read.
func RollbackText(ctx context.Context, source refresh.Source, want *spec.Desired, journal *journal.Journal, ref spec.Ref, snapshot string) (string, error) {
	g := *want.Guest(ref.Name)
	g.Rollback = &spec.Rollback{To: snapshot, Zoned: true}
	asked := want.With(&g)
	source.Only = []spec.Ref{ref}
	have, err := source.Reader(asked, journal, nil).Read(ctx)
	if err != nil {
		return "", err
	}
	q := questions.Questions{Want: asked, Have: have}
	state := have.Guests[g.VMID]
	switch {
	case state == nil:
		return "", fmt.Errorf("%s does not exist on %s as %d: there is nothing to roll back", ref, have.Node, g.VMID)
	case state.Err != nil:
		return "", fmt.Errorf("%d cannot be read: %w. %s", g.VMID, state.Err, text.Sentence(strings.Join(questions.FixOf(state.Err, "see: pct config "+g.VMID.String()), "; ")))
	}
	if m, ok := marker.OneMarker(state.Config.Description()); !ok || !node.Owns(have, m, &g.Object, g.VMID) {
		return "", fmt.Errorf("%d is not managed yet, so no rollback of it would be carried out. Adopt it first: felhom-agent --once --only %s", g.VMID, ref)
	}
	g.Rollback.Requested = have.Now.Truncate(time.Second)
	g.Rollback.RequestedText = questions.Stamp(q)
	found, why, fix := questions.RollbackTarget(q, &g, state)
	if why != "" {
		if state.Snapshots != nil && len(state.Snapshots.Snapshots) > 0 && found.Name == "" {
			var names []string
			for _, s := range state.Snapshots.Snapshots {
				names = append(names, fmt.Sprintf("%s (%s)", s.Name, have.Date(s.Time)))
			}
			fix = "there is " + text.List(names)
		}
		return "", fmt.Errorf("%s: %s; %s", ref, why, fix)
	}
	goes, lost := questions.RollbackLoses(q, state)
	var b strings.Builder
	fmt.Fprintf(&b, "# %s back to %s (%s, %s ago). Lost: all writes since to %s.\n", ref, snapshot, have.Date(found.Time), text.Ago(have.Now.Sub(found.Time)), text.List(lost))
	for _, s := range questions.ComesBackToo(q, state) {
		fmt.Fprintf(&b, "# %s.\n", text.Sentence(s))
	}
	fmt.Fprintf(&b, "# It is done once, and not later than a day after `requested`. Write it below %s: in %s:\n", ref.Name, g.Pos)
	fmt.Fprintf(&b, "    rollback:\n      to: %s\n      requested: %s\n", export.ScalarText(snapshot), questions.Stamp(q))
	if len(goes) > 0 {
		fmt.Fprintf(&b, "      loses: [%s]\n", strings.Join(goes, ", "))
	}
	return b.String(), nil
}
