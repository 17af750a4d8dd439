package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A session runs the commands of one document, in a folder of its own.
type session struct {
	dir    string   // with the examples
	pvesim string   // the program
	env    []string // of local commands
	host   []string // of commands on a host; nil until the first
}

func newSession(t *testing.T, pvesim string) *session {
	t.Helper()
	dir := t.TempDir()
	examples, err := filepath.Abs(root + "/examples")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(examples, filepath.Join(dir, "examples")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Dir(pvesim) + ":" + os.Getenv("PATH")
	return &session{dir: dir, pvesim: pvesim, env: append(os.Environ(), "PATH="+path, "STATE_DIRECTORY="+filepath.Join(dir, "state"), "NO_COLOR=1")}
}

// simulator builds cmd/pvesim, for as long as the test runs.
func simulator(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "pvesim")
	if out, err := exec.Command("go", "build", "-o", program, root+"/cmd/pvesim").CombinedOutput(); err != nil {
		t.Fatalf("building pvesim: %v\n%s", err, out)
	}
	return program
}

var exitCode = regexp.MustCompile(`# exit code (\d+)`)

// command runs one command of a document, or vets it where it cannot run here, and returns what it printed.
func (s *session) command(t *testing.T, line int, place, command string) (out string, ran bool) {
	t.Helper()
	command = regexp.MustCompile(`go run \./cmd/([a-z-]+)`).ReplaceAllString(command, "$1")
	program := strings.Fields(command)[0]
	env := s.env
	switch {
	case place == "host" && program == "felhom-agent":
		env = s.onHost(t)
		command = s.paths(command)
	case place == "host" || place == "repo" && program != "felhom-agent" && program != "pvesim":
		if err := vet(place, command); err != nil {
			t.Errorf("line %d: %s: %v", line+1, command, err)
		}
		return "", false
	}
	for _, tool := range []string{"jq"} {
		if _, err := exec.LookPath(tool); err != nil && strings.Contains(command, tool+" ") {
			t.Logf("line %d is not run, for there is no %s here: apt-get install %s", line+1, tool, tool)
			return "", false
		}
	}
	want := "0"
	if m := exitCode.FindStringSubmatch(command); m != nil {
		want = m[1]
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", command)
	run.Dir, run.Env = s.dir, env
	var both output
	run.Stdout, run.Stderr = &both, &both
	err := s.wait(run, &both, strings.Contains(command, "--watch"))
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("line %d: %s: %v", line+1, command, err)
	}
	if have := fmt.Sprint(code); have != want {
		t.Errorf("line %d: %s exits with %s, want %s:\n%s", line+1, command, have, want, &both)
	}
	out = strings.ReplaceAll(both.String(), s.dir+"/etc/felhom-agent", "/etc/felhom-agent")
	if here, err := os.Hostname(); err == nil {
		out = strings.ReplaceAll(out, "'felhom-agent on "+here+"'", "'felhom-agent on pve1'")
	}
	return out, true
}

// output is what a running command has printed so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// wait runs a command to its end; one that stays is interrupted, as with Ctrl-C, when it has printed something.
func (s *session) wait(run *exec.Cmd, out *output, stays bool) error {
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := run.Start(); err != nil {
		return err
	}
	for begin := time.Now(); stays && out.String() == "" && time.Since(begin) < time.Minute; {
		time.Sleep(10 * time.Millisecond) // another process prints it: there is nothing to wait on
	}
	if stays {
		if err := syscall.Kill(-run.Process.Pid, syscall.SIGINT); err != nil {
			return err
		}
	}
	return run.Wait()
}

// onHost serves a simulated node and its root helper, and returns the environment of an agent that looks after it.
func (s *session) onHost(t *testing.T) []string {
	t.Helper()
	if s.host != nil {
		return s.host
	}
	sim := pvesim.New()
	text, err := sim.Save()
	if err != nil {
		t.Fatal(err)
	}
	now := []byte("clock: " + time.Now().Format(time.RFC3339))
	text = regexp.MustCompile(`(?m)^clock: .*$`).ReplaceAllLiteral(text, now)
	world := filepath.Join(s.dir, "host.yaml")
	if err := os.WriteFile(world, text, 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(s.dir, "fence.sock")
	node := exec.Command(s.pvesim, "-listen", "127.0.0.1:0", "-world", world, "-speed", "80", "-fence", "unix:"+socket)
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = node.Process.Signal(syscall.SIGTERM)
		_ = node.Wait()
	})
	told := map[string]string{}
	for lines := bufio.NewScanner(out); told["world"] == "" && lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), " "); ok {
			told[key] = strings.TrimSpace(value)
		}
	}
	id, secret, _ := strings.Cut(told["token"], "=")
	if err := os.MkdirAll(filepath.Join(s.dir, "etc/felhom-agent/desired"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.host = append(slices.Clone(s.env), "FELHOM_AGENT_URL="+told["url"], "FELHOM_AGENT_FINGERPRINT="+told["fingerprint"],
		"FELHOM_AGENT_TOKEN_ID="+id, "FELHOM_AGENT_TOKEN_SECRET="+secret, "FELHOM_AGENT_RUNNER=socket:"+socket, "FELHOM_AGENT_NODE="+sim.Node())
	return s.host
}

var takesPath = regexp.MustCompile(`--(plan|once|rehearse|watch|check|print-rollback)\b`)

// paths puts a folder of the session in the place of /etc/felhom-agent, which felhom-agent reads by default.
func (s *session) paths(command string) string {
	bare, comment, commented := strings.Cut(command, " #")
	if takesPath.MatchString(bare) && !strings.Contains(bare, " /") && !strings.Contains(bare, "examples") {
		bare = strings.TrimRight(bare, " ") + " /etc/felhom-agent/desired"
	}
	bare = strings.ReplaceAll(bare, "/etc/felhom-agent", filepath.Join(s.dir, "etc/felhom-agent"))
	if commented {
		bare += " #" + comment
	}
	return bare
}
