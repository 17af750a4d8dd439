package proxmox

import "reflect"

// distinct returns one entry per identity, the first, in the order of the list. What PVE
// names twice is one thing: whoever counts entries must count things. Where a later
// entry of an identity says something else than the first, torn is called with the one
// that stays.
func distinct[T any, K comparable](list []T, identity func(T) K, torn func(first *T, later T)) []T {
	at := make(map[K]int, len(list))
	one := list[:0]
	for _, entry := range list {
		id := identity(entry)
		i, known := at[id]
		if !known {
			at[id] = len(one)
			one = append(one, entry)
			continue
		}
		torn(&one[i], entry)
	}
	return one
}

// differ reports whether two entries of one identity say different things.
func differ[T any](a, b T) bool { return !reflect.DeepEqual(a, b) }
