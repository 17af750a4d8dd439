package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// summary counts objects in a fixed order: create, change, restart, start or stop, delete,
// blocked. What is created is not counted as changed or started too, and what is
// restarted not as started.
func summary(p *plan.Plan, blocked bool) string {
	objects := map[plan.Symbol][]string{}
	add := func(s plan.Symbol, name string) {
		if !slices.Contains(objects[s], name) {
			objects[s] = append(objects[s], name)
		}
	}
	steps := p.Steps()
	created, deleted := map[string]bool{}, map[string]bool{}
	for _, l := range steps {
		if l.Effect == plan.Destroying {
			deleted[l.Object.String()] = true // its other steps only lead there
		}
	}
	for _, l := range steps {
		if l.Symbol == plan.Create && !deleted[l.Object.String()] {
			created[l.Object.String()] = true
			add(plan.Create, l.Object.String())
		}
		if l.Symbol == plan.Restart || slices.ContainsFunc(l.Fields, func(f plan.Field) bool { return strings.HasPrefix(f.When, "needs a restart (restart: auto)") }) {
			add(plan.Restart, l.Object.Name)
		}
	}
	deletions, unmounts := p.Deletions(), 0
	for _, l := range steps {
		switch {
		case l.Effect == plan.Deleting, l.Symbol == plan.Restart, created[l.Object.String()], deleted[l.Object.String()]:
		case l.Symbol == plan.Delete:
			unmounts++
		case l.Symbol == plan.Power && slices.Contains(objects[plan.Restart], l.Object.Name):
		default:
			add(l.Symbol, l.Object.String())
		}
	}
	var parts []string
	say := func(n int, text string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, text))
		}
	}
	say(len(objects[plan.Create]), "to create")
	say(len(objects[plan.Change]), "to change")
	if names := objects[plan.Restart]; len(names) > 0 {
		say(len(names), fmt.Sprintf("to restart (%s)", strings.Join(names, ", ")))
	}
	say(len(objects[plan.Power]), "to start or stop")
	say(unmounts, "to unmount")
	parts = append(parts, toDelete(deletions)...)
	if blocked {
		var held []string
		for _, h := range p.Blocked {
			if !slices.Contains(held, h.Object.String()) {
				held = append(held, h.Object.String())
			}
		}
		say(len(held), "blocked")
	}
	return strings.Join(parts, ", ")
}

// toDelete says what a plan deletes.
func toDelete(d plan.Deletions) (parts []string) {
	if d.Guests > 0 {
		parts = append(parts, text.Count(d.Guests, "guest to delete", "guests to delete"))
	}
	if d.Snapshots > 0 {
		parts = append(parts, text.Count(d.Snapshots, "snapshot to delete", "snapshots to delete"))
	}
	if d.Archives > 0 {
		parts = append(parts, text.Count(d.Archives, "archive to delete", "archives to delete"))
	}
	return parts
}

// destroys is the plan's last sentence: how much is deleted, also where that is nothing.
func destroys(p *plan.Plan) string {
	var what []string
	for _, l := range p.Steps() {
		if l.Destroys != "" && !slices.Contains(what, l.Destroys) {
			what = append(what, l.Destroys)
		}
	}
	var counted []string
	d := p.Deletions()
	if d.Archives > 0 {
		counted = append(counted, text.Count(d.Archives, "archive", "archives"))
	}
	if d.Snapshots > 0 {
		counted = append(counted, text.Count(d.Snapshots, "snapshot", "snapshots"))
	}
	s := ""
	switch {
	case len(counted) == 0 && len(what) == 0:
		s = "Destroys nothing."
	case len(counted) == 0:
		s = "Destroys: " + strings.Join(what, "; ") + "."
	default:
		s = "Deletes " + text.List(counted)
		if len(d.Causes) > 0 {
			s += fmt.Sprintf(" (%s)", strings.Join(d.Causes, ", "))
		}
		if len(what) > 0 {
			s += "; destroys " + strings.Join(what, "; ") + "."
		} else {
			s += "; destroys no guest and no volume."
		}
	}
	if len(p.Uncounted) > 0 {
		if len(counted)+len(what) == 0 {
			s = "Destroys no guest and no volume."
		}
		s = strings.TrimSuffix(s, ".") + fmt.Sprintf("; archives on %s are counted when its disk is mounted.", text.List(p.Uncounted))
	}
	return s
}
