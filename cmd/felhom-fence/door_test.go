package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/privileged"
)

const agentUID = 64998

// ordinaryUser makes the user that the agent runs as, with the sudoers file of the package.
func ordinaryUser(t *testing.T) {
	t.Helper()
	shell(t, `echo 'felhom-agent:x:64998:64998::/nonexistent:/bin/sh' >> /etc/passwd
echo 'felhom-agent:x:64998:' >> /etc/group
echo 'felhom-agent:*:20000:0:99999:7:::' >> /etc/shadow`)
	if err := os.MkdirAll("/etc/sudoers.d", 0o750); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "/etc/sudoers.d/felhom-agent", privileged.Sudoers("felhom-agent"), 0o440)
}

func as(uid uint32, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// The sudoers line lets the ordinary user start the fence, without arguments, and nothing else. With the real sudo.
func TestSudo(t *testing.T) {
	if !inside(t, "sudo", "visudo") {
		return
	}
	ordinaryUser(t)
	if out, err := exec.Command("visudo", "-c", "-f", "/etc/sudoers.d/felhom-agent").CombinedOutput(); err != nil {
		t.Fatalf("visudo: %v\n%s", err, out)
	}
	if out, err := as(agentUID, "/usr/bin/sudo", "-n", "-l").CombinedOutput(); err != nil || strings.Count(string(out), "NOPASSWD") != 1 || !strings.Contains(string(out), `/usr/sbin/felhom-fence ""`) {
		t.Errorf("sudo -l: %v\n%s", err, out)
	}

	request := `{"format":1,"timeout_ms":60000,"query":{"node":"testnode","name":"Running","args":{}}}`
	cmd := as(agentUID, "/usr/bin/sudo", "-n", "/usr/sbin/felhom-fence")
	cmd.Stdin = strings.NewReader(request)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(`"answer":[]`)) {
		t.Errorf("the fence through sudo: %v\n%s", err, out)
	}

	for _, argv := range [][]string{
		{"/usr/sbin/felhom-fence", "anything"},
		{"/usr/bin/id"},
		{"/bin/sh", "-c", "id"},
		{"-u", "daemon", "/usr/sbin/felhom-fence"},
		{"LD_PRELOAD=/tmp/x.so", "/usr/sbin/felhom-fence"},
	} {
		cmd := as(agentUID, "/usr/bin/sudo", append([]string{"-n"}, argv...)...)
		cmd.Stdin = strings.NewReader(request)
		out, err := cmd.CombinedOutput()
		if err == nil || bytes.Contains(out, []byte("answer")) || bytes.Contains(out, []byte("uid=0")) {
			t.Errorf("sudo %q was let through:\n%s", argv, out)
		}
	}

	// Without sudo the program does nothing for an ordinary user.
	cmd = as(agentUID, "/usr/sbin/felhom-fence")
	cmd.Stdin = strings.NewReader(request)
	if out, err := cmd.CombinedOutput(); err == nil || bytes.Contains(out, []byte("answer")) {
		t.Errorf("the fence as an ordinary user: %v\n%s", err, out)
	}
}

// The runner itself, as root through sudo; and what it says when sudo refuses.
func TestSudoRunner(t *testing.T) {
	if !inside(t, "sudo") {
		return
	}
	list, err := privileged.Running(t.Context(), &privileged.ExecRunner{}, node)
	if err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
	writeFile(t, "/etc/sudoers", "", 0o440)
	os.RemoveAll("/etc/sudoers.d")
	_, err = privileged.Running(t.Context(), &privileged.ExecRunner{}, node)
	var lost *privileged.UnreachableError
	if !errors.As(err, &lost) || lost.Sent || !strings.Contains(lost.Fix, "--print-sudoers") {
		t.Errorf("%#v", err)
	}
	_, err = privileged.Running(t.Context(), &privileged.ExecRunner{Mode: privileged.Direct, Path: "/usr/sbin/nothing"}, node)
	if !errors.As(err, &lost) || lost.Sent {
		t.Errorf("%#v", err)
	}
}

func TestTheWrongNode(t *testing.T) {
	if !inside(t) {
		return
	}
	table := readFile(t, "/etc/fstab")
	_, err := direct().Do(t.Context(), privileged.MountUSBByUUID("other", backup(blue, true)), nil)
	if r := refusal(t, err); r.Here != node || r.Arg != "node" {
		t.Errorf("%#v", r)
	}
	os.Remove("/etc/pve/local")
	_, err = direct().Do(t.Context(), privileged.MountUSBByUUID(node, backup(blue, true)), nil)
	if r := refusal(t, err); r.Arg != "node" {
		t.Errorf("%#v", r)
	}
	if got := readFile(t, "/etc/fstab"); got != table {
		t.Errorf("fstab afterwards:\n%s", got)
	}
}

// A policy that somebody else could have written is none.
func TestPolicyOfOthers(t *testing.T) {
	if !inside(t) {
		return
	}
	sync := func() error { return privileged.SyncMount(t.Context(), direct(), node, "/tank/media") }
	if r := refusal(t, sync()); !strings.Contains(r.Fix, "fence.json") {
		t.Errorf("%v", r)
	}
	shell(t, "mkdir /etc/felhom-agent")
	writeFile(t, "/etc/felhom-agent/fence.json", `{"roots": ["/tank"]}`, 0o644)
	if r := refusal(t, sync()); r.Reason != "nothing is mounted there" {
		t.Errorf("%v", r)
	}
	for _, spoil := range []string{"chmod g+w /etc/felhom-agent/fence.json", "chmod o+w /etc/felhom-agent", "chown 64998 /etc/felhom-agent/fence.json", "chown 64998 /etc/felhom-agent"} {
		shell(t, spoil)
		if err := sync(); err == nil || !strings.Contains(err.Error(), "/etc/felhom-agent") {
			t.Errorf("after %s: %v", spoil, err)
		}
		shell(t, "chown -R root:root /etc/felhom-agent; chmod -R go-w /etc/felhom-agent")
	}
	writeFile(t, "/etc/felhom-agent/fence.json", `{"roots": ["/tank"], "rots": []}`, 0o644)
	if err := sync(); err == nil || !strings.Contains(err.Error(), "rots") {
		t.Errorf("an unknown key: %v", err)
	}
	writeFile(t, "/etc/felhom-agent/fence.json", `{"roots": ["/", "/etc"]}`, 0o644)
	if r := refusal(t, privileged.SyncMount(t.Context(), direct(), node, "/etc/pve")); !strings.Contains(r.Reason, "system") {
		t.Errorf("%v", r)
	}
}

// Requests that are no requests get a sentence and change nothing.
func TestHostileRequests(t *testing.T) {
	if !inside(t) {
		return
	}
	for name, request := range map[string]string{
		"nothing":                "",
		"truncated":              `{"format":1,"timeout_ms":60000,"query":{"node":"testnode","na`,
		"doubled":                strings.Repeat(`{"format":1,"timeout_ms":60000,"query":{"node":"testnode","name":"Running","args":{}}}`, 2),
		"two keys":               `{"format":1,"timeout_ms":60000,"query":{"node":"testnode","name":"Mounts","name":"Running","args":{}}}`,
		"two kinds":              `{"format":1,"timeout_ms":60000,"query":{"node":"testnode","name":"Running","args":{}},"op":{"node":"testnode","name":"Unbind","args":{}}}`,
		"unknown key":            `{"format":1,"timeout_ms":60000,"shell":"id","query":{"node":"testnode","name":"Running","args":{}}}`,
		"format 2":               `{"format":2,"timeout_ms":60000,"query":{"node":"testnode","name":"Running","args":{}}}`,
		"no timeout":             `{"format":1,"query":{"node":"testnode","name":"Running","args":{}}}`,
		"an act that is a query": `{"format":1,"timeout_ms":60000,"op":{"node":"testnode","name":"Running","args":{}}}`,
		"no such":                `{"format":1,"timeout_ms":60000,"op":{"node":"testnode","name":"Shell","args":{"line":"id"}}}`,
		"huge":                   `{"format":1,"timeout_ms":60000,"op":{"node":"testnode","name":"Unbind","args":{"x":"` + strings.Repeat("x", 1<<20) + `"}}}`,
	} {
		cmd := exec.Command("/usr/sbin/felhom-fence")
		cmd.Stdin = strings.NewReader(request)
		out, err := cmd.Output()
		if err != nil || !bytes.Contains(out, []byte(`"refused"`)) || bytes.Contains(out, []byte(`"answer"`)) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if out, err := exec.Command("/usr/sbin/felhom-fence", "--help").CombinedOutput(); err == nil || !bytes.Contains(out, []byte("no arguments")) {
		t.Errorf("with an argument: %v\n%s", err, out)
	}
}

// What was done, and by whom, stands in the system's log.
func TestSystemLog(t *testing.T) {
	if !inside(t) {
		return
	}
	shell(t, "mount -t tmpfs -o mode=755 tmpfs /dev && mknod -m 666 /dev/null c 1 3")
	log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("/usr/sbin/felhom-fence")
	cmd.Stdin = strings.NewReader(`{"format":1,"timeout_ms":60000,"op":{"node":"testnode","name":"BindMount","args":{"vmid":"201","object":"web","owner":"home","index":"0","source":"/mnt/x","mp":"/x\nforged line"}}}`)
	if out, err := cmd.Output(); err != nil || !bytes.Contains(out, []byte(`"refused"`)) {
		t.Errorf("%v %s", err, out)
	}
	buf := make([]byte, 4096)
	log.SetReadDeadline(time.Now().Add(time.Minute))
	n, err := log.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	line := string(buf[:n])
	if !strings.HasPrefix(line, "<86>felhom-fence[") || !strings.Contains(line, "]: root: BindMount lxc/201: mp0 /mnt/x on /x forged line: BindMount refused: mp") || strings.Contains(line, "\n") {
		t.Errorf("%q", line)
	}
	// Where standard error is the journal, which takes the system's log too, the line stands there once.
	for _, journal := range []bool{true, false} {
		stderr, err := os.Create("/run/stderr")
		if err != nil {
			t.Fatal(err)
		}
		info, err := stderr.Stat()
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		again := exec.Command("/usr/sbin/felhom-fence")
		again.Stdin, again.Stderr = strings.NewReader(`{"format":1,"timeout_ms":60000,"op":{"node":"testnode","name":"BindMount","args":{"vmid":"201"}}}`), stderr
		stream := fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
		if !journal {
			stream = "1:1"
		}
		again.Env = append(os.Environ(), "JOURNAL_STREAM="+stream)
		again.Run()
		stderr.Close()
		said, err := os.ReadFile("/run/stderr")
		if n := bytes.Count(said, []byte("BindMount")); err != nil || journal && n > 0 || !journal && n == 0 {
			t.Errorf("journal %t: standard error has %q, %v", journal, said, err)
		}
		if _, err := log.Read(buf); err != nil {
			t.Errorf("journal %t: the system's log: %v", journal, err)
		}
	}
}

// The way of the installed service: a socket whose every connection is the standard input and output of a fence of its own.
func TestSocket(t *testing.T) {
	if !inside(t) {
		return
	}
	pctScript(t, slowPct)
	ordinaryUser(t)
	const path = "/run/felhom-fence.sock"
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	os.Chmod(path, 0o666)
	go func() { // what systemd does for a socket unit with Accept=yes
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			f, err := conn.File()
			conn.Close()
			if err != nil {
				return
			}
			cmd := exec.Command("/usr/sbin/felhom-fence")
			cmd.Stdin, cmd.Stdout = f, f
			cmd.Start()
			f.Close()
			go cmd.Wait()
		}
	}()
	runner := &privileged.SocketRunner{Path: path}
	var lines []string
	result, err := runner.Do(t.Context(), golden(), func(line string) {
		lines = append(lines, line)
		writeFile(t, "/run/go", "", 0o600)
	})
	if err != nil || !strings.Contains(result.Output, "created 9000") || len(lines) == 0 || lines[0] != "extracting archive" {
		t.Errorf("%+v %q %v", result, lines, err)
	}

	// The peer: felhom-agent may, nobody else.
	shell(t, "cp "+os.Args[0]+" /run/peer && chmod 755 /run/peer")
	for uid, want := range map[uint32]string{agentUID: "answer: []", 65534: "refused"} {
		cmd := as(uid, "/run/peer")
		cmd.Env = append(cmd.Env, peerVar+"="+path)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("user %d: %v %s", uid, err, out)
		}
	}
	if _, err := (&privileged.SocketRunner{Path: "/run/none.sock"}).Ask(t.Context(), privileged.Query{Node: node, Name: "Running"}); !errors.As(err, new(*privileged.UnreachableError)) {
		t.Errorf("%v", err)
	}
}

// A connection that stays silent, or open after half a request, ends by itself and is told why; nothing is left of it.
func TestSilentConnection(t *testing.T) {
	if !inside(t) {
		return
	}
	for name, begin := range map[string]string{"silent": "", "half a request": `{"format":1,"timeout_ms":60000,`} {
		in, peer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/usr/sbin/felhom-fence")
		var out bytes.Buffer
		cmd.Stdin, cmd.Stdout = in, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in.Close()
		peer.WriteString(begin)
		cmd.Wait() // the test's own limit ends it where it does not end
		peer.Close()
		if !strings.Contains(out.String(), `"refused"`) || !strings.Contains(out.String(), "nothing came for 2s") {
			t.Errorf("%s: %s", name, &out)
		}
	}
}

// A peer that has as many requests in progress as it may is told so, and let in when one has ended.
func TestRequestsAtOnce(t *testing.T) {
	if !inside(t) {
		return
	}
	var leave func()
	for range privileged.MaxRequests {
		var err error
		if leave, err = (privileged.Peer{}).Enter("/run/felhom-fence"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := privileged.Running(t.Context(), direct(), node)
	var refused *privileged.RefusedError
	if !errors.As(err, &refused) || !refused.Busy {
		t.Errorf("%v", err)
	}
	leave()
	if _, err := privileged.Running(t.Context(), direct(), node); err != nil {
		t.Errorf("after one left: %v", err)
	}
}
