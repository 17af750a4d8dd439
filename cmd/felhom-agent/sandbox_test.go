package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// hardening are the lines of the service's unit that shut something, as systemd-run takes them.
func hardening(t *testing.T) (properties []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^((?:NoNew|Capability|Ambient|Protect|Private|Proc|Device|Lock|MemoryDeny|Restrict|RemoveIPC|SystemCall|IPAddress|UMask)[A-Za-z]*)=(.*)$`).FindAllStringSubmatch(packaged(t, "felhom-agent.service"), -1) {
		properties = append(properties, m[1]+"="+m[2])
	}
	if len(properties) < 20 {
		t.Fatalf("the unit shuts only %q", properties)
	}
	return properties
}

// sandboxed is a command that runs as the service's unit lets it: by systemd where that runs, else as another user
// without capabilities and with the unit's view of /proc.
func sandboxed(t *testing.T, dir string, argv ...string) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can make the service's sandbox")
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		args := []string{"--pipe", "--wait", "--collect", "--quiet", "--property=User=nobody", "--property=ReadWritePaths=" + dir}
		for _, property := range hardening(t) {
			args = append(args, "--property="+property)
		}
		return exec.Command("systemd-run", append(args, argv...)...)
	}
	for _, line := range []string{"ProcSubset=pid", "ProtectProc=invisible", "NoNewPrivileges=yes", "CapabilityBoundingSet="} {
		if !strings.Contains(strings.Join(hardening(t), "\n")+"\n", line+"\n") {
			t.Fatalf("the unit does not say %s any more: make the same here", line)
		}
	}
	const script = `mount -t proc -o subset=pid,hidepid=invisible proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --bounding-set=-all "$@"`
	return exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, "sandbox"}, argv...)...)
}

// sandboxDir is a folder that exists in the sandbox too: /tmp and /root do not.
func sandboxDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "felhom-agent-test-")
	if err != nil {
		t.Skip("no folder can be made in /var/lib: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestStatusOfSandboxedService: while the service runs as its unit lets it, --status says so, and afterwards that it
// does not.
func TestStatusOfSandboxedService(t *testing.T) {
	t.Parallel()
	dir := sandboxDir(t)
	program := filepath.Join(dir, "felhom-agent") // this test's binary is the program under that name
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	desired, world := filepath.Join(dir, "home.yaml"), filepath.Join(dir, "world.yaml")
	for _, err := range []error{os.WriteFile(program, binary, 0o755), os.WriteFile(desired, []byte("guests: {dns: {vmid: 101}}\n"), 0o644)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	service := sandboxed(t, dir, program, "--simulate="+world, "--watch", desired)
	service.Stdout, service.Stderr = &out, &out
	if err := service.Start(); err != nil {
		t.Skipf("the sandbox cannot be made here: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- service.Wait() }()
	t.Cleanup(func() { service.Process.Kill() })
	status := func() string {
		text, _ := exec.Command("felhom-agent", "--simulate="+world, "--status").CombinedOutput()
		return string(text)
	}
	begin := time.Now()
	for !strings.Contains(status(), "last look") && !strings.Contains(status(), "No service runs") && !strings.Contains(status(), "last refresh") {
		if time.Since(begin) > time.Minute {
			t.Fatalf("it never wrote its status: %s\n%s", status(), out.String())
		}
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, out.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	if text := status(); !strings.Contains(text, "watching since") || strings.Contains(text, "No service runs") {
		t.Errorf("while the service runs:\n%s", text)
	}
	if kept, err := os.ReadFile(world + ".state/status.json"); err != nil || !regexp.MustCompile(`"process": "[0-9]+@"`).Match(kept) {
		t.Errorf("the sandbox shows the boot, so this is not the unit's: %s %v", kept, err)
	}
	service.Process.Signal(os.Interrupt)
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
	if text := status(); !strings.Contains(text, "No service runs") {
		t.Errorf("after its end:\n%s", text)
	}
}
