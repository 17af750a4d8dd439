package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// passedOn has the live lines of a terminal say how far all is.
func passedOn(progress *reconcile.Progress, n *session.Session, plan *reconcile.Plan, o reconcile.TextOptions) {
	if o.Live {
		progress.Passed(plan, reconcile.UsualOf(n.Journal.History(reconcile.HistoryFilter{})).Of)
	}
}

// runHistory prints the journal. It needs no node.
func runHistory(_ context.Context, cmd *command, con *console.Console) (int, error) {
	dir, err := stateOf(cmd)
	if err != nil {
		return 0, err
	}
	journal, err := reconcile.ReadJournal(dir)
	if err != nil {
		return 0, err
	}
	defer journal.Close()
	filter := reconcile.HistoryFilter{Failed: cmd.failed, Last: cmd.lines}
	if filter.Objects, err = inJournal(journal.History(reconcile.HistoryFilter{}), cmd.only); err != nil {
		return 0, err
	}
	if cmd.since != "" {
		now, err := clockOf(cmd, con)
		if err != nil {
			return 0, err
		}
		if filter.Since, err = sinceWhen(cmd.since, now); err != nil {
			return 0, err
		}
	}
	if cmd.json {
		return exit.OK, journal.WriteJSON(con.Stdout, filter)
	}
	return exit.OK, journal.WriteText(con.Stdout, filter, cmd.verbose)
}

// sinceWhen reads a time: how long ago (2d), or a day or moment of the clock.
func sinceWhen(s string, now time.Time) (time.Time, error) {
	if d, err := config.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("expected how long ago, such as 2d, or a time, such as 2026-11-22 or \"2026-11-22 18:00\"")
}

// inJournal finds the objects of the journal that a person means by restores/web, by web alone, by a kind or by a glob.
func inJournal(actions []reconcile.HistoryEntry, typed []string) (found []string, err error) {
	for _, list := range typed {
		for name := range strings.SplitSeq(list, ",") {
			var fits []string
			for _, action := range actions {
				ref, err := spec.ParseRef(action.Object)
				if err != nil || slices.Contains(fits, action.Object) {
					continue
				}
				if action.Object == name || ref.Name == name || strings.HasPrefix(action.Object, name+"/") || pattern(name) && fitting(name, ref) {
					fits = append(fits, action.Object)
				}
			}
			switch {
			case len(fits) == 0:
				return nil, usagef("--only %s: the journal has nothing of that name", name)
			case len(fits) > 1 && !pattern(name) && slices.ContainsFunc(fits, func(o string) bool { return o != name && !strings.HasPrefix(o, name+"/") }):
				slices.Sort(fits)
				return nil, usagef("--only %s fits %s: say which", name, strings.Join(fits, ", "))
			}
			found = append(found, fits...)
		}
	}
	return found, nil
}
