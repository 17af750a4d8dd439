package saved

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/reconcile/plan"
)

// Since is what this agent itself has done since a plan was made.
type Since struct {
	done    map[string]bool // object, verb and queue of what it began
	touched map[string]bool // queues in which it worked: "lxc/201"
}

// Did notes an action of this agent that began after the plan was made.
func (s *Since) Did(object, verb, queue string) {
	if s.done == nil {
		s.done, s.touched = map[string]bool{}, map[string]bool{}
	}
	object, _, _ = strings.Cut(object, " ")
	queue = stamp.ReplaceAllString(queue, "*")
	s.done[object+" "+verb+" "+queue], s.done[object+" "+verb+" "], s.touched[queue] = true, true, true
}

func (s *Since) did(step *Step) bool {
	return s.done[step.Object.String()+" "+step.Verb+" "+stamp.ReplaceAllString(step.Queue, "*")]
}

// A DifferentError is a plan that is no longer the one that was saved. Nothing was sent.
type DifferentError struct {
	Lines []string // one per difference
}

func (e *DifferentError) Error() string {
	return "the saved plan no longer applies; nothing was changed:\n  " + strings.Join(e.Lines, "\n  ") +
		"\nfix: review a new plan: felhom-agent --plan --out FILE"
}

// Differ compares the saved plan with the one of this moment: its lines name each difference, for people. A plan that has
// nothing left to do differs in nothing. Where the agent has carried out a part of it already, only what it has not
// touched since is compared, and what comes on top is for Allows.
func (s *Plan) Differ(now *plan.Plan, agent, owner string, since Since) []string {
	if lines := s.elsewhere(now, agent, owner); len(lines) > 0 {
		return lines
	}
	if !now.Changes() {
		return nil
	}
	var lines []string
	resumed := len(since.done) > 0 // what waited is then as in the later passes of one run: it may have become something else
	for _, queue := range slices.Sorted(maps.Keys(s.Digests)) {
		if digest := now.Digests[queue]; digest != s.Digests[queue] && !since.touched[queue] {
			lines = append(lines, fmt.Sprintf("%s: its configuration was changed since (digest %.8s, then %.8s)", guestOf(s, queue), digest, s.Digests[queue]))
		}
	}
	steps := stepsOf(now)
	for i := range s.Steps {
		step := &s.Steps[i]
		if resumed && step.Waits != "" || since.did(step) {
			continue
		}
		if !slices.ContainsFunc(steps, func(n Step) bool { return step.same(&n) || resumed && step.allows(&n) }) {
			lines = append(lines, fmt.Sprintf("- %s: %s (no longer in the plan%s)", step.Object, step.Text, why(now, step)))
		}
	}
	for i := range steps {
		step := &steps[i]
		if !resumed && !slices.ContainsFunc(s.Steps, func(o Step) bool { return o.same(step) }) {
			lines = append(lines, fmt.Sprintf("+ %s: %s (not in the saved plan)", step.Object, step.Text))
		}
	}
	return lines
}

// elsewhere compares of what the two plans are.
func (s *Plan) elsewhere(now *plan.Plan, agent, owner string) (lines []string) {
	for _, c := range []struct{ what, then, now string }{
		{"the node", s.Node, now.Header.Node},
		{"the owner", s.Owner, owner},
		{"the version of felhom-agent", s.Agent, agent},
		{"the version of PVE", s.PVE, now.Header.Version},
		{"the YAML (SHA-256)", fmt.Sprintf("%.12s", s.Desired), fmt.Sprintf("%.12s", now.Header.Hash)},
	} {
		if c.then != c.now {
			lines = append(lines, fmt.Sprintf("%s is %s, and the plan was made for %s", c.what, c.now, c.then))
		}
	}
	return lines
}

// why says what blocks the object of a step now, where something does.
func why(now *plan.Plan, step *Step) string {
	for _, h := range now.Blocked {
		if h.Object == step.Object {
			return ": " + h.Reason
		}
	}
	return ""
}

// guestOf names the guest of a queue as the plan does.
func guestOf(s *Plan, queue string) string {
	for _, step := range s.Steps {
		if step.Queue == queue {
			return fmt.Sprintf("%s (%s)", step.Object, strings.TrimPrefix(queue, "lxc/"))
		}
	}
	return queue
}
