package view

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// alikeFrom is how many objects of a kind must have the same lines before they are told together.
const alikeFrom = 3

// together tells objects of a kind whose lines are the same in one: "40 restores: cores 1 -> 2 (svc-000 ... svc-039)".
// What is blocked or running keeps its own line.
func together(lines []line) []line {
	type group struct {
		kind spec.Kind
		text string
	}
	byObject, members := map[spec.Ref]string{}, map[group][]string{}
	var order []spec.Ref
	for _, l := range lines {
		if byObject[l.object] == "" {
			order = append(order, l.object)
		}
		alone := ""
		if l.symbol == plan.Block || l.symbol == plan.AsWritten || strings.HasPrefix(l.when, "running") {
			alone = l.object.Name
		}
		byObject[l.object] += fmt.Sprintf("%s|%s|%s|%q|%s\n", l.symbol, l.text, l.when, l.below, alone)
	}
	for _, ref := range order {
		g := group{ref.Kind, byObject[ref]}
		members[g] = append(members[g], ref.Name)
	}
	var told []line
	for i, l := range lines {
		names := members[group{l.object.Kind, byObject[l.object]}]
		switch {
		case len(names) < alikeFrom:
			told = append(told, l)
		case names[0] == l.object.Name:
			l.label = fmt.Sprintf("%d %s", len(names), l.object.Kind)
			if i == 0 || lines[i-1].object != l.object {
				l.text += fmt.Sprintf(" (%s)", span(names))
			}
			told = append(told, l)
		}
	}
	return told
}

// span is the first and the last of many names.
func span(names []string) string {
	if len(names) == alikeFrom {
		return strings.Join(names, ", ")
	}
	return names[0] + " ... " + names[len(names)-1]
}

// named is what stands before a line.
func (l *line) named() string { return cmp.Or(l.label, l.object.String()) }
