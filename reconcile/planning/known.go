package planning

import (
	"cmp"
	"maps"

	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// An outcome is what planning one object has found out, and those that are planned after it
// must know.
type outcome struct {
	coming bool           // this plan mounts, makes, adopts or starts it, now or later
	down   string         // why it will not run, or be published, soon; "" where nothing is known
	locked bool           // it is down for a lock that nothing explains
	lost   *marker.Marker // what its ownership marker said, where that is missing
	awaits spec.Ref       // the golden image for whose publication it waits
	starts bool           // it is about to be started
	order  int            // where starts: its place in the startup order
}

// known are the outcomes of the objects that were planned before. Planners only read it;
// planObjects alone adds to it.
type known struct {
	mounting questions.Mounting
	outcomes          // of guests and golden images
	first    spec.Ref // the guest with the lowest startup order of those about to be started; zero: none
	order    int      // the startup order of first
	orphaned bool     // first was forgotten, and another one that starts may be known
}

// nothingKnown has room for the outcomes of so many objects.
func nothingKnown(objects int) known {
	return known{mounting: questions.Mounting{}, outcomes: outcomes{over: make(map[spec.Ref]outcome, objects)}}
}

// learn adds the outcome of an object.
func (k *known) learn(ref spec.Ref, out outcome) {
	switch {
	case ref.Kind == spec.KindMount && out.coming:
		k.mounting[ref.Name] = true
	case ref.Kind == spec.KindGolden, ref.Kind == spec.KindRestore, ref.Kind == spec.KindGuest:
		k.set(ref, out)
	}
	if out.starts && (k.first == spec.Ref{} || out.order < k.order) {
		k.first, k.order = ref, out.order
	}
}

// without is a copy in which nothing is known of some objects.
func (k known) without(part map[spec.Ref]bool) known {
	k.mounting, k.outcomes = maps.Clone(k.mounting), k.clone()
	for ref := range part {
		k.forget(ref)
	}
	if k.first == (spec.Ref{}) && k.orphaned {
		k.orphaned = false
		for ref, out := range k.all() {
			if out.starts && (k.first == spec.Ref{} || cmp.Or(cmp.Compare(out.order, k.order), cmp.Compare(ref.String(), k.first.String())) < 0) {
				k.first, k.order = ref, out.order
			}
		}
	}
	return k
}

// forget drops what is known of an object that is planned again.
func (k *known) forget(ref spec.Ref) {
	if ref.Kind == spec.KindMount {
		delete(k.mounting, ref.Name)
	}
	k.outcomes.forget(ref)
	if k.first == ref {
		k.first, k.orphaned = spec.Ref{}, true
	}
}
