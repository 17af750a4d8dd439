package privileged

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const sumOfX = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"

// container starts a program in namespaces of its own (user, network, mounts, processes), as an unprivileged container has them, its root a folder in which
// the host's programs are mounted too. It needs root.
func container(t *testing.T, files string, program string) running {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for namespaces")
	}
	for _, tool := range []string{"python3", "pivot_root", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	top := cgroup2(t)
	root := t.TempDir()
	for _, dir := range []string{root, filepath.Dir(root)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(root, 100_000, 100_000); err != nil {
		t.Fatal(err)
	}
	script := `set -e
mount --make-rprivate /
mount --bind ` + root + ` ` + root + `
for d in usr bin lib lib64 proc dev; do mkdir -p ` + root + `/$d; done
for d in usr bin lib lib64 dev; do mount --rbind /$d ` + root + `/$d; done
mount -t proc proc ` + root + `/proc
cd ` + root + `
` + files + `
ip link set lo up
mkdir .old
pivot_root . .old
umount -l /.old
exec /bin/sh -c 'echo ready; ` + program + `'
`
	cmd := exec.Command("/bin/sh", "-c", script)
	pipe, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = pipe, pipe
	fd, err := os.Open(top)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100_000, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(fd.Fd()),
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		UidMappings: ids, GidMappings: ids, Credential: &syscall.Credential{NoSetGroups: true},
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	said := func() string { text, _ := os.ReadFile(pipe.Name()); return string(text) }
	for range 200 {
		if strings.Contains(said(), "ready") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !strings.Contains(said(), "ready") {
		t.Skipf("no such namespaces here: %s", said())
	}
	c, err := insideOf("", cmd.Process.Pid, testVMID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.proc.Close()
		if t.Failed() {
			t.Log(said())
		}
	})
	return running{c, func() { cmd.Process.Kill(); cmd.Wait() }}
}

// running is a container with the way to end it.
type running struct {
	*inside
	stop func()
}

const testVMID = 99901

// cgroup2 makes the cgroup of a container.
func cgroup2(t *testing.T) string {
	t.Helper()
	for _, top := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(top + "/cgroup.procs"); err != nil {
			continue
		}
		dir := fmt.Sprintf("%s/lxc/%d/ns", top, testVMID)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			break
		}
		for _, file := range []string{"", "/cgroup.procs", "/cgroup.subtree_control"} { // its own root may divide it
			if err := os.Chown(dir+file, 100_000, 100_000); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() {
			for range 100 { // until its processes are gone
				if os.Remove(dir) == nil {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			os.Remove(filepath.Dir(dir))
			os.Remove(top + "/lxc")
		})
		return dir
	}
	t.Skip("no cgroup v2 can be made here")
	return ""
}

const server = `
import http.server, socket, threading, time, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204 if self.path == "/health?x=1" else 404); self.end_headers()
    def log_message(self, *a): pass
class S(http.server.HTTPServer):
    def server_bind(self):
        import socketserver
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "x", 80
s = S(("127.0.0.1", 80), H)
def other(port, say, family=socket.AF_INET):
    l = socket.socket(family, socket.SOCK_STREAM); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port)); l.listen(5)
    def run():
        while True:
            c, _ = l.accept()
            if say is None: keep.append(c); continue
            try: # one that only connects has gone by now
                c.sendall(say)
                c.shutdown(socket.SHUT_WR)
                while c.recv(4096): pass
            except OSError: pass
            c.close()
    threading.Thread(target=run, daemon=True).start()
keep = []
other(81, None)
other(82, b"SSH-2.0-x\\r\\n")
other(83, b"A" * 100000)
other(84, b"")
other(85, b"HTTP/1.1 200 OK\\r\\n", socket.AF_INET6)
open("/up", "w").close()
s.serve_forever()
`

// Probes of a real container: another network, another root, another user; and links, pipes and endless answers that it puts in the way.
func TestProbesOfARealContainer(t *testing.T) {
	before, _ := os.Readlink("/proc/self/ns/net")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := container(t, `mkdir -p srv/deep/er var/lib
printf x > srv/canary; touch -d @1764000000 srv/canary
printf y > srv/deep/er/new; touch -d @1764000100 srv/deep/er/new
ln -s /srv/canary link
ln -s ../../../../../..`+secret+` srv/out
ln -s `+secret+` abs
ln -s /proc/1/root/etc magic
ln -s loop loop
ln -s / srv/round
mkfifo srv/pipe
truncate -s 3G srv/sparse; touch -d @1 srv/sparse
cat > server.py <<'EOF'
`+server+`EOF
`, `exec python3 /server.py`)
	ask := func(pairs ...string) string {
		t.Helper()
		question := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			question[pairs[i]] = pairs[i+1]
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		found, err := c.probe(ctx, question)
		if err != nil {
			return "error: " + err.Error()
		}
		return fmt.Sprint(found)
	}
	for range 200 {
		if !strings.Contains(ask("what", "file", "file", "/up"), "no:") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, p := range []struct{ want, what, key, value, more string }{
		{"map[modified:1764000000 sha256:" + sumOfX + " size:1]", "file", "file", "/srv/canary", "hash"},
		{"map[modified:1764000000 sha256:" + sumOfX + " size:1]", "file", "file", "/link", "hash"}, // absolute, and inside
		{"map[no:it does not exist]", "file", "file", "/srv/out", "hash"},                          // the host's file stays the host's
		{"map[no:it does not exist]", "file", "file", "/abs", "hash"},
		{"map[no:a link on the way is not followed]", "file", "file", "/proc/1/root/srv/canary", ""},
		{"map[no:a link on the way is not followed]", "file", "file", "/magic/passwd", ""},
		{"map[no:a link on the way is not followed]", "file", "file", "/loop", ""},
		{"map[no:it is not a regular file]", "file", "file", "/srv/pipe", "hash"},
		{"map[no:it is not a regular file]", "file", "file", "/srv", ""},
		{"map[no:it is not a regular file]", "file", "file", "/dev/null", "hash"},
		{"map[no:it is not on a file system that keeps files]", "file", "file", "/proc/kmsg", "hash"},
		{"map[no:it is larger than 1024 MiB, which are not summed up]", "file", "file", "/srv/sparse", "hash"},
		{"map[file:/srv/deep/er/new files:3 modified:1764000100]", "newest", "file", "/srv", ""},
		{"map[no:there is no file below it]", "newest", "file", "/var", ""},
		{"map[no:it is not a folder]", "newest", "file", "/srv/canary", ""},
		{"map[connected:127.0.0.1]", "tcp", "port", "80", ""},
		{"map[connected:::1]", "tcp", "port", "85", ""},
		{"map[no:connection refused]", "tcp", "port", "99", ""},
		{"map[status:204]", "http", "port", "80", "/health?x=1"},
		{"map[status:404]", "http", "port", "80", "/"},
		{"map[no:its answer is not HTTP]", "http", "port", "82", "/"},
		{"map[no:its answer is not HTTP]", "http", "port", "83", "/"},
		{"map[no:it ended the connection without an answer]", "http", "port", "84", "/"},
		{"map[status:200]", "http", "port", "85", "/"},
		{"map[no:it did not answer in time]", "http", "port", "81", "/"},
		{"map[processes:1]", "process", "name", "python3", ""},
		{"map[no:there is no such process]", "process", "name", "no-such-program", ""},
		{"map[no:its init is not systemd]", "system", "name", "", ""},
	} {
		more := map[string]string{"file": "hash", "http": "url"}[p.what]
		pairs := []string{"what", p.what, p.key, p.value}
		if p.more != "" {
			pairs = append(pairs, more, p.more)
		}
		if have := ask(pairs...); have != p.want {
			t.Errorf("%s %s: %s; want %s", p.what, p.value, have, p.want)
		}
	}
	if have := ask("what", "survey"); have != "map[ports:80 81 82 83 84 85]" {
		t.Error(have)
	}
	c.stop()
	for _, what := range []string{"system", "tcp", "file", "newest", "survey"} {
		if have := ask("what", what, "port", "80", "file", "/srv"); have != "map[no:it does not run]" {
			t.Errorf("%s of one that has ended: %s", what, have)
		}
	}
	// Nothing of this process has changed: it is root of the host, in the host's network.
	if os.Geteuid() != 0 {
		t.Error("this process is no longer root")
	}
	own, _ := os.Readlink("/proc/self/ns/net")
	if own != before {
		t.Errorf("this process is in the network %s, not %s", own, before)
	}
}

// A process that is not the container's is refused, whatever its number was before.
func TestAProbeKnowsTheContainersProcessByItsCgroup(t *testing.T) {
	for text, want := range map[string]bool{
		"0::/lxc/9900/ns/init.scope\n": true, "0::/lxc/9900\n": true, "12:cpu:/lxc/9900\n0::/lxc/9900/ns\n": true,
		"0::/lxc/99001/ns\n": false, "0::/lxc.monitor/9900\n": false, "0::/\n": false, "": false, "0::/x/lxc/9900/ns\n": false, "1:name=systemd:/lxc/9900\n": false,
	} {
		if have := inCgroup(text, 9900); have != want {
			t.Errorf("%q: %v", text, have)
		}
	}
	if _, err := insideOf("", os.Getpid(), 9900); err == nil || !strings.Contains(err.Error(), "is not in the cgroup of container 9900") {
		t.Errorf("this process is taken for a container's: %v", err)
	}
}
