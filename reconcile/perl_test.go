package reconcile

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// perl is a JSON value as another day's Perl would write it: it does not keep numbers and
// strings apart, and what is undefined is null, or left out.
func perl(v any, strung, null bool) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if value == nil && null {
				delete(v, key)
				continue
			}
			v[key] = perl(value, strung, null)
		}
		if null {
			v["of a later version"] = nil
		}
		return v
	case []any:
		for i := range v {
			v[i] = perl(v[i], strung, null)
		}
		return v
	case json.Number:
		if strung {
			return v.String()
		}
	case bool:
		return map[bool]int{true: 1, false: 0}[v]
	}
	return v
}

// Whether numbers come as strings, or what is undefined comes as null or not at all: the
// household of the examples converges.
func TestTheHouseholdConvergesInEveryPerl(t *testing.T) {
	want := reconciletest.Examples(t)
	for _, c := range []struct{ strung, null bool }{{true, false}, {false, true}, {true, true}} {
		synctest.Test(t, func(t *testing.T) {
			b := newFrontBench(t, pvesim.New(), &front{answer: func(method, path string, res *http.Response, body []byte) []byte {
				if res.StatusCode != 200 || len(body) == 0 {
					return body
				}
				d := json.NewDecoder(bytes.NewReader(body))
				d.UseNumber()
				var v map[string]any
				if err := d.Decode(&v); err != nil {
					t.Errorf("%s: %v: %s", path, err, body)
					return body
				}
				data := v["data"]
				delete(v, "data")
				perl(v, c.strung, false)
				if v["data"] = data; data != nil {
					switch path {
					case "/access/permissions": // of which names are data
						v["data"] = perl(data, c.strung, false)
					default:
						v["data"] = perl(data, c.strung, c.null)
					}
				}
				out, err := json.Marshal(v)
				if err != nil {
					t.Error(err)
				}
				return out
			}})
			report := b.once(want)
			if report.ExitCode() != 0 {
				t.Errorf("%+v: exit code %d\n%s\n%s", c, report.ExitCode(), b.events, b.closing(report))
			}
			if plan, text := b.plan(want); plan.ExitCode() != 0 {
				t.Errorf("%+v: the next plan is not empty:\n%s", c, text)
			}
		})
	}
}
