package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestReadme holds that the commands of the README are ones that the program takes, and that what it says
// of the configuration is all there is.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range regexp.MustCompile("(?m)(?:^    |`)(?:go run \\./cmd/|sudo )?felhom-agent( -[^`#\n]*)").FindAllStringSubmatch(string(text), -1) {
		found++
		if _, err := parse(strings.Fields(strings.ReplaceAll(m[1], "'", ""))); err != nil {
			t.Errorf("felhom-agent%s: %v", m[1], err)
		}
	}
	if found < 5 {
		t.Errorf("only %d commands were found", found)
	}
	for key := range keys {
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
