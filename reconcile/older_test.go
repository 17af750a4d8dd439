package reconcile

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// Versions of PVE before late 8.3 write numbers as strings here and there and say what
// is wrong in the status line only. The agent makes the same of such a node.
func TestOlderVersionsAreConvergedAlike(t *testing.T) {
	want := reconciletest.Examples(t)
	made := map[bool]string{}
	for _, old := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sim := pvesim.New()
			b := newBench(t, sim, func(o *Options) {
				if !old {
					return
				}
				token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
				if err != nil {
					t.Fatal(err)
				}
				if o.Client, err = proxmox.New(proxmox.Options{Token: token, Transport: older{t, sim}}); err != nil {
					t.Fatal(err)
				}
			})
			sim.Do("root@pam", "PUT", "/nodes/pve1/lxc/101/config", map[string]string{"lock": "backup"})
			b.once(want) // the locked one waits
			sim.Do("root@pam", "DELETE", "/nodes/pve1/lxc/101", nil)
			report := b.once(want)
			made[old] = b.closing(report) + sim.Data()
		})
	}
	if made[true] != made[false] || !strings.Contains(made[true], "101 is locked (backup)") || !strings.Contains(made[true], "Converged 11 of 13") {
		t.Errorf("new:\n%s\nold:\n%s", made[false], made[true])
	}
}

type older struct {
	t   *testing.T
	sim *pvesim.Sim
}

func (o older) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Del("Accept-Encoding")
	res, err := o.sim.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var answer map[string]any
	if json.Unmarshal(body, &answer) == nil {
		delete(answer, "message")
		if body, err = json.Marshal(withoutNumbers(answer)); err != nil {
			o.t.Error(err)
		}
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return res, nil
}

// withoutNumbers is JSON with strings for its numbers.
func withoutNumbers(v any) any {
	switch v := v.(type) {
	case float64:
		text, _ := json.Marshal(v)
		return string(text)
	case []any:
		for i := range v {
			v[i] = withoutNumbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = withoutNumbers(v[key])
		}
	}
	return v
}
