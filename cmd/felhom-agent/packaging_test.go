package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/pull"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/recovery"
	"github.com/felhom/felhom-agent/privileged"
)

func packaged(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("packaging", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestManPage: every mode, option and key of the program is in its manual page.
func TestManPage(t *testing.T) {
	page := strings.ReplaceAll(packaged(t, "felhom-agent.8"), `\-`, "-")
	for _, m := range modes {
		if m.name != "" && !strings.Contains(page, "--"+m.name) {
			t.Errorf("it does not tell of --%s", m.name)
		}
		for _, option := range m.options {
			if !strings.Contains(page, dashed(option)) {
				t.Errorf("it does not tell of %s", dashed(option))
			}
		}
	}
	_, keys, _ := strings.Cut(page, "\n.SH CONFIGURATION\n")
	keys, _, _ = strings.Cut(keys, "\n.SH ")
	for key := range config.Keys {
		if !strings.Contains(keys, `\fB`+key+`\fP`) {
			t.Errorf("it does not tell of the key %s", key)
		}
	}
	for _, code := range []string{"0", "1", "2", "3", "4", "5", "6"} {
		if !strings.Contains(page, "\n\\fB"+code+"\\fP: ") {
			t.Errorf("it does not tell of exit code %s", code)
		}
	}
}

// TestPackagedConfiguration: agent.yaml is valid as it is installed, and with every line of it that is
// commented out.
func TestPackagedConfiguration(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("00000000-0000-0000-0000-000000000000"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(packaged(t, "agent.yaml"), "/etc/felhom-agent/token\n\n", token+"\n\n")
	all := regexp.MustCompile(`(?m)^# ([a-z_]+: )`).ReplaceAllString(text, "$1")
	for _, text := range []string{text, all} {
		file := filepath.Join(dir, "agent.yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := config.Read(file, nil, false)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if c.Incomplete != nil || c.Warning != "" || c.RunnerMode != "socket" || c.Url != "https://127.0.0.1:8006" || c.Token.ID() != setupUser+"!"+setupToken {
			t.Errorf("incomplete: %v, warning: %q, runner %s, url %s, token %s", c.Incomplete, c.Warning, c.RunnerMode, c.Url, c.Token.ID())
		}
	}
	if strings.Count(all, "\nlisten: 127.0.0.1:8765\n") != 1 || strings.Count(all, "\ninterval: 15m\n") != 1 {
		t.Error("the lines that are commented out were not tried")
	}
	for key := range config.Keys {
		if !regexp.MustCompile(`(?m)^`+key+`: `).MatchString(all) && !slices.Contains([]string{"token_secret", "tests_token_secret", "fingerprint", "state", "timeout", "notify"}, key) {
			t.Errorf("agent.yaml does not show the key %s", key)
		}
	}
}

// TestUnits: what the units say is what the programs do.
func TestUnits(t *testing.T) {
	agent, socket, fence := packaged(t, "felhom-agent.service"), packaged(t, "felhom-fence.socket"), packaged(t, "felhom-fence@.service")
	desired := packaged(t, "felhom-desired.service")
	for _, want := range []struct{ unit, line string }{
		{agent, "Type=notify"}, {agent, "ExecStart=/usr/bin/felhom-agent --watch"}, {agent, "User=" + serviceUser}, {agent, "WatchdogSec=3min"},
		{agent, "RestartPreventExitStatus=4"}, {agent, "IPAddressAllow=localhost"},
		{agent, "Environment=FELHOM_AGENT_TOKEN_FILE=%d/token FELHOM_AGENT_CA=%d/ca"}, {agent, "LoadCredential=ca:/etc/pve/pve-root-ca.pem"},
		{agent, "LoadCredential=tests-token:/etc/felhom-agent/tests-token"}, {agent, "SetCredential=tests-token:" + config.NoCredential},
		{socket, "ListenStream=" + privileged.SocketPath}, {socket, "Accept=yes"}, {socket, "SocketGroup=" + serviceUser},
		{fence, "ExecStart=" + privileged.FencePath}, {fence, "StandardInput=socket"}, {fence, "StandardOutput=socket"},
		{fence, "KillMode=process"}, // any other kills pct in mid-act when the fence is gone
		{desired, "ExecStart=/usr/bin/felhom-agent --pull"}, {desired, "StateDirectory=" + filepath.Base(pull.DefaultState)}, {desired, "ConditionPathExists=" + pull.DefaultConfig},
		{desired, fmt.Sprintf("SuccessExitStatus=%d", exit.Blocked)},
	} {
		if !strings.Contains("\n"+want.unit, "\n"+want.line+"\n") {
			t.Errorf("a unit has no line %s", want.line)
		}
	}
	if !regexp.MustCompile(`(?m)^After=.*\bpve-guests\.service\b`).MatchString(agent) {
		t.Error("the agent would start guests before PVE does, and again while PVE stops them")
	}
	// The environment that the unit sets must be keys of the configuration.
	for _, m := range regexp.MustCompile(`\bFELHOM_AGENT_([A-Z_]+)=`).FindAllStringSubmatch(agent, -1) {
		if _, ok := config.Keys[strings.ToLower(m[1])]; !ok {
			t.Errorf("the unit sets %s, which is no key", m[0])
		}
	}
	// The fence mounts disks for the host: it must share the host's mount namespace.
	if m := regexp.MustCompile(`(?m)^(Protect|Private|ReadOnly|ReadWrite|Inaccessible|Temporary|Bind|Mount|Root|Dynamic|StateDir|Restrict|SystemCall|NoNew|Capability).*=`).FindString(fence); m != "" {
		t.Errorf("the fence's unit says %s", m)
	}
	if have, want := lastLine(packaged(t, "sudoers")), strings.TrimSpace(lastLine(privileged.Sudoers(serviceUser))); have != want {
		t.Errorf("the sudoers file says %q, --print-sudoers %q", have, want)
	}
}

// TestUnitLimits: what runs cannot exhaust the host, and what the root helper answers itself stays below what systemd cuts off.
func TestUnitLimits(t *testing.T) {
	for _, name := range []string{"felhom-agent.service", "felhom-fence@.service", "felhom-desired.service"} {
		unit := packaged(t, name)
		for _, limit := range []string{`MemoryMax=[1-9][0-9]*[MG]`, `TasksMax=[1-9][0-9]*`} {
			if n := len(regexp.MustCompile(`(?m)^`+limit+`$`).FindAllString(unit, -1)); n != 1 {
				t.Errorf("%s has %d lines %s", name, n, limit)
			}
		}
	}
	m := regexp.MustCompile(`(?m)^MaxConnectionsPerSource=([0-9]+)$`).FindStringSubmatch(packaged(t, "felhom-fence.socket"))
	if m == nil {
		t.Fatal("the socket takes any number of connections of one user")
	}
	if most, err := strconv.Atoi(m[1]); err != nil || most <= privileged.MaxRequests {
		t.Errorf("systemd cuts off %s connections, the root helper answers %d", m[1], privileged.MaxRequests)
	}
}

// TestExposure: systemd rates the agent's unit under 2.0.
func TestExposure(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze here: apt-get install systemd")
	}
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold=20", "packaging/felhom-agent.service").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Log(strings.TrimSpace(lastLine(string(out))))
}

// TestPrivilegesInDocs: each privilege of the role is explained.
func TestPrivilegesInDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, privilege := range slices.Concat(needed, recovery.VMPrivileges) {
		if !strings.Contains(string(page), "`"+privilege+"`") {
			t.Errorf("docs/security.md does not say what %s is for", privilege)
		}
	}
}

// TestSecurityTable: each line of the table in docs/security.md names tests, and all of them are there.
func TestSecurityTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	err = filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Who can do what\n")
	table, _, _ = strings.Cut(table, "\n## ")
	lines := 0
	for _, line := range strings.Split(table, "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| who ") {
			continue
		}
		lines++
		names := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)`").FindAllStringSubmatch(line, -1)
		if len(names) == 0 {
			t.Errorf("a line names no test: %s", line)
		}
		for _, m := range names {
			if !there[m[1]] {
				t.Errorf("there is no %s: %s", m[1], line)
			}
		}
	}
	for _, who := range []string{"agent user", "YAML editor", "container root", "plugged-in disk", "API server"} {
		if !strings.Contains(table, "\n| "+who+" |") {
			t.Errorf("the table does not say what a %s can do", who)
		}
	}
	if lines < 20 {
		t.Errorf("only %d lines were found", lines)
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return lines[len(lines)-1]
}
