package main

import (
	"reflect"
	"slices"
	"testing"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
)

// TestRoutes holds that the routing table is whole: every call that the API client can build and every
// operation of the fence stands in it, once, with a reason. That no package has the other's way is in
// TestArrows.
func TestRoutes(t *testing.T) {
	var want []string
	builder := reflect.TypeFor[proxmox.Builder]()
	for i := range builder.NumMethod() {
		if m := builder.Method(i); m.Type.NumOut() == 1 && m.Type.Out(0) == reflect.TypeFor[proxmox.Call]() {
			want = append(want, m.Name+" api")
		}
	}
	if len(want) < 10 {
		t.Fatalf("the client builds only %v", want)
	}
	for _, r := range privileged.Routes() {
		name := r.Operation
		if !r.Act {
			name += " (query)"
		}
		want = append(want, name+" root helper")
	}
	var have []string
	for _, r := range routes() {
		have = append(have, r.operation+" "+r.backend)
		if r.why == "" {
			t.Errorf("%s has no reason", r.operation)
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(have, want) {
		t.Errorf("the table has\n%v\nand should have\n%v", have, want)
	}
}

// TestActionsHaveTwoWaysOnly holds that an action of a plan can go no third way.
func TestActionsHaveTwoWaysOnly(t *testing.T) {
	var ways []string
	action := reflect.TypeFor[reconcile.Action]()
	for i := range action.NumField() {
		if f := action.Field(i); f.Type.Kind() == reflect.Pointer {
			ways = append(ways, f.Type.Elem().String())
		}
	}
	if !slices.Equal(ways, []string{"proxmox.Call", "privileged.Op"}) {
		t.Errorf("an action goes by %v", ways)
	}
}
