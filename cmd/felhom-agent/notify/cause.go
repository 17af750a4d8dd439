package notify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/reconcile"
)

// namedAtMost is how many objects a notice names that are blocked by its own.
const namedAtMost = 10

// trouble tells of an object that needs a person. What another object blocks is told with that one: one cause,
// one notice.
func (t *Notifier) trouble(object, state string, under map[string]string, h reconcile.Blocked, where string) {
	if root := under[object]; root != "" {
		if t.told.Objects[object] == "" || t.told.Under[object] != "" {
			t.told.Objects[object], t.told.Under[object] = state, root
		}
		return
	}
	if t.told.Under[object] != "" { // it has a cause of its own by now
		delete(t.told.Under, object)
		delete(t.told.Objects, object)
	}
	text, others := h.Reason, []string{}
	for _, other := range slices.Sorted(maps.Keys(under)) {
		if under[other] == object {
			others = append(others, other)
		}
	}
	if n := len(others) - namedAtMost; n > 1 {
		others = append(others[:namedAtMost], fmt.Sprintf("and %d more", n))
	}
	if len(others) > 0 {
		text += "; it blocks too: " + strings.Join(others, ", ")
	}
	t.turn(object, state, text, h.Fix, where)
}

// causes finds the objects that are blocked by what another one tells: that one is their fix, or it has the same
// reason and fix.
func causes(plan *reconcile.Plan, state map[string]string, why map[string]reconcile.Blocked) (under map[string]string) {
	under = map[string]string{}
	first := map[string]string{}
	for _, ref := range plan.Objects {
		object := ref.String()
		h, ok := why[object]
		if !ok || state[object] != "blocked" {
			continue
		}
		if len(h.Fix) > 0 {
			_, other, _ := strings.Cut(h.Fix[0], " ")
			if _, troubled := state[other]; troubled && other != object && (h.Fix[0] == "as "+other || h.Fix[0] == "see "+other) {
				under[object] = other
				continue
			}
		}
		if alike := h.Reason + "\n" + strings.Join(h.Fix, "\n"); first[alike] == "" {
			first[alike] = object
		} else {
			under[object] = first[alike]
		}
	}
	for _, object := range slices.Sorted(maps.Keys(under)) { // to the first cause; two that name each other are told apart
		root := under[object]
		for range len(under) {
			if under[root] == "" {
				break
			}
			root = under[root]
		}
		if under[root] != "" {
			delete(under, object)
			continue
		}
		under[object] = root
	}
	return under
}

// troubles are the objects that people want to hear of, each with its worst reason. What a person froze and
// what passes by itself are none.
func troubles(plan *reconcile.Plan) (state map[string]string, why map[string]reconcile.Blocked) {
	state, why = map[string]string{}, map[string]reconcile.Blocked{}
	rank := map[string]int{"": 0, "blocked": 1, "overdue": 2, "failed": 3}
	for _, h := range plan.Blocked {
		if h.Passing || h.Kind == reconcile.BlockedFrozen {
			continue
		}
		word := string(h.Kind)
		if word == "" {
			word = "blocked"
		}
		if object := h.Object.String(); rank[word] > rank[state[object]] {
			state[object], why[object] = word, h
		}
	}
	return state, why
}
