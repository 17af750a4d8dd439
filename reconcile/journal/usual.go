package journal

import (
	"slices"
	"time"
)

// Usual is how long operations usually take, by what they did before.
type Usual map[string]time.Duration

// usualOf is how many earlier operations count.
const usualOf = 5

// UsualOf is the median of the newest operations that ended well, per object, verb and text, and per object and verb alone.
func UsualOf(history []HistoryEntry) Usual {
	took := map[string][]time.Duration{}
	for _, e := range slices.Backward(history) {
		if e.Result != ResultOK {
			continue
		}
		for _, key := range []string{usualKey(e.Object, e.Verb, e.Text), usualKey(e.Object, e.Verb, "")} {
			if len(took[key]) < usualOf {
				took[key] = append(took[key], e.Elapsed)
			}
		}
	}
	u := Usual{}
	for key, all := range took {
		slices.Sort(all)
		u[key] = all[len(all)/2]
	}
	return u
}

func usualKey(object, verb, text string) string { return object + "\x00" + verb + "\x00" + text }

// Of is how long an operation usually takes; 0 where nothing like it was done before.
func (u Usual) Of(object, verb, text string) time.Duration {
	if d, ok := u[usualKey(object, verb, text)]; ok {
		return d
	}
	return u[usualKey(object, verb, "")]
}
