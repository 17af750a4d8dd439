package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
)

// A node that is as declared is so in the copy too: with guests, binds, snapshots, archives and retention. Nothing is
// written to the node, and an edit is carried out on the copy alone.
func TestRehearsal(t *testing.T) {
	t.Parallel()
	n := newRealNode(t)
	n.sim.SetSpeed(2000)
	now := n.sim.Now() // the examples want a snapshot every hour: none falls due amid this
	n.sim.Advance(now.Truncate(time.Hour).Add(time.Hour + time.Minute).Sub(now))
	examples := filepath.Join(n.dir, "desired")
	if err := os.CopyFS(examples, os.DirFS("../../examples/desired")); err != nil {
		t.Fatal(err)
	}
	empty, state := n.sim.Data(), filepath.Join(n.dir, "state")
	rehearsed := func(code int, want ...string) {
		t.Helper()
		writes, data := n.sim.Writes(), n.sim.Data()
		known, _ := os.ReadFile(filepath.Join(state, "journal.jsonl"))
		out, have := n.agent("--rehearse", examples)
		if have != code {
			t.Errorf("exit code %d, expected %d\n%s", have, code, out)
		}
		for _, text := range want {
			if !strings.Contains(out, text) {
				t.Errorf("it does not say %q\n%s", text, out)
			}
		}
		if n.sim.Writes() != writes || n.sim.Data() != data {
			t.Errorf("%d writes to the node", n.sim.Writes()-writes)
		}
		if now, _ := os.ReadFile(filepath.Join(state, "journal.jsonl")); string(now) != string(known) {
			t.Error("the agent's own journal was written")
		}
	}
	rehearsed(0, "A copy of pve1: 1 guests, 1 of them running", "storage usb-backup, which is not active", "Converged 13 of 13 objects", "Plan: nothing to do")
	if n.sim.Data() != empty {
		t.Error("the node has other data")
	}
	if out, code := n.agent("--once", examples); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	rehearsed(0, "pve1: converged 13 of 13 objects.", "Plan: nothing to do")

	file := filepath.Join(examples, "restores.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(text), "cores: 4", "cores: 3", 1)
	if err := os.WriteFile(file, []byte(edited), 0o600); err != nil || edited == string(text) {
		t.Fatal(err)
	}
	rehearsed(0, "cores 4 -> 3", "Converged 13 of 13 objects", "Plan: nothing to do")
}

// Without a root helper the copy still has its storages.
func TestRehearsalWithoutRootHelper(t *testing.T) {
	t.Parallel()
	n := newRealNode(t)
	n.sim.SetSpeed(2000)
	n.config["runner"] = "none"
	out, code := n.agent("--rehearse", n.yaml(testedOnANode))
	if code != 0 || !strings.Contains(out, "there is no root helper") || !strings.Contains(out, "back up dns to local") || n.sim.Writes() != 0 {
		t.Errorf("exit code %d, %d writes\n%s", code, n.sim.Writes(), out)
	}
}

// A copy has no data inside its guests. A guarded change is no failure there, and no backup is called bad.
func TestRehearsalAsksNoProbes(t *testing.T) {
	t.Parallel()
	n := newRealNode(t)
	n.sim.SetSpeed(2000)
	if out, code := n.agent("--once", n.yaml(testedOnANode)); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	guarded := strings.Replace(testedOnANode, "{vmid: 101}", "{vmid: 101, state: running, restart: auto, config: {memory: 768}, guard: {probe: [{tcp: 8080}]}}", 1)
	out, code := n.agent("--rehearse", n.yaml(guarded+"tests:\n  weekly: {guests: all, storage: local-lvm, vmids: 9900-9909, every: 7d, probe: [{tcp: 80}]}\n"))
	for _, want := range []string{"no backup is tested: guests/dns, tests/weekly", "memory 512 -> 768 MiB", "Converged 3 of 3 objects", "Plan: nothing to do"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if code != 0 || t.Failed() {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// A copy of a guest that is being backed up would have a lock that nothing ends: nobody is told to remove it.
func TestNoRehearsalWhileATaskRuns(t *testing.T) {
	t.Parallel()
	for name, which := range map[string]string{"of one guest": "vmid", "of all guests": "all"} {
		t.Run(name, func(t *testing.T) {
			n := newRealNode(t)
			if out, code := n.agent("--once", n.yaml(testedOnANode)); code != 0 {
				t.Fatalf("exit code %d\n%s", code, out)
			}
			n.sim.SetSpeed(0.001)
			params := map[string]string{"storage": "local", which: map[string]string{"vmid": "101", "all": "1"}[which]}
			if status, body := n.sim.Do("root@pam", "POST", "/nodes/pve1/vzdump", params); status != 200 {
				t.Fatal(status, body)
			}
			cmd := n.command("--rehearse", n.yaml(testedOnANode))
			var out, errs bytes.Buffer
			code, err := cmd.mode.run(t.Context(), cmd, &console.Console{Stdout: &out, Stderr: &errs})
			if says := errs.String(); code != 3 || err != nil || out.Len() > 0 || !strings.Contains(says, "begun by root@pam, and a copy") || !strings.Contains(says, "\n    fix: felhom-agent --rehearse, when it has ended\n") {
				t.Errorf("exit code %d, %v\n%s%s", code, err, &out, says)
			}
		})
	}
}
