package planning

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/felhom/felhom-agent/spec"
)

// Whatever is found out, forgotten and copied, outcomes say what a plain map says, and a copy changes nothing in what it was copied from.
func TestOutcomesAreAMap(t *testing.T) {
	for seed := range uint64(200) {
		chance := rand.New(rand.NewPCG(seed, 0))
		ref := func() spec.Ref {
			return spec.Ref{Kind: spec.KindRestore, Name: string(rune('a' + chance.IntN(20)))}
		}
		type both struct {
			short outcomes
			plain map[spec.Ref]outcome
		}
		all := []both{{outcomes{over: map[spec.Ref]outcome{}}, map[spec.Ref]outcome{}}}
		for range 200 {
			at := &all[chance.IntN(len(all))]
			switch one := ref(); chance.IntN(4) {
			case 0, 1:
				out := outcome{order: chance.IntN(5), coming: true}
				at.short.set(one, out)
				at.plain[one] = out
			case 2:
				at.short.forget(one)
				delete(at.plain, one)
			case 3:
				if c := (both{at.short.clone(), maps.Clone(at.plain)}); len(all) < 8 {
					all = append(all, c)
				} else {
					*at = c
				}
			}
			for i, b := range all {
				if got := maps.Collect(b.short.all()); !maps.Equal(got, b.plain) {
					t.Fatalf("seed %d, copy %d: %v, want %v", seed, i, got, b.plain)
				}
				for range 3 {
					if one := ref(); b.short.of(one) != b.plain[one] {
						t.Fatalf("seed %d, copy %d: %s is %v, want %v", seed, i, one, b.short.of(one), b.plain[one])
					}
				}
			}
		}
	}
}
