package pvesim

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox/pvesim/api"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
)

// Every method of PVE's own description of its API has a route here, with its required
// parameters; nothing answers "not implemented" that the real one has.
func TestEveryMethodHasARoute(t *testing.T) {
	text, err := os.ReadFile("../../../shared/pve-api.json")
	if err != nil {
		t.Skipf("no description of the API here: %v", err)
	}
	var methods []struct {
		Method, Path string
		Protected    int
		AllowToken   int
		Params       map[string]struct {
			Optional         any
			Type             string
			Enum             []any
			Minimum, Maximum any
			MinLength        int
			MaxLength        int
		}
	}
	if err := json.Unmarshal(text, &methods); err != nil {
		t.Fatal(err)
	}
	worldly := map[string]bool{"GET /access/ticket": true, "POST /access/vncticket": true, "POST /access/openid/auth-url": true, "POST /access/openid/login": true,
		"POST /nodes/{node}/storage/{storage}/content/{volume}": true}
	for _, m := range methods {
		name := m.Method + " " + m.Path
		if worldly[name] { // not simulated: logins by other means, and copying a volume, which PVE itself calls broken
			continue
		}
		path := strings.NewReplacer("{", "", "}", "").Replace(m.Path)
		rt, _, ok := api.FindRoute(m.Method, path)
		if !ok {
			t.Errorf("%s has no route", name)
			continue
		}
		if rt.Protected != (m.Protected == 1) {
			t.Errorf("%s is answered by pvedaemon: %t", name, m.Protected == 1)
		}
		if rt.Ticket != (m.AllowToken == 0) {
			t.Errorf("%s takes a token: %t", name, m.AllowToken == 1)
		}
		if rt.Schema == nil {
			continue
		}
		for param, p := range m.Params {
			have := rt.Schema.Find(param)
			switch {
			case have == nil && rt.Schema.Props[param] == nil && !numbered(rt.Schema, param):
				t.Errorf("%s does not know the parameter %s", name, param)
			case have != nil && p.Optional == nil && !have.Need:
				t.Errorf("%s: the parameter %s must be given", name, param)
			case have == nil:
			case have.Need && p.Optional != nil && param != "node": // which is in the path
				t.Errorf("%s: the parameter %s need not be given", name, param)
			case p.Enum != nil && fmt.Sprint(p.Enum) != fmt.Sprint(have.Enum):
				t.Errorf("%s: %s is one of %v, not of %v", name, param, p.Enum, have.Enum)
			case edge(p.Minimum) != limit(have.Min) || edge(p.Maximum) != limit(have.Max):
				t.Errorf("%s: %s lies between %v and %v, not %s and %s", name, param, p.Minimum, p.Maximum, limit(have.Min), limit(have.Max))
			case p.MaxLength != have.Long || p.MinLength != have.Short:
				t.Errorf("%s: %s has %d to %d characters, not %d to %d", name, param, p.MinLength, p.MaxLength, have.Short, have.Long)
			case p.Type != "string" && p.Type != have.Kind:
				t.Errorf("%s: %s is of type %s, not %s", name, param, p.Type, have.Kind)
			}
		}
	}
}

// numbered reports whether a parameter like net[n] is known as net0, net1 …
func numbered(sc *schema.Schema, param string) bool {
	return sc.Find(strings.Replace(param, "[n]", "0", 1)) != nil
}

func edge(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func limit(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(*v)
}
