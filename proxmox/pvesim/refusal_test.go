package pvesim

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// Who has no rights at all is refused with the words that PVE's own description of its API
// leads to, method by method: the first privilege missing, the alternatives joined by a
// bar, and nothing said where one of several checks would do.
func TestRefusalsAreThoseOfTheAPI(t *testing.T) {
	text, err := os.ReadFile("../../../shared/pve-api.json")
	if err != nil {
		t.Skipf("no description of the API here: %v", err)
	}
	var methods []struct {
		Method, Path string
		AllowToken   int
		Permissions  struct {
			User  string
			Check []any
		}
	}
	if err := json.Unmarshal(text, &methods); err != nil {
		t.Fatal(err)
	}
	world, err := os.ReadFile("testdata/replay/world.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Load(world)
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"node": "demo-felhom", "vmid": "100", "storage": "local", "snapname": "abc", "userid": "felhom@pve", "realm": "pve",
		"poolid": "p", "groupid": "g", "roleid": "r", "tokenid": "t1", "id": "x", "name": "n", "newid": "300", "path": "/"}
	checked := 0
	for _, m := range methods {
		if m.Permissions.Check == nil {
			continue
		}
		path := m.Path
		for k, v := range vars {
			path = strings.ReplaceAll(path, "{"+k+"}", v)
		}
		params := map[string]string{}
		for _, k := range []string{"newid", "path", "userid", "poolid"} {
			if !strings.Contains(m.Path, "{"+k+"}") {
				params[k] = vars[k]
			}
		}
		want := "Permission check failed"
		if what := refusalOf(m.Permissions.Check, vars, false); what != "" {
			want += " (" + what + ")"
		}
		who := "nobody@pve!tok"
		if m.AllowToken == 0 {
			who = "nobody@pve"
		}
		status, body := s.Do(who, m.Method, path, params)
		var a struct{ Message string }
		if err := json.Unmarshal([]byte(body), &a); err != nil || status != 403 || strings.TrimSpace(a.Message) != want {
			t.Errorf("%s %s: %d %q, want %q", m.Method, m.Path, status, strings.TrimSpace(a.Message), want)
		}
		checked++
	}
	t.Logf("%d methods refuse as described", checked)
}

// refusalOf is what a refusal names, for somebody without rights. PVE: exec_api2_perm_check.
func refusalOf(check []any, vars map[string]string, quiet bool) string {
	list := func(i int) []any { l, _ := check[i].([]any); return l }
	words := func(i int) []string {
		var out []string
		for _, v := range list(i) {
			out = append(out, v.(string))
		}
		return out
	}
	switch check[0] {
	case "and":
		return refusalOf(list(1), vars, quiet)
	case "or":
		return ""
	case "perm-modify":
		return vars["path"] + ", Permissions.Modify"
	case "perm":
		path := check[1].(string)
		for k, v := range vars {
			path = strings.ReplaceAll(path, "{"+k+"}", v)
		}
		privs := words(2)
		if len(check) > 4 && check[3] == "any" {
			return path + ", " + strings.Join(privs, "|")
		}
		return path + ", " + privs[0]
	case "userid-param":
		return "/access/realm/pve, " + check[1].(string)
	case "userid-group":
		if len(check) > 2 { // with groups_param
			return "/access/groups, " + strings.Join(words(1), "|")
		}
		return ""
	}
	return "?"
}
