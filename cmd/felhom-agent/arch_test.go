package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/felhom/felhom-agent/"

// arrows are the imports that the packages of this module may have of each other. All others are
// forbidden, with the reason in forbidden where it is worth saying.
var arrows = map[string][]string{
	"cmd/felhom-agent":             {"cmd/felhom-agent/config", "cmd/felhom-agent/console", "cmd/felhom-agent/exit", "cmd/felhom-agent/httpstatus", "cmd/felhom-agent/kit", "cmd/felhom-agent/notify", "cmd/felhom-agent/pull", "cmd/felhom-agent/recovery", "cmd/felhom-agent/rehearse", "cmd/felhom-agent/session", "cmd/felhom-agent/simulated", "cmd/felhom-agent/source", "cmd/felhom-agent/systemd", "cmd/felhom-agent/version", "reconcile", "spec", "proxmox", "privileged", "proxmox/pvesim", "quote"},
	"cmd/felhom-agent/version":     {},
	"cmd/felhom-agent/exit":        {"quote"},
	"cmd/felhom-agent/config":      {"spec", "proxmox", "privileged", "quote"},
	"cmd/felhom-agent/systemd":     {"quote"},
	"cmd/felhom-agent/console":     {"quote"},
	"cmd/felhom-agent/simulated":   {"cmd/felhom-agent/config", "cmd/felhom-agent/console", "proxmox/pvesim"},
	"cmd/felhom-agent/session":     {"cmd/felhom-agent/config", "cmd/felhom-agent/simulated", "cmd/felhom-agent/systemd", "cmd/felhom-agent/version", "reconcile", "proxmox", "privileged", "quote"},
	"cmd/felhom-agent/kit":         {"proxmox", "privileged"},
	"cmd/felhom-agent/recovery":    {"cmd/felhom-agent/console", "cmd/felhom-agent/kit", "cmd/felhom-agent/simulated", "cmd/felhom-agent/session", "cmd/felhom-agent/version", "reconcile", "spec", "proxmox", "privileged", "quote"},
	"cmd/felhom-agent/rehearse":    {"spec", "proxmox", "privileged", "proxmox/pvesim/lxcconf", "proxmox/pvesim/world"},
	"cmd/felhom-agent/pull":        {"cmd/felhom-agent/source", "quote"},
	"cmd/felhom-agent/source":      {"cmd/felhom-agent/config", "spec", "quote"},
	"cmd/felhom-agent/deliver":     {"cmd/felhom-agent/config", "quote"},
	"cmd/felhom-agent/notify":      {"cmd/felhom-agent/config", "cmd/felhom-agent/deliver", "cmd/felhom-agent/exit", "cmd/felhom-agent/session", "cmd/felhom-agent/source", "cmd/felhom-agent/systemd", "reconcile", "quote"},
	"cmd/felhom-agent/httpstatus":  {"cmd/felhom-agent/config", "cmd/felhom-agent/exit", "cmd/felhom-agent/session", "cmd/felhom-agent/source", "cmd/felhom-agent/systemd", "cmd/felhom-agent/version", "reconcile", "spec", "proxmox", "privileged", "quote"},
	"cmd/felhom-fence":             {"privileged"},
	"cmd/pvesim":                   {"proxmox/pvesim", "privileged"},
	"reconcile":                    {"reconcile/eject", "reconcile/node", "reconcile/planning/questions", "reconcile/applying", "reconcile/export", "reconcile/journal", "reconcile/marker", "reconcile/needs", "reconcile/plan", "reconcile/planning", "reconcile/refresh", "reconcile/saved", "reconcile/state", "reconcile/status", "reconcile/text", "reconcile/view", "spec", "proxmox", "privileged"},
	"reconcile/reconciletest":      {"reconcile/plan", "reconcile/view", "spec", "proxmox/pvesim"},
	"reconcile/laws":               {},
	"reconcile/text":               {},
	"reconcile/compare":            {"reconcile/text", "proxmox"},
	"reconcile/retention":          {"spec"},
	"reconcile/marker":             {"spec", "proxmox"},
	"reconcile/state":              {"reconcile/text", "spec", "proxmox"},
	"reconcile/plan":               {"reconcile/state", "reconcile/text", "spec", "proxmox", "privileged"},
	"reconcile/journal":            {"reconcile/plan", "reconcile/state", "reconcile/text", "spec", "proxmox", "privileged", "quote"},
	"reconcile/node":               {"reconcile/compare", "reconcile/journal", "reconcile/marker", "reconcile/plan", "reconcile/state", "reconcile/text", "spec", "proxmox", "privileged"},
	"reconcile/refresh":            {"reconcile/journal", "reconcile/marker", "reconcile/node", "reconcile/plan", "reconcile/state", "reconcile/text", "spec", "proxmox", "privileged"},
	"reconcile/planning/questions": {"reconcile/compare", "reconcile/journal", "reconcile/marker", "reconcile/node", "reconcile/plan", "reconcile/refresh", "reconcile/retention", "reconcile/state", "reconcile/text", "spec", "proxmox", "privileged"},
	"reconcile/planning/forecast":  {"reconcile/planning/questions", "reconcile/journal", "reconcile/marker", "reconcile/node", "reconcile/plan", "reconcile/text", "spec", "proxmox", "privileged"},
	"reconcile/planning":           {"reconcile/needs", "reconcile/planning/forecast", "reconcile/planning/questions", "reconcile/compare", "reconcile/journal", "reconcile/marker", "reconcile/node", "reconcile/plan", "reconcile/refresh", "reconcile/retention", "reconcile/state", "reconcile/text", "spec", "proxmox", "privileged"},
	"reconcile/applying":           {"reconcile/planning/questions", "reconcile/compare", "reconcile/journal", "reconcile/marker", "reconcile/node", "reconcile/plan", "reconcile/planning", "reconcile/refresh", "reconcile/saved", "reconcile/state", "reconcile/text", "spec", "proxmox", "privileged"},
	"reconcile/eject":              {"reconcile/applying", "reconcile/journal", "reconcile/node", "reconcile/plan", "reconcile/planning", "reconcile/planning/questions", "reconcile/state", "reconcile/text", "spec", "proxmox", "privileged"},
	"reconcile/needs":              {"spec", "proxmox"},
	"reconcile/saved":              {"reconcile/plan", "spec"},
	"reconcile/view":               {"reconcile/applying", "reconcile/plan", "reconcile/text", "spec", "quote"},
	"reconcile/status":             {"reconcile/applying", "reconcile/journal", "reconcile/plan", "reconcile/state", "reconcile/text", "reconcile/view", "spec", "quote"},
	"reconcile/export":             {"reconcile/planning/questions", "reconcile/compare", "reconcile/journal", "reconcile/marker", "reconcile/node", "reconcile/plan", "reconcile/planning", "reconcile/refresh", "reconcile/state", "reconcile/text", "spec", "proxmox", "quote"},
	"spec":                         {"proxmox", "quote"},
	"quote":                        {},
	"proxmox":                      {},
	"proxmox/pvesim":               {"proxmox/pvesim/api", "proxmox/pvesim/cluster", "proxmox/pvesim/guests", "proxmox/pvesim/host", "proxmox/pvesim/machine", "proxmox/pvesim/outcome", "proxmox/pvesim/places", "proxmox/pvesim/world"},
	"proxmox/pvesim/notation":      {},
	"proxmox/pvesim/refusal":       {},
	"proxmox/pvesim/retention":     {"proxmox/pvesim/notation", "proxmox/pvesim/refusal"},
	"proxmox/pvesim/jsontext":      {},
	"proxmox/pvesim/schema":        {"proxmox/pvesim/notation", "proxmox/pvesim/retention"},
	"proxmox/pvesim/lxcconf":       {"proxmox/pvesim/notation", "proxmox/pvesim/schema"},
	"proxmox/pvesim/world":         {"proxmox/pvesim/lxcconf", "proxmox/pvesim/notation", "proxmox/pvesim/refusal"},
	"proxmox/pvesim/rights":        {"proxmox/pvesim/refusal", "proxmox/pvesim/world"},
	"proxmox/pvesim/cluster":       {"proxmox/pvesim/refusal", "proxmox/pvesim/rights", "proxmox/pvesim/world"},
	"proxmox/pvesim/places":        {"proxmox/pvesim/cluster", "proxmox/pvesim/refusal", "proxmox/pvesim/world"},
	"proxmox/pvesim/request":       {"proxmox/pvesim/cluster", "proxmox/pvesim/jsontext", "proxmox/pvesim/notation", "proxmox/pvesim/refusal", "proxmox/pvesim/rights", "proxmox/pvesim/schema", "proxmox/pvesim/world"},
	"proxmox/pvesim/machine":       {"proxmox/pvesim/cluster", "proxmox/pvesim/lxcconf", "proxmox/pvesim/notation", "proxmox/pvesim/world"},
	"proxmox/pvesim/accounts":      {"proxmox/pvesim/jsontext", "proxmox/pvesim/notation", "proxmox/pvesim/refusal", "proxmox/pvesim/request", "proxmox/pvesim/rights", "proxmox/pvesim/world"},
	"proxmox/pvesim/storages":      {"proxmox/pvesim/cluster", "proxmox/pvesim/jsontext", "proxmox/pvesim/notation", "proxmox/pvesim/places", "proxmox/pvesim/refusal", "proxmox/pvesim/request", "proxmox/pvesim/retention", "proxmox/pvesim/rights", "proxmox/pvesim/schema", "proxmox/pvesim/world"},
	"proxmox/pvesim/guests":        {"proxmox/pvesim/cluster", "proxmox/pvesim/jsontext", "proxmox/pvesim/lxcconf", "proxmox/pvesim/machine", "proxmox/pvesim/notation", "proxmox/pvesim/places", "proxmox/pvesim/refusal", "proxmox/pvesim/request", "proxmox/pvesim/rights", "proxmox/pvesim/schema", "proxmox/pvesim/storages", "proxmox/pvesim/world"},
	"proxmox/pvesim/volumes":       {"proxmox/pvesim/cluster", "proxmox/pvesim/guests", "proxmox/pvesim/lxcconf", "proxmox/pvesim/notation", "proxmox/pvesim/places", "proxmox/pvesim/refusal", "proxmox/pvesim/request", "proxmox/pvesim/rights", "proxmox/pvesim/schema", "proxmox/pvesim/world"},
	"proxmox/pvesim/snapshots":     {"proxmox/pvesim/cluster", "proxmox/pvesim/guests", "proxmox/pvesim/lxcconf", "proxmox/pvesim/notation", "proxmox/pvesim/places", "proxmox/pvesim/refusal", "proxmox/pvesim/request", "proxmox/pvesim/world"},
	"proxmox/pvesim/lifecycle":     {"proxmox/pvesim/cluster", "proxmox/pvesim/guests", "proxmox/pvesim/lxcconf", "proxmox/pvesim/notation", "proxmox/pvesim/places", "proxmox/pvesim/refusal", "proxmox/pvesim/request", "proxmox/pvesim/rights", "proxmox/pvesim/schema", "proxmox/pvesim/storages", "proxmox/pvesim/world"},
	"proxmox/pvesim/backups":       {"proxmox/pvesim/cluster", "proxmox/pvesim/guests", "proxmox/pvesim/lxcconf", "proxmox/pvesim/notation", "proxmox/pvesim/places", "proxmox/pvesim/refusal", "proxmox/pvesim/request", "proxmox/pvesim/retention", "proxmox/pvesim/rights", "proxmox/pvesim/snapshots", "proxmox/pvesim/storages", "proxmox/pvesim/world"},
	"proxmox/pvesim/datacenter":    {"proxmox/pvesim/cluster", "proxmox/pvesim/guests", "proxmox/pvesim/jsontext", "proxmox/pvesim/machine", "proxmox/pvesim/notation", "proxmox/pvesim/places", "proxmox/pvesim/refusal", "proxmox/pvesim/request", "proxmox/pvesim/rights", "proxmox/pvesim/world"},
	"proxmox/pvesim/api":           {"proxmox/pvesim/accounts", "proxmox/pvesim/backups", "proxmox/pvesim/cluster", "proxmox/pvesim/datacenter", "proxmox/pvesim/guests", "proxmox/pvesim/jsontext", "proxmox/pvesim/lifecycle", "proxmox/pvesim/lxcconf", "proxmox/pvesim/machine", "proxmox/pvesim/refusal", "proxmox/pvesim/request", "proxmox/pvesim/rights", "proxmox/pvesim/schema", "proxmox/pvesim/snapshots", "proxmox/pvesim/storages", "proxmox/pvesim/volumes", "proxmox/pvesim/world"},
	"proxmox/pvesim/host":          {"proxmox/pvesim/api", "proxmox/pvesim/backups", "proxmox/pvesim/cluster", "proxmox/pvesim/guests", "proxmox/pvesim/jsontext", "proxmox/pvesim/lxcconf", "proxmox/pvesim/machine", "proxmox/pvesim/notation", "proxmox/pvesim/places", "proxmox/pvesim/refusal", "proxmox/pvesim/request", "proxmox/pvesim/world"},
	"proxmox/pvesim/outcome":       {"proxmox/pvesim/cluster", "proxmox/pvesim/guests", "proxmox/pvesim/lxcconf", "proxmox/pvesim/notation", "proxmox/pvesim/places", "proxmox/pvesim/world"},
	"privileged":                   {},
}

// forbidden says why an arrow must not be.
var forbidden = map[string]string{
	"reconcile/planning/questions -> reconcile/planning": "who only asks cannot write a plan",
	"reconcile/planning/forecast -> reconcile/planning":  "the same planners plan on the forecast: it must not know what they will want",
	"spec -> reconcile":                              "what is wanted does not know how it is reached",
	"spec -> privileged":                             "YAML says what, never how; no text of a user becomes an act of root by itself",
	"reconcile -> proxmox/pvesim":                    "the code that meets real nodes does not know that simulated ones exist",
	"proxmox -> proxmox/pvesim":                      "the client must not lean on the simulator that tests it",
	"proxmox -> privileged":                          "PVE's API is one way, the root helper another; only a plan chooses",
	"proxmox -> spec":                                "other programs import the client without our language",
	"proxmox/pvesim -> proxmox":                      "a mistake in the client would be mirrored in the simulator, and no test would see it",
	"proxmox/pvesim -> privileged":                   "the simulated host is what the fence acts on; it does not know the fence",
	"proxmox/pvesim -> spec":                         "a node knows nothing of what somebody wants of it",
	"proxmox/pvesim/world -> proxmox/pvesim/cluster": "a world file is data; its clock and its tasks are the cluster's",
	"proxmox/pvesim/cluster -> proxmox/pvesim/api":   "what a task does is handed in, so that the clock knows no area",
	"proxmox/pvesim/guests -> proxmox/pvesim/api":    "an area answers a request; where it came from is the API's",
	"proxmox/pvesim/machine -> proxmox/pvesim/host":  "programs turn the machine's knobs, not the other way round",
	"privileged -> proxmox":                          "what runs as root must be small enough to read",
	"privileged -> spec":                             "the fence trusts no one's YAML: an act carries plain fields, checked again",
	"privileged -> reconcile":                        "the fence takes orders one at a time and plans nothing",
	"cmd/felhom-fence -> reconcile":                  "what runs as root must be small enough to read",
	"cmd/felhom-fence -> spec":                       "what runs as root must be small enough to read",
	"cmd/felhom-fence -> proxmox":                    "root's helper has no business on the network",
	"cmd/pvesim -> reconcile":                        "the simulated node stands alone, for any client",
	"cmd/pvesim -> proxmox":                          "the simulated node stands alone, for any client",
	"cmd/felhom-agent -> cmd/pvesim":                 "programs are no libraries",
	"cmd/felhom-agent -> cmd/felhom-fence":           "the fence is another process, for that is what makes it a fence",
}

// unreachable are packages of the standard library that must not be in a package, not even through others.
var unreachable = map[string]map[string]string{
	"proxmox":          {"os/exec": "the API client runs no programs: that is the fence's"},
	"privileged":       {"net": "the fence has no network", "net/http": "the fence has no network"},
	"cmd/felhom-fence": {"net": "the fence has no network", "net/http": "the fence has no network"},
	"spec":             {"os/exec": "reading YAML runs no programs"},
}

// notItself are packages of the standard library that a package must not import itself.
var notItself = map[string]map[string]string{
	"reconcile/refresh":            {"os/exec": "acts on the host go via the root helper", "net/http": "requests go through package proxmox"},
	"reconcile/applying":           {"os/exec": "acts on the host go via the root helper", "net/http": "requests go through package proxmox"},
	"reconcile/planning":           {"os/exec": "planning is pure", "net/http": "planning is pure", "os": "planning is pure", "context": "planning is pure"},
	"reconcile/planning/questions": {"os/exec": "planning is pure", "net/http": "planning is pure", "os": "planning is pure", "context": "planning is pure"},
	"reconcile/planning/forecast":  {"os/exec": "planning is pure", "net/http": "planning is pure", "os": "planning is pure", "context": "planning is pure"},
	"reconcile/saved":              {"os/exec": "a saved plan is data", "net/http": "a saved plan is data", "context": "a saved plan is data"},
	"reconcile/node":               {"os/exec": "it is data", "net/http": "it is data", "os": "it is data", "context": "it is data"},
	"proxmox/pvesim/world":         {"os/exec": "it is data", "net/http": "it is data", "os": "it is data", "context": "it is data"},
	"proxmox/pvesim/cluster":       {"net/http": "requests are the API's", "os": "it is in memory"},
}

// foreign are the modules of others that a package may import itself; one that is not listed here may
// import any that go.mod has.
var foreign = map[string][]string{
	"proxmox":              {},
	"privileged":           {},
	"cmd/felhom-fence":     {},
	"proxmox/pvesim":       {},
	"proxmox/pvesim/world": {"gopkg.in/yaml.v3"},
}

type goPackage struct {
	ImportPath    string
	Imports, Deps []string
}

// TestArrows holds that imports run one way.
func TestArrows(t *testing.T) {
	packages := list(t)
	seen := map[string]bool{}
	for _, p := range packages {
		from, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue
		}
		seen[from] = true
		allowed, known := arrows[from]
		if !known {
			t.Errorf("%s is a new package: say in arrows what it may import", from)
			continue
		}
		for _, path := range p.Imports {
			to, ours := strings.CutPrefix(path, module)
			if why := notItself[from][path]; why != "" {
				t.Errorf("%s imports %s: %s", from, path, why)
			}
			switch {
			case ours && !slices.Contains(allowed, to):
				t.Errorf("%s imports %s, which it must not: %s", from, to, orUnsaid(forbidden[from+" -> "+to]))
			case !ours && strings.Contains(strings.Split(path, "/")[0], ".") && !mayUse(from, path):
				t.Errorf("%s imports %s: it does with the standard library and %v", from, path, foreign[from])
			}
		}
		for _, dep := range p.Deps {
			if why := unreachable[from][dep]; why != "" {
				t.Errorf("%s reaches %s: %s", from, dep, why)
			}
		}
	}
	for name := range arrows {
		if !seen[name] {
			t.Errorf("there is no package %s any more: take it out of arrows", name)
		}
	}
	for arrow := range forbidden {
		from, to, _ := strings.Cut(arrow, " -> ")
		if _, known := arrows[from]; !known || slices.Contains(arrows[from], to) {
			t.Errorf("%q is forbidden, but arrows has it, or has no such package", arrow)
		}
	}
}

func mayUse(from, path string) bool {
	allowed, limited := foreign[from]
	return !limited || slices.Contains(allowed, path)
}

func orUnsaid(why string) string {
	if why == "" {
		return "arrows does not have it"
	}
	return why
}

func list(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
