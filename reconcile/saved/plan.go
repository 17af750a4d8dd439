package saved

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// Kind is what the first line of a file says.
const Kind = "felhom-agent/saved-plan"

// Format is the version of the file.
const Format = 1

// A Plan is what was reviewed: the steps, and what they are based on.
type Plan struct {
	Kind    string            `json:"kind"`
	Format  int               `json:"format"`
	Agent   string            `json:"agent"`   // version of the program that made it
	Node    string            `json:"node"`    //
	Owner   string            `json:"owner"`   // in the ownership markers
	PVE     string            `json:"version"` // PVE's
	Made    time.Time         `json:"made"`    // by the node's clock
	Last    string            `json:"last"`    // the newest action of the journal then; "": none
	Desired string            `json:"desired"` // SHA-256 (hex) of the YAML: names and contents
	Only    []spec.Ref        `json:"only"`    // the objects to which it is limited; empty: all
	Fitting []spec.Ref        `json:"fitting"` // of those, what fits a kind or a glob
	Digests map[string]string `json:"digests"` // queue of a guest ("lxc/201") -> PVE's digest of its configuration
	Steps   []Step            `json:"steps"`
	Sum     string            `json:"sum"` // SHA-256 (hex) of this document with an empty sum
}

// A Step is one step of the plan.
type Step struct {
	Object  spec.Ref     `json:"object"`
	Guest   string       `json:"guest,omitempty"`
	Verb    string       `json:"verb"`
	Text    string       `json:"text"`            // as the plan shows it
	Queue   string       `json:"queue,omitempty"` // "" where it is not known yet on what it works
	Fields  []plan.Field `json:"fields,omitempty"`
	Effect  plan.Effect  `json:"effect"`
	VolID   string       `json:"volid,omitempty"`   // the archive that it deletes
	Waits   string       `json:"waits,omitempty"`   // for what it waits; "" where it is ready
	Request string       `json:"request,omitempty"` // of a step that is ready, without its digest and notes
}

// About is what a plan does not say of itself.
type About struct {
	Agent         string // version of the program
	Owner         string // in the ownership markers
	Last          string // the newest action of the journal
	Only, Fitting []spec.Ref
}

// Of is a plan as it is saved.
func Of(p *plan.Plan, o About) *Plan {
	s := &Plan{Kind: Kind, Format: Format, Agent: o.Agent, Node: p.Header.Node, Owner: o.Owner, PVE: p.Header.Version, Made: p.Header.Refreshed, Last: o.Last,
		Desired: p.Header.Hash, Only: append([]spec.Ref{}, o.Only...), Fitting: append([]spec.Ref{}, o.Fitting...), Digests: map[string]string{}, Steps: stepsOf(p)}
	for _, step := range s.Steps {
		if digest := p.Digests[step.Queue]; digest != "" {
			s.Digests[step.Queue] = digest
		}
	}
	return s
}

func stepsOf(p *plan.Plan) []Step {
	steps := []Step{}
	for i := range p.Actions {
		steps = append(steps, ready(&p.Actions[i]))
	}
	for i := range p.Deferred {
		l := &p.Deferred[i]
		effect := l.Effect
		if effect == "" {
			effect = plan.Safe
		}
		steps = append(steps, Step{Object: l.Object, Guest: l.Guest, Verb: l.Verb, Text: l.Said(), Queue: l.Queue, Fields: untimed(l.Fields), Effect: effect, VolID: l.VolID, Waits: l.Waits})
	}
	return steps
}

// ready is a step that can be sent now.
func ready(a *plan.Action) Step {
	s := Step{Object: a.Object, Guest: a.Guest, Verb: a.Verb, Text: a.Said(), Queue: a.Queue, Fields: untimed(a.Fields), Effect: a.Effect, VolID: a.VolID}
	switch {
	case a.Op != nil:
		s.Request = fmt.Sprintf("%s %v", a.Op.Name, without(a.Op.Args))
	case a.Call != nil:
		s.Request = fmt.Sprintf("%s %s %v", a.Call.Method, a.Call.Path, without(a.Call.Params))
	}
	return s
}

// without drops what differs between two plans of the same step: the digest, which is compared by itself, and the
// notes, which say when the step was planned.
func without[M ~map[string]string](params M) map[string]string {
	kept := maps.Clone(map[string]string(params))
	for _, key := range []string{"digest", "description", "notes", "notes-template"} {
		delete(kept, key)
	}
	return kept
}

// untimed are the fields without when they take effect: that changes as steps are done.
func untimed(fields []plan.Field) []plan.Field {
	var all []plan.Field
	for _, f := range fields {
		f.When = ""
		all = append(all, f)
	}
	return all
}

// stamp is a time in the name of an archive or in a marker.
var stamp = regexp.MustCompile(`\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// allows reports whether a step that is ready now was in a plan as s: the same change of the same thing. The time
// in the name of an archive that was still to be made is not compared. A step of which the plan could not know on
// what it works ("create 112 from its newest backup, when mounts/backup is mounted") stands for all that makes its
// object, as long as that stops and deletes nothing.
func (s *Step) allows(now *Step) bool {
	if s.Queue == "" && s.Object == now.Object && worse(now.Effect) <= worse(plan.Safe) {
		return true
	}
	known := func(a, b string) bool {
		return a == "" || b == "" || stamp.ReplaceAllString(a, "*") == stamp.ReplaceAllString(b, "*")
	}
	return s.Object == now.Object && s.Verb == now.Verb && known(s.Guest, now.Guest) && known(s.Queue, now.Queue) &&
		slices.Equal(s.Fields, now.Fields) && worse(s.Effect) >= worse(now.Effect) &&
		stamp.ReplaceAllString(s.VolID, "*") == stamp.ReplaceAllString(now.VolID, "*")
}

func worse(e plan.Effect) int {
	return slices.Index([]plan.Effect{"", plan.Safe, plan.Disruptive, plan.Deleting, plan.Destroying}, e)
}

// same reports whether two plans have the same step.
func (s *Step) same(now *Step) bool {
	return s.allows(now) && now.allows(s) && s.Text == now.Text && (s.Request == now.Request || s.Request == "" || now.Request == "")
}

// Allows reports whether an action is a step of the plan.
func (s *Plan) Allows(a *plan.Action) bool {
	now := ready(a)
	return slices.ContainsFunc(s.Steps, func(step Step) bool { return step.allows(&now) })
}

// Write is the plan as a file.
func (s *Plan) Write() ([]byte, error) {
	s.Sum = ""
	sum, err := s.sum()
	if err != nil {
		return nil, err
	}
	s.Sum = sum
	return s.encode()
}

func (s *Plan) encode() ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(s)
	return []byte(b.String()), err
}

func (s *Plan) sum() (string, error) {
	bare := *s
	bare.Sum = ""
	data, err := bare.encode()
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), err
}
