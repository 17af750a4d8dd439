package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
)

// TestReadme holds that the commands of the README are ones that the program takes, and that what it says
// of the configuration is all there is.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range regexp.MustCompile("(?m)(?:^    |`)(?:go run \\./cmd/|sudo )?felhom-agent( -[^`#|>\n]*)").FindAllStringSubmatch(string(text), -1) {
		found++
		if _, err := parse(strings.Fields(strings.ReplaceAll(m[1], "'", ""))); err != nil {
			t.Errorf("felhom-agent%s: %v", m[1], err)
		}
	}
	if found < 5 {
		t.Errorf("only %d commands were found", found)
	}
	for key := range config.Keys {
		if !strings.Contains(string(text), "`"+key+"`") {
			t.Errorf("the key %s is not explained", key)
		}
	}
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	direct, _, _ := strings.Cut(string(module[bytes.Index(module, []byte("require (")):]), ")")
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+?)(?:/v\d+)? v`).FindAllStringSubmatch(direct, -1) {
		if !strings.Contains(string(text), "`"+m[1]) {
			t.Errorf("the dependency %s has no reason", m[1])
		}
	}
	for _, code := range []string{"0", "1", "2", "3", "4", "5", "6", "130, 143"} {
		if !strings.Contains(string(text), fmt.Sprintf("\n| %s | ", code)) {
			t.Errorf("exit code %s is not in the table", code)
		}
	}
}

var update = flag.Bool("update", false, "write the plan into the README")

// TestReadmePlan holds that the plan in the README is what the program prints, but for how long it took.
// go test ./cmd/felhom-agent -run ReadmePlan -update puts it there.
func TestReadmePlan(t *testing.T) {
	t.Chdir("../..")
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := parse([]string{"--simulate", "--plan", "examples/desired"})
	if err != nil {
		t.Fatal(err)
	}
	var out, logs bytes.Buffer
	if code, err := cmd.mode.run(t.Context(), cmd, &console.Console{Stdout: &out, Stderr: &logs}); code != 2 || err != nil {
		t.Fatalf("%d, %v\n%s", code, err, &logs)
	}
	took := regexp.MustCompile(`requests, \d+\.\d+ s\)`)
	plan := took.ReplaceAllString(strings.TrimSpace(out.String()), "requests, 0.01 s)")
	plan = regexp.MustCompile(`(?m)[ \t]+$`).ReplaceAllString(plan, "")
	plan = regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(plan, "    $1") + "\n"
	block := regexp.MustCompile(`(?ms)^    pve1, PVE .*?^    Next: [^\n]*\n(?:    [^\n]*\n)*`)
	if have := string(block.Find(text)); have == plan {
		return
	} else if !*update {
		t.Fatalf("the README shows\n%s\nand the program prints\n%s\n(-update puts it there)", have, plan)
	}
	if err := os.WriteFile("README.md", block.ReplaceAllLiteral(text, []byte(plan)), 0o644); err != nil {
		t.Fatal(err)
	}
}
