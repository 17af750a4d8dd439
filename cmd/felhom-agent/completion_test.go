package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const completedHouse = `node: pve1
mounts:
  backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup}
guests:
  dns: {vmid: 101}
  dhcp: {vmid: 102}
snapshots:
  before-32: {guest: dns, taken: 2026-11-22}
`

func writeCompletedHouse(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "house.yaml")
	if err := os.WriteFile(path, []byte(completedHouse), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestComplete(t *testing.T) {
	file := writeCompletedHouse(t)
	for line, want := range map[string]string{
		"--pl":                              "--plan",
		"--st":                              "--status",
		file + " --hold d":                  "guests/dhcp guests/dns",
		file + " --hold a":                  "all",
		file + " --release guests/dn":       "guests/dns",
		file + " --eject ":                  "backup",
		file + " --plan --only before":      "snapshots/before-32",
		file + " --only=dn":                 "--only=guests/dns",
		file + " --print-rollback ":         "dns/before-32",
		"--completion ":                     "bash fish zsh",
		"--plan -o ":                        "text json",
		"--plan --log-level w":              "warn",
		"--hold all --f":                    "--for",
		"--hold all --for ":                 "30m 1h 4h 1d 7d",
		"--plan /e":                         "",
		"":                                  "",
		"--plan /no/such/folder --only web": "",
		"--selftest -v":                     "-vmid",
		"--selftest=task -vmid ":            "",
	} {
		if got := strings.Join(complete(strings.Split(line, " ")), " "); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	for _, m := range modes[1:] { // every mode is offered, and its options behind it
		if got := complete([]string{"--" + m.name}); len(got) == 0 || got[0] != "--"+m.name {
			t.Errorf("--%s is not offered: %q", m.name, got)
		}
	}
}

// TestCompletionInBash asks bash itself.
func TestCompletionInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash here")
	}
	if testing.Short() {
		t.Skip("it builds the program")
	}
	dir, file := t.TempDir(), writeCompletedHouse(t)
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "felhom-agent"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line, want := range map[string]string{
		"felhom-agent --sch":                         "--schema",
		"felhom-agent " + file + " --eject ":         "backup",
		"felhom-agent " + file + " --plan --only=dn": "guests/dns",
	} {
		script := `source <(felhom-agent --completion bash); compopt() { :; }; COMP_LINE=$1; COMP_POINT=${#1}; _felhom_agent; echo "${COMPREPLY[*]}"`
		cmd := exec.Command(bash, "-c", script, "bash", line)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", line, got, err, want)
		}
	}
}
