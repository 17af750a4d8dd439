package marker

import (
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
