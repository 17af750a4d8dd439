package proxmox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"sort"
	"strings"
)

// entries are those of a list as an answer had them, in its order, and where they stood in it.
type entries[T any] struct {
	body   []byte
	at     []span
	values []T
}

// A span is from one byte of a body to before another.
type span struct{ from, to int }

// readList is read for a long list of which little changes from answer to answer: the entries are taken over that the
// answer before had at its start or end. made makes an entry of what PVE sends, and whole the list of a copy of the entries.
func readList[W, T any](ctx context.Context, v *View, path string, params Params, made func(*W, *reply) (T, error), whole func([]T) []T) ([]T, error) {
	r, err := v.get(ctx, path, params)
	if err != nil {
		return nil, err
	}
	list, _, err := decodedOnce(r, func() ([]T, int, error) {
		before, _ := r.decoded.before.(*entries[T])
		r.decoded.before = nil
		if now, ok := stream(r, before, made); ok {
			r.decoded.entries = now
			return whole(slices.Clone(now.values)), 0, nil
		}
		list, total, err := decode[[]W](r)
		values := make([]T, len(list))
		for i := 0; i < len(list) && err == nil; i++ {
			values[i], err = made(&list[i], r)
		}
		if err != nil {
			return nil, 0, err
		}
		return whole(values), total, nil
	})
	return list, err
}

// listHead is how PVE begins an answer that is a list, and listTail how it ends one of which it tells nothing else.
const listHead, listTail = `{"data":[`, "}"

// stream decodes a list of objects entry by entry. Those before the first byte in which it differs from the list before are taken
// from there, and so are those after the last one. ok is false where an answer has another form, or a mistake: decode names it.
func stream[W, T any](r *reply, before *entries[T], made func(*W, *reply) (T, error)) (now *entries[T], ok bool) {
	if !bytes.HasPrefix(r.body, []byte(listHead)) || tooMany(r) != nil {
		return nil, false
	}
	now = &entries[T]{body: r.body}
	head, tail := now.share(before)
	end := len(listHead) // of what is read
	if head > 0 {
		now.at, now.values = slices.Clone(before.at[:head]), slices.Clone(before.values[:head])
		end = now.at[head-1].to
	}
	var d *json.Decoder
	begin := 0 // of what it is given
	for from := now.next(end); from >= 0; from = now.next(end) {
		if i := tail(from); i >= 0 {
			now.take(before, i)
			return now, true
		}
		if d == nil { // which is told of a list that begins here
			d, begin = json.NewDecoder(io.MultiReader(strings.NewReader("["), bytes.NewReader(r.body[from:]))), from-1
			if _, err := d.Token(); err != nil {
				return nil, false
			}
		}
		var w W
		if d.Decode(&w) != nil {
			return nil, false
		}
		value, err := made(&w, r)
		if err != nil {
			return nil, false
		}
		end = begin + int(d.InputOffset())
		now.at, now.values = append(now.at, span{from, end}), append(now.values, value)
	}
	rest, ended := bytes.CutPrefix(bytes.TrimLeft(r.body[end:], blanks), []byte("]"))
	return now, len(now.at) > 0 && ended && string(bytes.TrimRight(rest, blanks)) == listTail
}

// share says how many entries of the list before stand at the same place at the start of this one, and finds the first of those
// that stand, as they did there, at its end: by the place at which one begins in this list, -1 where none does.
func (e *entries[T]) share(before *entries[T]) (head int, tail func(at int) int) {
	if before == nil {
		return 0, func(int) int { return -1 }
	}
	a, b := before.body, e.body
	same := common(len(a), len(b), func(n int) bool { return bytes.Equal(a[:n], b[:n]) })
	head = sort.Search(len(before.at), func(i int) bool { return before.at[i].to > same })
	taken := 0
	if head > 0 {
		taken = before.at[head-1].to
	}
	rest := common(len(a)-taken, len(b)-taken, func(n int) bool { return bytes.Equal(a[len(a)-n:], b[len(b)-n:]) })
	return head, func(at int) int {
		if len(b)-at > rest {
			return -1
		}
		i, there := slices.BinarySearchFunc(before.at, at-len(b)+len(a), func(s span, from int) int { return s.from - from })
		if !there {
			return -1
		}
		return i
	}
}

// common is the greatest number for which two texts of these lengths are the same, halving what is not known.
func common(a, b int, same func(n int) bool) int {
	low, high := 0, min(a, b)
	for low < high {
		if n := (low + high + 1) / 2; same(n) {
			low = n
		} else {
			high = n - 1
		}
	}
	return low
}

// take takes the entries of the list before from one on, which stand at the end of this list.
func (e *entries[T]) take(before *entries[T], from int) {
	shift := len(e.body) - len(before.body)
	for _, s := range before.at[from:] {
		e.at = append(e.at, span{s.from + shift, s.to + shift})
	}
	e.values = append(e.values, before.values[from:]...)
}

// blanks is what may stand between the parts of a JSON text.
const blanks = " \t\r\n"

// next is where the object begins that follows after the entries up to a place; -1 where no object does.
func (e *entries[T]) next(end int) int {
	rest := bytes.TrimLeft(e.body[end:], blanks)
	if len(e.at) > 0 {
		var comma bool
		if rest, comma = bytes.CutPrefix(rest, []byte(",")); !comma {
			return -1
		}
		rest = bytes.TrimLeft(rest, blanks)
	}
	if len(rest) == 0 || rest[0] != '{' {
		return -1
	}
	return len(e.body) - len(rest)
}
