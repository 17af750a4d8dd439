package export

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-multierror"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// load reads the text back. What the language does not take of a guest becomes a
// comment, and the text is to be written again.
func (x *Exporter) load(text string) (want *spec.Desired, again bool, err error) {
	dir, err := os.MkdirTemp("", "felhom-export-")
	if err != nil {
		return nil, false, fmt.Errorf("the export cannot be checked: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "export.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, false, fmt.Errorf("the export cannot be checked: %w", err)
	}
	want, err = spec.Load(path)
	if err == nil {
		return want, false, nil
	}
	var several *multierror.Error
	if !errors.As(err, &several) {
		return nil, false, err
	}
	for _, each := range several.Errors {
		var mistake *spec.Error
		if !errors.As(each, &mistake) || !x.refuse(mistake) {
			return nil, false, err
		}
	}
	x.inspectAll()
	return nil, true, nil
}

// refuse notes a value that the language does not take; it reports whether that was
// news.
func (x *Exporter) refuse(mistake *spec.Error) bool {
	for _, e := range x.guests {
		field, ok := strings.CutPrefix(mistake.Field, "guests."+e.name)
		if !ok || field != "" && field[0] != '.' || e.aside != "" {
			continue
		}
		if key, ok := strings.CutPrefix(field, ".config."); ok {
			key, _, _ = strings.Cut(key, ".")
			return x.refuseKey(e.state.VMID, key, mistake.Message)
		}
		e.aside, e.blocked = mistake.Message, true
		return true
	}
	return false
}

// refuseKey notes that a key of a guest is only a comment, and why; it reports whether that
// was news.
func (x *Exporter) refuseKey(vmid proxmox.VMID, key, why string) bool {
	if x.refused[vmid] == nil {
		x.refused[vmid] = map[string]string{}
	}
	known := x.refused[vmid][key] != ""
	x.refused[vmid][key] = why
	return !known
}

// Differs lists by guest what a plan of the export would do besides adopting it, now or
// once it is adopted.
func (x *Exporter) Differs(want *spec.Desired, have *node.Observed) map[string][]string {
	all := map[string][]string{}
	add := func(ref spec.Ref, format string, args ...any) {
		all[ref.Name] = append(all[ref.Name], fmt.Sprintf(format, args...))
	}
	held := map[string]bool{}
	for _, e := range x.guests {
		held[e.name] = e.tagHeld
	}
	pl := planning.NewPlan(want, have)
	for _, a := range pl.Actions {
		if a.Verb != "adopt" {
			add(a.Object, "a plan would do more than adopt it: %s %s", a.Verb, a.Text)
		}
	}
	for _, l := range pl.Deferred {
		if l.Object.Kind == spec.KindGuest && l.Symbol == plan.Change {
			continue // its differences say it
		}
		add(l.Object, "a plan would do more than adopt it: %s, %s", l.Said(), l.Waits)
	}
	for _, h := range pl.Blocked {
		if !held[h.Object.Name] {
			add(h.Object, "%s. fix: %s", h.Reason, strings.Join(h.Fix, "; "))
		}
	}
	q := questions.Questions{Want: want, Have: have}
	for _, g := range want.AllGuests() {
		state := have.Guests[g.VMID]
		if state == nil || state.Config == nil {
			continue // the plan has said so
		}
		for _, text := range questions.Differences(q, g, state, marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: have.Owner, Born: have.Now}) {
			add(g.Ref, "a plan would change it: %s", text)
		}
	}
	return all
}
