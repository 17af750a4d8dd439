package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// A realNode is a node behind HTTPS and its root helper behind a socket, which an agent reaches as it does a real one.
type realNode struct {
	*testing.T
	sim    *pvesim.Sim
	dir    string
	config map[string]string // agent.yaml
}

func newRealNode(t *testing.T) *realNode {
	t.Helper()
	text, err := pvesim.New().Save()
	if err != nil {
		t.Fatal(err)
	}
	now := []byte("clock: " + time.Now().Format(time.RFC3339))
	sim, err := pvesim.Load(regexp.MustCompile(`(?m)^clock: .*$`).ReplaceAllLiteral(text, now))
	if err != nil {
		t.Fatal(err)
	}
	sim.SetSpeed(simulated.WorldSpeed)
	sim.SetAuthDelay(0)
	sim.Furnish(101, world.Inside{Boots: 20, Units: map[string]string{"dnsmasq.service": "active"}, Ports: map[int]int{53: 0}})
	server := httptest.NewTLSServer(sim)
	t.Cleanup(server.Close)
	n := &realNode{t, sim, t.TempDir(), nil}
	sock := filepath.Join(n.dir, "fence.sock")
	listener, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	local := &privileged.Local{Host: sim.Host(sim.Node())}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				privileged.Serve(context.Background(), local, conn, conn)
			}()
		}
	}()
	t.Cleanup(func() { listener.Close(); local.Wait() })
	sum := sha256.Sum256(server.Certificate().Raw)
	n.config = map[string]string{"url": server.URL, "fingerprint": hex.EncodeToString(sum[:]), "token_id": sim.TokenID(), "token_secret": sim.TokenSecret(),
		"runner": "socket:" + sock, "node": sim.Node(), "state": filepath.Join(n.dir, "state")}
	return n
}

// command is a command line with the configuration, as it is now.
func (n *realNode) command(args ...string) *command {
	n.Helper()
	text, err := json.Marshal(n.config) // which is YAML too
	file := filepath.Join(n.dir, "agent.yaml")
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		n.Fatal(err)
	}
	cmd, err := parse(append(args, "--config", file))
	if err != nil {
		n.Fatal(err)
	}
	return cmd
}

// agent runs the program and returns what it printed, and with what it would exit.
func (n *realNode) agent(args ...string) (string, int) {
	n.Helper()
	cmd := n.command(args...)
	var out, errs bytes.Buffer
	code, err := cmd.mode.run(n.Context(), cmd, &console.Console{Stdout: &out, Stderr: &errs})
	if err != nil {
		return err.Error(), 4
	}
	return out.String(), code
}

func (n *realNode) yaml(text string) string {
	n.Helper()
	file := filepath.Join(n.dir, "desired.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		n.Fatal(err)
	}
	return file
}

func (n *realNode) root(line string) string {
	n.Helper()
	out, err := n.sim.Shell(n.sim.Node(), line)
	if err != nil {
		n.Fatalf("%s: %v", line, err)
	}
	return out
}

const testedOnANode = `
guests:
  dns: {vmid: 101}
backups:
  daily: {guests: all, storage: local, every: 24h, keep: 3}
`

// The lines of --print-setup --restore-tests, as root types them, make the token with which a backup is tested by HTTPS,
// up to the verdict; it is the same as the one of simulated nodes. Before, tests are blocked with that command.
func TestTheTokenOfRestoreTestsOnANode(t *testing.T) {
	t.Parallel()
	n := newRealNode(t)
	if out, code := n.agent("--once", n.yaml(testedOnANode)); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	want := n.yaml(testedOnANode + "tests:\n  weekly: {guests: all, storage: local-lvm, vmids: 9900-9909, every: 7d, probe: [{unit: dnsmasq}, {tcp: 53}]}\n")
	if out, code := n.agent("--plan", want); code != 3 || !strings.Contains(out, "felhom-agent --print-setup --restore-tests") {
		t.Errorf("without a token: exit code %d\n%s", code, out)
	}
	setup, _ := n.agent("--print-setup", "--restore-tests")
	for line := range strings.Lines(setup) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "pveum ") {
			continue
		}
		if out := n.root(line); strings.Contains(line, "token add") {
			var made struct{ Value string }
			if err := json.Unmarshal([]byte(out), &made); err != nil || made.Value == "" {
				t.Fatalf("%s: %v", out, err)
			}
			file := filepath.Join(n.dir, "tests-token")
			if err := os.WriteFile(file, []byte(made.Value+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			n.config["tests_token_file"] = file
		}
	}
	if err := n.sim.PutFile(privileged.PolicyPath, []byte(`{"tests": "9900-9909"}`)); err != nil {
		t.Fatal(err)
	}
	n.config["tests_token_id"] = "felhom-test@pve!tests"
	simulated := pvesim.New()
	simulated.AllowTests(proxmox.TestPool)
	if have, want := accessOf(t, n.sim), accessOf(t, simulated); have != want {
		t.Errorf("the token of simulated nodes is another one (- simulated, + made by the lines):\n%s", cmp.Diff(want, have))
	}
	if out, code := n.agent("--selftest"); !strings.Contains(out, "[ ok ] tests token    felhom-test@pve!tests can delete the guests of the pool felhom-test, and none of 1 others") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	out, code := n.agent("--test", "dns", want)
	if code != 0 || !strings.Contains(out, "the test guest of dns: works") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if left := n.root("pct list"); strings.Contains(left, "9900") {
		t.Errorf("a test guest is left:\n%s", left)
	}

	// A token that can do more is named.
	for line, says := range map[string]string{
		"pveum acl modify /vms/101 --users felhom-test@pve --tokens 'felhom-test@pve!tests' --roles FelhomAgent": "VM.Allocate, VM.Config.CPU, VM.Config.Disk, VM.Config.Memory, VM.Config.Network, VM.Config.Options, VM.PowerMgmt, VM.Snapshot, VM.Snapshot.Rollback on /vms/101 (dns)",
		"pveum acl modify / --users felhom-test@pve --tokens 'felhom-test@pve!tests' --roles FelhomTest":         "VM.PowerMgmt on /",
		"pvesh set /pools/felhom-test --vms 101":                                                                 "on /vms/101 (dns)",
	} {
		if path, ok := strings.CutPrefix(line, "pvesh set "); ok {
			if status, body := n.sim.Do("root@pam", "PUT", strings.Fields(path)[0], map[string]string{"vms": "101"}); status != 200 {
				t.Fatal(body)
			}
		} else {
			n.root(line)
		}
		if out, code := n.agent("--selftest"); code != 1 || !strings.Contains(out, "[fail] tests token    felhom-test@pve!tests may do what no restore test needs: ") || !strings.Contains(out, says) {
			t.Errorf("%s: exit code %d\n%s", line, code, out)
		}
		if undo, ok := strings.CutPrefix(line, "pveum acl modify"); ok {
			n.root("pveum acl modify" + undo + " --delete 1")
		} else if status, body := n.sim.Do("root@pam", "PUT", "/pools/felhom-test", map[string]string{"vms": "101", "delete": "1"}); status != 200 {
			t.Fatal(body)
		}
	}
	// One that can do less is too, and one that PVE does not know.
	n.root("pveum acl modify /vms --users felhom-test@pve --roles FelhomTestArchive --delete 1")
	if out, code := n.agent("--selftest"); code != 1 || !strings.Contains(out, "[fail] tests token    felhom-test@pve!tests lacks VM.Backup on /vms") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	n.config["tests_token_id"] = "felhom-test@pve!other"
	if out, code := n.agent("--selftest"); code != 1 || !strings.Contains(out, "[fail] tests token    felhom-test@pve!other: ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	// Without its secret tests are blocked, and nothing else is.
	n.config["tests_token_file"] = filepath.Join(n.dir, "gone")
	if out, code := n.agent("--plan", want); code != 3 || !strings.Contains(out, "restore tests have no token: tests_token_file: ") || !strings.Contains(out, "no such file") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// accessOf is what a node's world says of pools, users, roles and grants, without secrets and comments.
func accessOf(t *testing.T, sim *pvesim.Sim) string {
	t.Helper()
	var all strings.Builder
	for _, path := range []string{"/pools", "/access/acl", "/access/roles", "/access/users/felhom-test@pve", "/access/users/felhom-test@pve/token"} {
		status, body := sim.Do("root@pam", "GET", path, nil)
		if status != 200 {
			t.Fatal(body)
		}
		var answer struct{ Data json.RawMessage }
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatal(err)
		}
		var list []json.RawMessage
		if json.Unmarshal(answer.Data, &list) != nil {
			list = []json.RawMessage{answer.Data}
		}
		var lines []string
		for _, entry := range list {
			lines = append(lines, path+" "+string(regexp.MustCompile(`,?"comment":"[^"]*"`).ReplaceAll(entry, nil)))
		}
		slices.Sort(lines) // in which order the lines were typed is nothing to anybody
		all.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return all.String()
}
