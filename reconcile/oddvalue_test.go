package reconcile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// oddities are values that no simulated node gives.
var oddities = []any{nil, "", " ", "-1", -1, 0, 1, 1e300, "1e3", true, "0", "unknown", "ümläut\n", []any{}, []any{nil}, map[string]any{}, map[string]any{"a": nil}, strings.Repeat("x", 9000)}

// places lists the places of a JSON value, by path.
func places(v any, at string, found map[string]func(any)) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			found[at+"/"+key] = func(odd any) { v[key] = odd }
			places(value, at+"/"+key, found)
		}
	case []any:
		for i, value := range v {
			places(value, fmt.Sprintf("%s[%d]", at, i), found)
		}
	}
}

// One odd value in one answer of a node: on one on which everything is as declared the plan,
// if there is one, deletes nothing, makes no guest and no volume, restarts and rolls back
// nothing; and on one on which a guest has lost its config, it is not made beside its volumes.
func TestOneOddValue(t *testing.T) {
	want := reconciletest.Examples(t)
	for name, prepare := range map[string]func(*bench){
		"as declared": func(*bench) {},
		"without a config": func(b *bench) {
			b.sim.LoseConfig(111)
			b.journal = MemoryJournal() // so that it is not known as one of ours that somebody deleted
			b.agent.O.Only = []spec.Ref{{Kind: spec.KindRestore, Name: "nextcloud"}}
		},
	} {
		synctest.Test(t, func(t *testing.T) { oddValues(t, name, want, prepare) })
	}
}

func oddValues(t *testing.T, name string, want *spec.Desired, prepare func(*bench)) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	var seed uint64
	var path, place string
	var odd any
	armed := false
	var asked sync.Map
	b := newFrontBench(t, pvesim.New(), &front{answer: func(method, at string, res *http.Response, body []byte) []byte {
		if method != "GET" || res.StatusCode != 200 {
			return body
		}
		at += "?" + res.Request.URL.RawQuery
		asked.Store(at, true)
		if !armed || at != path {
			return body
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var v any
		if d.Decode(&v) != nil {
			return body
		}
		found := map[string]func(any){}
		places(v, "", found)
		keys := slices.Sorted(maps.Keys(found))
		r := rand.New(rand.NewPCG(seed, 1))
		place = keys[r.IntN(len(keys))]
		odd = oddities[r.IntN(len(oddities))]
		found[place](odd)
		out, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return out
	}})
	if report := b.once(want); report.ExitCode() != 0 {
		t.Fatal(b.closing(report))
	}
	prepare(b)
	asked.Clear()
	b.plan(want)
	var paths []string
	asked.Range(func(at, _ any) bool { paths = append(paths, at.(string)); return true })
	slices.Sort(paths)
	armed = true
	plans, lost := 0, 0
	for seed = range uint64(rounds) {
		path = paths[int(seed)%len(paths)]
		source := b.agent.O.Source
		source.View = b.client.Read()
		p, err := Preview(t.Context(), source, want, b.journal)
		if err != nil {
			lost++
			if strings.Contains(err.Error(), "a mistake in this program") {
				t.Errorf("%s, seed %d: %s %s=%v: %v", name, seed, path, place, odd, err)
			}
			continue
		}
		plans++
		for _, a := range p.Actions {
			more := slices.Contains([]string{"back up", "publish", "snapshot"}, a.Verb) // an archive that is not seen is made again
			lower := a.Verb == "set" && strings.HasSuffix(a.ID, "/config")              // as much memory as is declared
			if a.Effect != plan.Safe && !lower || a.Symbol == plan.Create && !more || a.Symbol == plan.Delete || strings.HasPrefix(a.Verb, "add ") {
				t.Errorf("%s, seed %d: %s %s=%.80v: %s %s: %s", name, seed, path, place, odd, a.Symbol, a.ID, a.Text)
			}
		}
	}
	t.Logf("%s: %d plans, %d looks without one, of %d requests", name, plans, lost, len(paths))
	if plans < rounds/2 {
		t.Errorf("%s: only %d plans: one odd value keeps the whole from going on", name, plans)
	}
}
