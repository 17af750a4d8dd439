package marker

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMarkersAreFoundAnywhere(t *testing.T) {
	born := time.Date(2026, 11, 22, 17, 2, 9, 0, time.UTC)
	web := Marker{Object: "web", VMID: 201, Owner: "pve1", Born: born, Facts: map[string]string{}}
	tests := []struct {
		name, text string
		want       []Marker
	}{
		{"none", "just notes about felhom-agent/1", nil},
		{"alone", web.String(), []Marker{web}},
		{"in a comment below text", Describe("my shop\n\ncall Anna", web), []Marker{web}},
		{"in the middle of a line", "see " + web.String() + " <b>bold</b>", []Marker{web}},
		{"with facts", "<!-- " + web.With("want", "abc123").String() + " -->", []Marker{web.With("want", "abc123")}},
		{"two", Describe("", web) + "\n" + Describe("", web.With("want", "x")), []Marker{web, web.With("want", "x")}},
		{"a torn number is no guest's", "felhom-agent/1 web vmid=2x1 owner=pve1", []Marker{{Object: "web", Owner: "pve1", Facts: map[string]string{}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, FindMarkers(test.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDescriptionsKeepWhatPeopleWrote(t *testing.T) {
	m := Marker{Object: "web", VMID: 201, Owner: "pve1"}
	for _, text := range []string{"", "my shop", "line one\n\nline three", "<b>markup</b>"} {
		described := Describe(text, m)
		if got := WithoutMarker(described + "\n"); got != text {
			t.Errorf("%q comes back as %q", text, got)
		}
		if again := Describe(WithoutMarker(described), m.With("want", "x")); len(FindMarkers(again)) != 1 {
			t.Errorf("rewriting the marker of %q gives %q", text, again)
		}
	}
}

// TestWithoutMarkerByPattern compares with the pattern that says which line is a marker's.
func TestWithoutMarkerByPattern(t *testing.T) {
	pattern := regexp.MustCompile(`(?m)^[ \t]*(?:<!--[ \t]*)?felhom-agent/1 [^\n]*?(?:-->)?[ \t]*$\n?`)
	pieces := []string{"felhom-agent/1 ", "felhom-agent/1", "<!-- ", "<!--", " -->", "\n", "\n\n", " ", "\t", "web vmid=201 owner=pve1", "the files", "\r\n", "é"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100000 {
		var text string
		for range random.IntN(10) {
			text += pieces[random.IntN(len(pieces))]
		}
		if got, want := WithoutMarker(text), strings.TrimRight(pattern.ReplaceAllString(text, ""), "\n"); got != want {
			t.Fatalf("of %q is left %q, want %q", text, got, want)
		}
	}
}

// TestEqualMarkersPrintTheSame: no more and no less than that.
func TestEqualMarkersPrintTheSame(t *testing.T) {
	at := time.Date(2026, 11, 22, 17, 2, 9, 0, time.UTC)
	var all []Marker
	for _, object := range []string{"web", "mail"} {
		for _, born := range []time.Time{{}, at, at.In(time.FixedZone("", 3600)), at.Add(time.Millisecond), at.Add(time.Second)} {
			for _, facts := range []map[string]string{nil, {}, {"from": "golden/a"}, {"from": "golden/b"}, {"from": "golden/a", "want": "1"}} {
				all = append(all, Marker{Object: object, VMID: 201, Owner: "pve1", Born: born, Facts: facts}, Marker{Object: object, VMID: 202, Owner: "pve1", Born: born, Facts: facts})
			}
		}
	}
	for _, a := range all {
		for _, b := range all {
			if a.Equal(b) != (a.String() == b.String()) {
				t.Errorf("Equal of %q and %q is %t", a, b, a.Equal(b))
			}
		}
	}
}

// What is remembered of a text is what it says, however many others were asked about in between, and is nobody's to change.
func TestTheMarkerOfATextIsTheSameEachTime(t *testing.T) {
	for range 2 {
		for i := range 2*mostRead + 1 {
			m := Marker{Object: "web", VMID: 201, Owner: "pve1", Facts: map[string]string{"size": strconv.Itoa(i)}}
			text := Describe("shop", m)
			if i%3 == 0 {
				text = Describe(text, m) // two are none
			}
			want, one := ReadOne(text)
			got, ok := OneMarker(text)
			if ok != one || ok != (i%3 != 0) || !got.Equal(want) {
				t.Fatalf("%q is %v (%t), remembered as %v (%t)", text, want, one, got, ok)
			}
			if changed := got.With("size", "changed"); ok && changed.Equal(want) {
				t.Fatal("a fact cannot be changed")
			}
			if got, _ = OneMarker(text); !got.Equal(want) {
				t.Fatalf("%q is %v, and %v after somebody changed a copy", text, want, got)
			}
		}
		if len(read.of) > mostRead {
			t.Errorf("%d texts are remembered", len(read.of))
		}
	}
}
