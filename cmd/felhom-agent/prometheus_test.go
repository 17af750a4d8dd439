package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The rules and the dashboard in examples/prometheus use only metrics that the agent has.
func TestPrometheusKnowsTheMetrics(t *testing.T) {
	text, err := os.ReadFile("../../docs/json-and-metrics.md") // its table is compared with /metrics by a test of its own
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(felhom_[a-z_]+)`").FindAllStringSubmatch(string(text), -1) {
		known[m[1]] = true
	}
	files, err := filepath.Glob("../../examples/prometheus/*")
	if err != nil || len(known) < 10 || len(files) < 3 {
		t.Fatalf("%d metrics, %d files, %v", len(known), len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		used := regexp.MustCompile(`\bfelhom_[a-z_]+`).FindAllString(string(text), -1)
		if len(used) < 5 {
			t.Errorf("%s uses %d metrics", file, len(used))
		}
		for _, name := range used {
			if !known[name] {
				t.Errorf("%s uses %s, which the agent does not have", file, name)
			}
		}
	}
}

// The rules raise what they are to raise, and nothing else.
func TestPrometheusRules(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not here: apt install prometheus")
	}
	const rules = "../../examples/prometheus/"
	for _, args := range [][]string{{"check", "rules", rules + "rules.yaml"}, {"test", "rules", rules + "rules_test.yaml", "testdata/prometheus/month_test.yaml"}} {
		cmd := exec.Command(promtool, args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

// Grafana takes the dashboard: its panels do not overlap, have numbers of their own, and ask the chosen data source for
// the chosen nodes.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../examples/prometheus/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID         int
			Title      string
			Datasource struct{ UID string }
			GridPos    struct{ X, Y, W, H int }
			Targets    []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil || len(dashboard.Panels) == 0 {
		t.Fatal(len(dashboard.Panels), err)
	}
	taken, numbers := map[[2]int]string{}, map[int]bool{}
	for _, p := range dashboard.Panels {
		if numbers[p.ID] || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%s: number %d, data source %q, %d queries, %+v", p.Title, p.ID, p.Datasource.UID, len(p.Targets), p.GridPos)
		}
		numbers[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies over %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, `instance=~"$instance"`) {
				t.Errorf("%s is not limited to the chosen nodes: %s", p.Title, target.Expr)
			}
		}
	}
}
