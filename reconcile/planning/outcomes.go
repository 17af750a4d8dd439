package planning

import (
	"iter"
	"maps"

	"github.com/felhom/felhom-agent/spec"
)

// outcomes are those of the objects, by object. What a plan has found out is shared with the plan of a part that follows it, and is
// only read there: of a thousand guests, most plans concern one.
type outcomes struct {
	over  map[spec.Ref]outcome // found out since, or anew
	gone  map[spec.Ref]bool    // what is under it and does not hold any more
	under map[spec.Ref]outcome
}

// of is the outcome of an object; the zero one where nothing is known.
func (o *outcomes) of(ref spec.Ref) outcome {
	if out, ok := o.over[ref]; ok {
		return out
	}
	if o.gone[ref] {
		return outcome{}
	}
	return o.under[ref]
}

func (o *outcomes) set(ref spec.Ref, out outcome) { o.over[ref] = out }

func (o *outcomes) forget(ref spec.Ref) {
	delete(o.over, ref)
	if _, there := o.under[ref]; there {
		o.gone[ref] = true
	}
}

// all are the outcomes of all objects, in no order.
func (o *outcomes) all() iter.Seq2[spec.Ref, outcome] {
	return func(yield func(spec.Ref, outcome) bool) {
		for ref, out := range o.over {
			if !yield(ref, out) {
				return
			}
		}
		for ref, out := range o.under {
			if _, anew := o.over[ref]; !anew && !o.gone[ref] && !yield(ref, out) {
				return
			}
		}
	}
}

// clone is a copy that can be changed. It copies all from time to time, lest it grow to more than it says.
func (o *outcomes) clone() outcomes {
	if len(o.over)+len(o.gone) <= len(o.under)/8 {
		c := outcomes{over: maps.Clone(o.over), gone: map[spec.Ref]bool{}, under: o.under}
		maps.Copy(c.gone, o.gone)
		return c
	}
	return outcomes{over: map[spec.Ref]outcome{}, gone: map[spec.Ref]bool{}, under: maps.Collect(o.all())}
}
