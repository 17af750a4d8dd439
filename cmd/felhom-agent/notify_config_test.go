package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
)

// TestNotifyLook: what could not be called is told beforehand, and nothing is called for that.
func TestNotifyLook(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	program := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\ntouch "+ran+"\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(program("good", 0o755), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                              "",
		program("fine", 0o755):          "",
		link:                            "",
		program("plain", 0o644):         "chmod 755 " + filepath.Join(dir, "plain"),
		dir:                             dir + " is not a program",
		filepath.Join(dir, "none"):      "none does not exist: put the program there",
		filepath.Join(dir, "good", "x"): "not a directory",
	} {
		c := config.NotifyConfig{}
		if path != "" {
			c.Command = []string{path, "--loud"}
		}
		err := c.Read()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", path, err, want)
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program was run")
	}
}
