package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/privileged"
)

// The tests of this package run the real program as root on a real kernel. For each of them the test binary starts itself in a mount and a process
// namespace of its own, where /etc, /mnt, /run, /usr/bin, /usr/sbin and /var/lib/lxc are scratch copies: nothing of the machine is touched.

const (
	insideVar = "FELHOM_FENCE_TEST_INSIDE" // set in the namespace
	fenceVar  = "FELHOM_FENCE_TEST_PROGRAM"
	agentVar  = "FELHOM_FENCE_TEST_AGENT" // be an agent that creates a golden, and nothing else
	peerVar   = "FELHOM_FENCE_TEST_PEER"  // ask the fence behind this socket, and nothing else
	node      = "testnode"
)

// fenceProgram is the program under test.
var fenceProgram = os.Getenv(fenceVar)

func TestMain(m *testing.M) {
	if path := os.Getenv(peerVar); path != "" { // see TestSocket
		answer, err := (&privileged.SocketRunner{Path: path}).Ask(context.Background(), privileged.Query{Node: node, Name: "Running"})
		if errors.As(err, new(*privileged.RefusedError)) {
			fmt.Println("refused")
		} else {
			fmt.Println("answer:", string(answer.Data))
		}
		os.Exit(0)
	}
	if os.Getenv(agentVar) != "" { // see TestKilledAgent
		result, err := direct().Do(context.Background(), golden(), func(string) {})
		fmt.Println("it ended:", result, err)
		os.Exit(1)
	}
	if os.Getenv(insideVar) != "" {
		if err := furnish(); err != nil {
			fmt.Fprintln(os.Stderr, "SKIP-NAMESPACE:", err)
			os.Exit(0)
		}
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "felhom-fence-test-")
	if err != nil {
		panic(err)
	}
	fenceProgram = filepath.Join(dir, "felhom-fence")
	if out, err := exec.Command("go", "build", "-o", fenceProgram, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// inside runs the rest of a test in a namespace of its own; in the outer process it returns false when that is done.
func inside(t *testing.T, programs ...string) bool {
	t.Helper()
	if os.Getenv(insideVar) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: it needs root, for a mount namespace and loop devices")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("skipped: %s is not installed here", p)
		}
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "5m")
	cmd.Env = append(os.Environ(), insideVar+"=1", fenceVar+"="+fenceProgram)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	switch {
	case bytes.Contains(out, []byte("SKIP-NAMESPACE:")), errors.Is(err, syscall.EPERM):
		t.Skipf("skipped: no namespace to work in: %v %s", err, out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")):
		t.Errorf("it did not run:\n%s", out)
	}
	return false
}

// furnish makes the scratch host in a new namespace.
func furnish() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount --make-rprivate /: %w", err)
	}
	script := `set -e
mount -t proc proc /proc
scratch=$(mktemp -d); mount -t tmpfs -o mode=755 tmpfs $scratch
mkdir $scratch/bin $scratch/real; mount --bind /usr/bin $scratch/real; ln -s $scratch/real/* $scratch/bin/; mount --bind $scratch/bin /usr/bin
mkdir $scratch/etc; cp -a /etc/. $scratch/etc/; mkdir $scratch/sbin; cp -a /usr/sbin/. $scratch/sbin/ 
mount --bind $scratch/etc /etc; mount --bind $scratch/sbin /usr/sbin
mount -t tmpfs -o mode=755 tmpfs /mnt; mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /var/lib/lxc; mount -t tmpfs -o mode=755 tmpfs /var/lib/lxc
mkdir $scratch/dev $scratch/sys; cp -a --one-file-system /dev/. $scratch/dev/; for n in $(seq 0 63); do [ -e $scratch/dev/loop$n ] || mknod $scratch/dev/loop$n b 7 $n; done
mount --rbind /sys $scratch/sys; mount --bind $scratch/dev /dev; mount -t tmpfs -o mode=755 tmpfs /sys
for d in $scratch/sys/*; do ln -s $d /sys/; done; rm /sys/class; mkdir -p /sys/class/block
printf 'major minor  #blocks  name\n\n' > $scratch/partitions; mount --bind $scratch/partitions /proc/partitions
echo $scratch/sys > /run/real-sys
rm -rf /etc/pve /etc/felhom-agent; mkdir -p /etc/pve/nodes/` + node + `/lxc; ln -s nodes/` + node + ` /etc/pve/local
cp "$FELHOM_FENCE_TEST_PROGRAM" /usr/sbin/felhom-fence
printf '# the table of this host\nUUID=0000-AAAA /boot/efi vfat umask=0077 0 1\n' > /etc/fstab; chmod 644 /etc/fstab
`
	cmd := exec.Command("sh", "-c", script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// pctScript puts a pct of our own in the place of PVE's: what the tests need of it.
func pctScript(t *testing.T, body string) {
	t.Helper()
	writeFile(t, "/usr/sbin/pct", "#!/bin/sh\nset -e\n"+body, 0o755)
	writeFile(t, "/usr/bin/lxc-info", "", 0o755)
}

// shell runs a command line as root.
func shell(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

// loopDisk is a disk with an ext4 file system. The root helper mounts no loop device, so the scratch host shows it under a disk's name: the device file, the
// kernel's list and its sysfs entry.
func loopDisk(t *testing.T, uuid, label string) (device string) {
	t.Helper()
	left, _ := exec.Command("losetup", "-l", "-n", "-O", "NAME,BACK-FILE").Output()
	for _, line := range strings.Split(string(left), "\n") { // of a run of these tests that was killed
		if f := strings.Fields(line); len(f) == 3 && f[2] == "(deleted)" && strings.Contains(f[1], "/Test") && strings.HasSuffix(f[1], ".img") {
			exec.Command("losetup", "-d", f[0]).Run()
		}
	}
	image := filepath.Join(t.TempDir(), label+".img")
	shell(t, "truncate -s 16M "+image+" && mkfs.ext4 -q -U "+uuid+" -L "+label+" "+image)
	out, err := exec.Command("losetup", "-f", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("skipped: no loop devices here: %v %s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "-d", loop).Run() })
	number := strings.TrimPrefix(loop, "/dev/loop")
	name := "sd" + string(rune('b'+strings.Count(readFile(t, "/proc/partitions"), " sd")))
	shell(t, "mknod -m 600 /dev/"+name+" b 7 "+number+" && ln -s $(cat /run/real-sys)/class/block/loop"+number+" /sys/class/block/"+name+
		" && echo '   7 "+number+" 16384 "+name+"' >> /proc/partitions")
	return "/dev/" + name
}

func writeFile(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// direct is the fence, started as root.
func direct() *privileged.ExecRunner {
	return &privileged.ExecRunner{Mode: privileged.Direct}
}

// eventually waits for what another process does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a minute later still not: %s", what)
		}
	}
}

func refusal(t *testing.T, err error) *privileged.RefusedError {
	t.Helper()
	var refused *privileged.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("not refused: %v", err)
	}
	return refused
}
