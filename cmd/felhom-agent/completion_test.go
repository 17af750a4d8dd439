package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
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

// offered are the completions of a line's last word.
func offered(t *testing.T, line string) []string {
	t.Helper()
	var out bytes.Buffer
	con := &console.Console{Stdout: &out, Stderr: io.Discard}
	asked, err := completing(append([]string{"__completeNoDesc"}, strings.Split(line, " ")...), con)
	if !asked || err != nil {
		t.Fatalf("%q: %t, %v", line, asked, err)
	}
	answers, _, found := strings.Cut(out.String(), ":") // the last line says what the shell shall do with them
	if !found {
		t.Fatalf("%q: no directive in %q", line, out.String())
	}
	return strings.Fields(answers)
}

func TestComplete(t *testing.T) {
	file := writeCompletedHouse(t)
	for line, want := range map[string]string{
		"--pl":                              "--plan --plan-file",
		"--st":                              "--state --status",
		file + " --hold d":                  "dhcp dns",
		file + " --hold a":                  "all",
		file + " --release guests/dn":       "guests/dns",
		file + " --eject ":                  "backup",
		file + " --plan --only before":      "before-32",
		file + " --only=dn":                 "dns",
		file + " --only gu":                 "guests/dhcp guests/dns",
		file + " --print-rollback ":         "dns/before-32",
		"--completion ":                     "bash fish zsh",
		"--plan -o ":                        "json text",
		"--plan --log-level w":              "warn",
		"--hold all --f":                    "--for",
		"--hold all --for ":                 "1d 1h 30m 4h 7d",
		"--plan /e":                         "",
		"":                                  "",
		"--plan /no/such/folder --only web": "",
		"--plan --o":                        "--only --out --output",
		"--selftest --vm":                   "--vmid",
		"--selftest=task --vmid ":           "",
		"--selftest=":                       "task",
	} {
		got := offered(t, line)
		slices.Sort(got)
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	for _, m := range modes[1:] { // every mode is offered, and no other one behind it
		if got := offered(t, "--"+m.name); !slices.Contains(got, "--"+m.name) {
			t.Errorf("--%s is not offered: %q", m.name, got)
		}
		if m.arg == "" {
			for _, flag := range offered(t, "--"+m.name+" --") {
				if name := strings.TrimSuffix(strings.TrimPrefix(flag, "--"), "="); name != "help" && !slices.Contains(m.options, name) {
					t.Errorf("--%s is offered with --%s", name, m.name)
				}
			}
		}
	}
}

// A shell says what it makes of a line: what it offers, or for zsh the line after the Tab key.
var completingShells = map[string]struct {
	script string
	want   map[string]string // line -> what is printed; HOUSE is a file
}{
	"bash": {
		`source /usr/share/bash-completion/bash_completion || exit
source <(felhom-agent --completion bash)
compopt() { :; }
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_KEY=9
read -r -a COMP_WORDS <<<"${1//=/ = }" # as readline splits at COMP_WORDBREAKS
[[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
__start_felhom-agent
echo "${COMPREPLY[*]%% *}"`,
		map[string]string{
			"felhom-agent --sch":                   "--schema",
			"felhom-agent HOUSE --eject ":          "backup",
			"felhom-agent HOUSE --plan --only=gu":  "guests/dhcp guests/dns",
			"felhom-agent HOUSE --plan --only d":   "dhcp dns",
			"felhom-agent --plan /no/such/folder/": "",
		},
	},
	"fish": {
		`source (felhom-agent --completion fish | psub); echo (complete -C $argv[1])`,
		map[string]string{
			"felhom-agent --sch":                  "--schema\tprint the JSON Schema of the YAML",
			"felhom-agent HOUSE --eject ":         "backup",
			"felhom-agent HOUSE --plan --only=dn": "--only=dns",
			"felhom-agent HOUSE --plan --only d":  "dhcp dns",
			"felhom-agent --plan HOU":             "HOUSE",
		},
	},
	// An interactive zsh in a pseudo terminal, into which the line is typed; ^X writes down what then stands there.
	"zsh": {
		`zmodload zsh/zpty
dir=$(mktemp -d)
trap 'zpty -d z; rm -rf $dir' EXIT
cat >$dir/setup <<'END'
autoload -Uz compinit && compinit -D -u
source <(felhom-agent --completion zsh)
note() { print -r -- "$BUFFER" >$1/new && mv $1/new $1/line }
END
zpty z zsh -f -i
zpty -w z "source $dir/setup; show() note $dir; zle -N show; bindkey '^X' show"
zpty -w -n z "$1"$'\t\x18'
until [[ -e $dir/line ]]; do sleep 0.05; while zpty -r -t z seen; do :; done; done
cat $dir/line`,
		map[string]string{
			"felhom-agent --sch":                  "felhom-agent --schema",
			"felhom-agent HOUSE --eject ":         "felhom-agent HOUSE --eject backup",
			"felhom-agent HOUSE --plan --only=dn": "felhom-agent HOUSE --plan --only=dns",
			"felhom-agent HOUSE --plan --only d":  "felhom-agent HOUSE --plan --only d",
			"felhom-agent --plan HOU":             "felhom-agent --plan HOUSE",
		},
	},
}

// TestCompletionInShells asks the shells themselves.
func TestCompletionInShells(t *testing.T) {
	t.Parallel()
	if testing.Short() || reconciletest.RaceDetector {
		t.Skip("a run without -short and the race detector builds the program")
	}
	dir, file := t.TempDir(), writeCompletedHouse(t)
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "felhom-agent"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	paths := strings.NewReplacer("HOUSE", file, "HOU", strings.TrimSuffix(file, "se.yaml"))
	for name, shell := range completingShells {
		t.Run(name, func(t *testing.T) {
			program, err := exec.LookPath(name)
			if err != nil {
				t.Skipf("there is no %s here: apt-get install %s", name, name)
			}
			args := map[string][]string{"bash": {"--norc", "-c", shell.script, "bash"}, "fish": {"--no-config", "-c", shell.script}, "zsh": {"-f", "-c", shell.script, "zsh"}}[name]
			for line, want := range shell.want {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // for slow machines
				cmd := exec.CommandContext(ctx, program, append(slices.Clone(args), paths.Replace(line))...)
				cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "TERM=dumb", "HOME="+dir, "XDG_DATA_HOME="+dir)
				out, err := cmd.Output()
				cancel()
				if got := strings.TrimSpace(string(out)); err != nil || got != paths.Replace(want) {
					t.Errorf("%q: %q, %v, want %q", line, got, err, want)
				}
			}
		})
	}
}
