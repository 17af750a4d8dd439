package proxmox

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// listOf decodes a list as a whole.
func wholeList(r *reply) (values []StorageContent, err error) {
	list, _, err := decode[[]volumeWire](r)
	for i := 0; i < len(list) && err == nil; i++ {
		var value StorageContent
		value, err = volumeOf(&list[i], r)
		values = append(values, value)
	}
	return values, err
}

// sameAsWhole streams a list after another one, compares that with what the whole list decodes to, and returns its entries and how
// many of them were decoded.
func sameAsWhole(t *testing.T, before *entries[StorageContent], body string) (*entries[StorageContent], int) {
	t.Helper()
	r := &reply{body: []byte(body), decoded: &decoded{}}
	made := 0
	now, ok := stream(r, before, func(w *volumeWire, r *reply) (StorageContent, error) {
		made++
		return volumeOf(w, r)
	})
	if !ok {
		return nil, made
	}
	want, err := wholeList(r)
	if err != nil {
		t.Fatalf("streamed, but it is no list: %v\nbefore %s\nnow    %s", err, before.text(), body)
	}
	if !reflect.DeepEqual(now.values, want) {
		t.Fatalf("before %s\nnow    %s\nstreamed %+v\nas a whole %+v", before.text(), body, now.values, want)
	}
	for i, s := range now.at {
		if one, err := wholeList(&reply{body: []byte(listHead + body[s.from:s.to] + "]}")}); err != nil || !reflect.DeepEqual(one[0], want[i]) {
			t.Fatalf("entry %d of %s is said to be %q", i, body, body[s.from:s.to])
		}
	}
	return now, made
}

func (e *entries[T]) text() string {
	if e == nil {
		return "nothing"
	}
	return string(e.body)
}

// volumes is an answer with these entries.
func volumes(entries []string) string { return listHead + strings.Join(entries, ",") + "]}" }

// Of a list of a thousand volumes to which one was added, or of which one was changed or taken away, at most that one is decoded.
func TestListDecodesWhatIsNew(t *testing.T) {
	var all []string
	for i := range 1000 {
		all = append(all, fmt.Sprintf(`{"volid":"local-lvm:vm-%d-disk-0","vmid":"%d","size":1073741824,"content":"rootdir"}`, 1000+i, 1000+i))
	}
	first, made := sameAsWhole(t, nil, volumes(all))
	if made != len(all) {
		t.Fatalf("%d of %d entries were decoded", made, len(all))
	}
	added := `{"volid":"local-lvm:vm-9-disk-0","vmid":9,"size":4,"content":"rootdir","notes":"},{"}`
	for name, changed := range map[string][]string{
		"the same":       all,
		"one at the end": append(all[:1000:1000], added), "one at the start": append([]string{added}, all...),
		"one in the middle": append(append(all[:500:500], added), all[500:]...), "one changed": append(append(all[:500:500], added), all[501:]...),
		"the first is gone": all[1:], "the last is gone": all[:999], "one is gone": append(all[:500:500], all[501:]...),
		"one moved": append(append(all[1:500:500], all[0]), all[500:]...),
	} {
		if now, made := sameAsWhole(t, first, volumes(changed)); now == nil || made > 1 && name != "one moved" {
			t.Errorf("%s: %d entries were decoded", name, made)
		}
	}
}

// Lists that follow each other, most of them with a mistake or in another form, are streamed as they are decoded as a whole, or not at
// all.
func TestListStreamedIsTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := []string{`{"volid":"a:1"}`, `{"volid":"a:1","size":12}`, `{"volid":"b:\"},{\"volid\":\"x"}`, `{ "volid" : "c" , "verification":{"state":"ok"}}`, `{"volid":"é\u0041"}`,
		`{"VOLID":"d","notes":"\\"}`, ",", ",", ",", ",", " ", "\n", "null", "[]", "{}", `{"volid":""}`, "]", "}", `]}`, `{"volid":"e"`, `"`, `\`, "1"}
	pick := func() string {
		if rng.IntN(8) > 0 {
			return parts[rng.IntN(6)]
		}
		return parts[rng.IntN(len(parts))]
	}
	var before *entries[StorageContent]
	list := []string{parts[0]}
	streamed, shared := 0, 0
	for range 200_000 {
		next := append([]string{}, list...)
		for range rng.IntN(3) {
			switch i := rng.IntN(len(next) + 1); {
			case i == len(next) || rng.IntN(3) == 0 && len(next) < 8:
				next = append(append(append([]string{}, next[:i]...), pick()), next[i:]...)
			case rng.IntN(2) == 0 && len(next) > 1:
				next = append(append([]string{}, next[:i]...), next[i+1:]...)
			default:
				next[i] = pick()
			}
		}
		body := volumes(next)
		switch rng.IntN(20) {
		case 0:
			at := rng.IntN(len(body))
			body = body[:at] + parts[rng.IntN(len(parts))] + body[at:]
		case 1:
			at := rng.IntN(len(body))
			body = body[:at] + body[at+1:]
		case 2:
			body = strings.Replace(body, `]}`, `],"total":3}`, 1)
		}
		now, made := sameAsWhole(t, before, body)
		if now == nil {
			continue
		}
		streamed++
		if made < len(now.at) {
			shared++
		}
		if list, before = next, now; len(list) > 7 {
			list = list[:3]
		}
	}
	if streamed < 50_000 || shared < 25_000 {
		t.Errorf("%d of 200,000 lists were streamed, %d of them in part from the list before", streamed, shared)
	}
}

func FuzzListStreamed(f *testing.F) {
	f.Add(volumes([]string{`{"volid":"a"}`, `{"volid":"b"}`}), volumes([]string{`{"volid":"a"}`, `{"volid":"c"}`, `{"volid":"b"}`}))
	f.Add(`{"data":[{"volid":"a"}]}`, `{"data":[{"volid":"a"},]}`)
	f.Add(`{"data":[{"volid":"a"}]}`, `{"data":[,{"volid":"a"}]}`)
	f.Add(`{"data":[{"volid":"a"} , {"volid":"}"}]} `, "{\"data\":[\n{\"volid\":\"a\"},{\"volid\":\"}\"}]}\n")
	f.Fuzz(func(t *testing.T, was, is string) {
		before, _ := sameAsWhole(t, nil, was)
		sameAsWhole(t, before, is)
	})
}
