package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Whatever begins, ends and is forgotten, a journal counts how often each operation ended well, and those that did so often.
func TestTimesAreThoseOfTheOperationsThatAreKnown(t *testing.T) {
	for seed := range uint64(50) {
		chance := rand.New(rand.NewPCG(seed, 2))
		r := MemoryJournal().records
		for i := range 150 {
			action := fmt.Sprintf("A%d", i)
			r.apply(Entry{Step: StepIntent, Action: action, ID: fmt.Sprintf("restores/%c/start", 'a'+chance.IntN(6))})
			switch chance.IntN(8) {
			case 0:
			case 1:
				r.apply(Entry{Step: StepOutcome, Action: action, Result: ResultFailed})
			default:
				r.apply(Entry{Step: StepOutcome, Action: action, Result: ResultOK})
			}
			if chance.IntN(20) == 0 {
				r.files++
				r.forget()
			}
			times, often := map[string]int{}, 0
			for _, a := range r.Order {
				if a.Result == ResultOK {
					times[a.Key]++
				}
			}
			for key, n := range times {
				if n >= RepeatLimit {
					often++
				}
				if r.Times[key] != n {
					t.Fatalf("seed %d: %s ended well %d times, not %d", seed, key, n, r.Times[key])
				}
			}
			if len(r.Times) != len(times) || r.Often != often {
				t.Fatalf("seed %d: %d keys, %d of them often, not %d and %d", seed, len(times), often, len(r.Times), r.Often)
			}
		}
	}
}
