package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/spec"
)

// configured reads a configuration of a file with this text and these variables; ~ stands for the folder.
func configured(t *testing.T, text string, simulate bool, environ ...string) (*config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "agent.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "~", dir)), 0o640); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"token": 0o640, "open": 0o644, "empty": 0o600} {
		secret := "the-secret-of-" + name + "\n"
		if name == "empty" {
			secret = "\n"
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), mode); err != nil {
			t.Fatal(err)
		}
	}
	for i := range environ {
		environ[i] = strings.ReplaceAll(environ[i], "~", dir)
	}
	c, err := config.Read(file, environ, simulate)
	if err != nil {
		err = fmt.Errorf("%s", strings.ReplaceAll(err.Error(), dir+"/", ""))
	}
	return c, err
}

const whole = `# the usual
url: https://pve1:8006
token_id: felhom@pve!agent
token_file: ~/token
`

func TestConfig(t *testing.T) {
	c, err := configured(t, whole+`
node: pve2
fingerprint: AA:BB
owner: garage
runner: socket:/run/x.sock
state: /var/lib/elsewhere
interval: 30m
timeout: 1d
settle: 2m
drift: report
max_destructive: 3
log_level: warn
log_format: json
`, false)
	if err != nil {
		t.Fatal(err)
	}
	want := "https://pve1:8006 pve2 AA:BB garage socket /var/lib/elsewhere 30m0s 24h0m0s 2m0s report 3 warn json felhom@pve!agent <nil>"
	if have := fmt.Sprint(c.Url, " ", c.Node, " ", c.Fingerprint, " ", c.Owner, " ", c.RunnerMode, " ", c.State, " ", c.Interval, " ", c.Timeout, " ", c.Settle, " ",
		c.Drift, " ", c.MaxDestructive, " ", c.LogLevel, " ", c.LogFormat, " ", c.Token.ID(), " ", c.Incomplete); have != want {
		t.Errorf("read  %s\nwant  %s", have, want)
	}
	if !strings.HasSuffix(c.Places["fingerprint"], "agent.yaml:7") {
		t.Errorf("the fingerprint is at %s", c.Places["fingerprint"])
	}

	c, err = configured(t, `{"url": "https://pve1:8006", "token_id": "felhom@pve!agent",
	"token_secret": "x", "interval": "5m"}`, false)
	if err != nil || c.Interval != 5*time.Minute || c.Incomplete != nil {
		t.Errorf("JSON: %v, %+v", err, c)
	}
	if c.MaxDestructive != 20 || c.Timeout != 10*time.Minute || c.RunnerMode != "sudo" || c.Drift != spec.Drift("") {
		t.Errorf("the defaults are %+v", c)
	}
}

func TestConfigEnvironment(t *testing.T) {
	c, err := configured(t, whole, false, "FELHOM_AGENT_URL=https://other:8006", "FELHOM_AGENT_TOKEN_SECRET=from-the-environment", "FELHOM_AGENT_INTERVAL=1h", "FELHOM_AGENT_OWNER=", "HOME=/root")
	if err != nil {
		t.Fatal(err)
	}
	if c.Url != "https://other:8006" || c.Interval != time.Hour || c.Places["token_secret"] != "FELHOM_AGENT_TOKEN_SECRET" || c.Places["token_file"] != "" {
		t.Errorf("read %+v", c)
	}

	// systemd's credential is the token where nobody gives another.
	credentials := t.TempDir()
	os.WriteFile(filepath.Join(credentials, "token"), []byte("from-systemd\n"), 0o400)
	c, err = configured(t, "url: https://pve1:8006\ntoken_id: felhom@pve!agent\n", false, "CREDENTIALS_DIRECTORY="+credentials)
	if err != nil || c.Incomplete != nil {
		t.Errorf("with a credential: %v, %v", err, c.Incomplete)
	}

	// Without a file, everything from the environment.
	c, err = config.Read("", []string{"FELHOM_AGENT_URL=https://pve1:8006", "FELHOM_AGENT_TOKEN_ID=felhom@pve!agent", "FELHOM_AGENT_TOKEN_SECRET=x"}, false)
	if _, missing := os.Stat(config.DefaultConfig); missing != nil && (err != nil || c.Incomplete != nil) {
		t.Errorf("without a file: %v, %v", err, c.Incomplete)
	}
}

// The token of restore tests is one more. Where its secret is missing, that is said, and the rest is valid.
func TestConfigTestsToken(t *testing.T) {
	const tests = whole + "tests_token_id: felhom-test@pve!tests\n"
	credentials, none := t.TempDir(), t.TempDir()
	os.WriteFile(filepath.Join(credentials, "tests-token"), []byte("from-systemd\n"), 0o400)
	os.WriteFile(filepath.Join(none, "tests-token"), []byte(config.NoCredential), 0o400)
	for name, c := range map[string]struct {
		text, environ, id, missing, err string
	}{
		"not given":                   {text: whole},
		"from a file":                 {text: tests + "tests_token_file: ~/token\n", id: "felhom-test@pve!tests"},
		"in the file":                 {text: tests + "tests_token_secret: x\n", id: "felhom-test@pve!tests"},
		"from the environment":        {text: tests + "tests_token_file: ~/gone\n", environ: "FELHOM_AGENT_TESTS_TOKEN_SECRET=x", id: "felhom-test@pve!tests"},
		"from systemd":                {text: tests + "tests_token_file: ~/gone\n", environ: "CREDENTIALS_DIRECTORY=" + credentials, id: "felhom-test@pve!tests"},
		"nothing from systemd":        {text: tests + "tests_token_file: ~/token\n", environ: "CREDENTIALS_DIRECTORY=" + none, id: "felhom-test@pve!tests"},
		"nothing at all from systemd": {text: tests + "tests_token_file: ~/gone\n", environ: "CREDENTIALS_DIRECTORY=" + none, missing: "tests_token_file: "},
		"without a secret":            {text: tests, missing: "tests_token_id is given, and neither tests_token_file nor tests_token_secret"},
		"a file that is gone":         {text: tests + "tests_token_file: ~/gone\n", missing: "no such file"},
		"an open file":                {text: tests + "tests_token_file: ~/open\n", err: "every user of this machine may read"},
		"an empty file":               {text: tests + "tests_token_file: ~/empty\n", err: "is empty"},
		"two secrets":                 {text: tests + "tests_token_file: ~/token\ntests_token_secret: x\n", err: "tests_token_secret is given too"},
		"an odd id":                   {text: whole + "tests_token_id: felhom\ntests_token_secret: x\n", err: "tests_token_id: "},
	} {
		have, err := configured(t, c.text, false, c.environ)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil || have.TestsToken.ID() != c.id || !strings.Contains(have.TestsTokenMissing, c.missing) || c.missing == "" && have.TestsTokenMissing != "" || have.Incomplete != nil:
			t.Errorf("%s: %v, %+v", name, err, have)
		}
	}
}

// TestConfigRefused holds the text of every refusal, all with code 4.
func TestConfigRefused(t *testing.T) {
	for text, want := range map[string]string{
		whole + "fingerpint: AA\n":                          "agent.yaml:5: fingerpint: unknown key: did you mean fingerprint?",
		whole + "colour: red\n":                             "agent.yaml:5: colour: unknown key; there are ca, drift, fingerprint",
		whole + "verify_ssl: false\n":                       "agent.yaml:5: verify_ssl: unknown key, and no insecure mode: pin the certificate with fingerprint",
		whole + "password: x\n":                             "agent.yaml:5: password: unknown key: the agent has an API token, no password",
		whole + "host: pve1\n":                              "agent.yaml:5: host: unknown key: did you mean url?",
		whole + "node: [pve1, pve2]\n":                      "agent.yaml:5: node: it wants a single value, not a list",
		whole + "owner: {name: x}\n":                        "agent.yaml:5: owner: it wants a single value, not a map",
		whole + "owner:\n":                                  "agent.yaml:5: owner: it has no value",
		whole + "owner: two words\n":                        "agent.yaml:5: owner: \"two words\": expected one word",
		whole + "url: https://pve2:8006\n":                  "agent.yaml:5: url: it stands here a second time (first: agent.yaml:2): keep one",
		whole + "token_secret: x\n":                         "agent.yaml:4: token_file: token_secret is given too (agent.yaml:5): keep one of them",
		whole + "fingerprint: AA\nca: /etc/x.pem\n":         "agent.yaml:6: ca: fingerprint is given too (agent.yaml:5): keep one of them",
		whole + "interval: 900\n":                           "agent.yaml:5: interval: \"900\": it is a time such as 90s, 15m, 2h or 7d",
		whole + "timeout: -5m\n":                            "agent.yaml:5: timeout: \"-5m\": it is a time such as",
		whole + "settle: 10s\n":                             "agent.yaml:5: settle: \"10s\": it is 30s or more: PVE may carry out a request that long after its answer was lost",
		whole + "runner: su\n":                              "agent.yaml:5: runner: \"su\": it is one of sudo, direct, socket, socket:/PATH, none",
		whole + "runner: socket:relative\n":                 "agent.yaml:5: runner: \"socket:relative\": it is one of",
		whole + "state: lib\n":                              "agent.yaml:5: state: \"lib\": it is a path from the root, such as /var/lib/felhom-agent",
		whole + "drift: ignore\n":                           "agent.yaml:5: drift: \"ignore\": it is one of heal, report",
		whole + "max_destructive: none\n":                   "agent.yaml:5: max_destructive: \"none\": it is a number of deletions, 1 or more",
		whole + "log_level: loud\n":                         "agent.yaml:5: log_level: \"loud\": it is one of debug, info, warn, error",
		whole + "log_format: xml\n":                         "agent.yaml:5: log_format: \"xml\": it is one of console, json",
		whole + "---\nurl: x\n":                             "a second document begins here",
		"- url\n":                                           "agent.yaml:1: expected a map of keys",
		"url: {\n":                                          "agent.yaml:",
		"token_id: felhom\ntoken_secret: x\n":               "agent.yaml:1: token_id: invalid token ID \"felhom\"",
		"token_id: felhom@pve!agent\ntoken_file: ~/open\n":  "chmod 640",
		"token_id: felhom@pve!agent\ntoken_file: ~/empty\n": "expected the token secret printed",
		"token_id: felhom@pve!agent\ntoken_file: ~/none\n":  "no such file",
	} {
		_, err := configured(t, text, false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  gave %v\n  want %s", text, err, want)
		}
	}
	for variable, want := range map[string]string{
		"FELHOM_AGENT_FINGERPINT=AA":   "FELHOM_AGENT_FINGERPINT: unknown key: did you mean fingerprint?",
		"FELHOM_AGENT_INTERVAL=soon":   "FELHOM_AGENT_INTERVAL: \"soon\": it is a time such as",
		"FELHOM_AGENT_TOKEN_FILE=none": "FELHOM_AGENT_TOKEN_FILE: ",
	} {
		if _, err := configured(t, whole, false, variable); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  gave %v\n  want %s", variable, err, want)
		}
	}
	_, err := config.Read(filepath.Join(t.TempDir(), "none.yaml"), nil, false)
	if !invalid(err) || !strings.Contains(fmt.Sprint(err), "it cannot be read") {
		t.Errorf("a missing file that was named: %v", err)
	}

	// Several mistakes are told together.
	_, err = configured(t, "urn: x\ninterval: soon\n", false, "FELHOM_AGENT_DRIFT=x")
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three mistakes gave %v", err)
	}
}

// TestConfigIncomplete: what is missing to reach a node is told only by the modes that reach one.
func TestConfigIncomplete(t *testing.T) {
	c, err := configured(t, "# nothing\n", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"url: it is missing", "token_id: it is missing", "token_secret: it is missing", "FELHOM_AGENT_TOKEN_SECRET", "felhom-agent --print-setup"} {
		if c.Incomplete == nil || !strings.Contains(c.Incomplete.Error(), want) {
			t.Errorf("%q is not in %v", want, c.Incomplete)
		}
	}
	if !invalid(c.Incomplete) {
		t.Error("it shall be code 4")
	}
}

// TestConfigSimulated: for a simulated node the connection's keys are not read at all.
func TestConfigSimulated(t *testing.T) {
	c, err := configured(t, "url: 7\ntoken_id: nonsense\ntoken_file: ~/open\nrunner: nonsense\nowner: garage\n", true, "FELHOM_AGENT_URL=https://192.0.2.1:8006", "FELHOM_AGENT_UNKNOWN=x")
	if err != nil {
		t.Fatal(err)
	}
	if c.Url != "" || c.Token.ID() != "" || c.Runner != nil || c.Owner != "garage" {
		t.Errorf("read %+v", c)
	}
	if _, err := configured(t, "bogus: 1\n", true); err == nil {
		t.Error("an unknown key is a mistake there too")
	}
}

// TestSecretStaysInside: however a configuration is printed, the secret is not in it.
func TestSecretStaysInside(t *testing.T) {
	c, err := configured(t, whole, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, c); strings.Contains(text, "the-secret") {
			t.Errorf("%s shows it: %s", verb, text)
		}
	}
	_, err = configured(t, "token_id: nonsense\ntoken_secret: the-secret\n", false)
	if err == nil || strings.Contains(err.Error(), "the-secret") {
		t.Errorf("the error shows it: %v", err)
	}
}

// The configuration and the secret are small regular files: nothing else is read, and nothing keeps the program waiting.
func TestConfigOfOddFiles(t *testing.T) {
	dir := t.TempDir()
	fifo, endless, large := filepath.Join(dir, "fifo"), filepath.Join(dir, "endless"), filepath.Join(dir, "large")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", endless); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 1<<20+1); err != nil {
		t.Fatal(err)
	}
	for file, says := range map[string]string{
		fifo: "it is not a regular file", endless: "it is not a regular file", dir: "it is not a regular file", large: "it has more than 1 MiB",
	} {
		if _, err := config.Read(file, nil, false); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), file) {
			t.Errorf("configuration %s: %v", file, err)
		}
		if given := config.GivenIn(file, nil); len(given) != 0 {
			t.Errorf("%s gave %v", file, given)
		}
		if file == endless || file == dir { // everybody may read them, which is said first
			continue
		}
		if _, err := configured(t, "url: https://pve1:8006\ntoken_id: felhom@pve!agent\ntoken_file: "+file+"\n", false); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("secret in %s: %v", file, err)
		}
	}
	// A file of exactly the limit is read.
	if err := os.WriteFile(large, []byte("owner: garage\n"+strings.Repeat("#\n", (1<<20-14)/2)), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := config.Read(large, nil, true); err != nil || c.Owner != "garage" {
		t.Errorf("1 MiB: %v", err)
	}
}
