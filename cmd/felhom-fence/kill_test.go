package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/privileged"
)

// slowPct is a pct whose create ends when the test lets it.
const slowPct = `[ "$1" = create ] || exit 64
echo begun >> /run/begun
echo "extracting archive"
while [ ! -e /run/go ]; do sleep 0.02; done
echo "arch: amd64" > /etc/pve/nodes/testnode/lxc/$2.conf
echo "created $2"
`

func golden() privileged.Op {
	return privileged.CreateGoldenLXC(node, privileged.GoldenSpec{VMID: 9000, Object: "debian", Owner: "home", Hostname: "debian",
		Template: "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", Storage: "local-lvm", SizeGiB: 8,
		Description: "<!-- felhom-agent/1 debian vmid=9000 owner=home born=2026-11-22T18:00:00Z -->",
		Features:    map[string]string{"keyctl": "1", "nesting": "1"}})
}

func exists(name string) bool { _, err := os.Stat(name); return err == nil }

func running(t *testing.T) []privileged.RunningOp {
	t.Helper()
	list, err := privileged.Running(t.Context(), direct(), node)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

type ending struct {
	result privileged.Result
	err    error
}

// join asks for an operation that is in progress, and returns when it waits for its end, which is told later.
func join(t *testing.T, op privileged.Op) <-chan ending {
	t.Helper()
	ended := make(chan ending, 1)
	waits := make(chan bool, 1)
	go func() {
		var e ending
		e.result, e.err = direct().Do(context.WithoutCancel(t.Context()), op, func(line string) {
			if strings.HasPrefix(line, "already running since ") {
				waits <- true
			}
		})
		ended <- e
	}()
	select {
	case <-waits:
	case e := <-ended:
		t.Fatalf("it did not wait: %+v", e)
	}
	return ended
}

func TestKilledAgent(t *testing.T) {
	if !inside(t) {
		return
	}
	pctScript(t, slowPct)
	agent := exec.Command(os.Args[0])
	agent.Env = append(os.Environ(), agentVar+"=1")
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pct runs", func() bool { return exists("/run/begun") })
	agent.Process.Kill()
	agent.Wait()

	list := running(t)
	if len(list) != 1 || list[0].Queue != "lxc/9000" || list[0].Name != "CreateGoldenLXC" || list[0].Since.IsZero() {
		t.Fatalf("running: %+v", list)
	}
	again := join(t, golden())
	writeFile(t, "/run/go", "", 0o600)
	if e := <-again; e.err != nil || !strings.Contains(e.result.Output, "created 9000") {
		t.Errorf("the same act asked again: %+v", e)
	}
	if !exists("/etc/pve/nodes/testnode/lxc/9000.conf") {
		t.Error("the act was not finished")
	}
	if n := strings.Count(readFile(t, "/run/begun"), "begun"); n != 1 {
		t.Errorf("pct ran %d times", n)
	}
	if list := running(t); len(list) != 0 {
		t.Errorf("running afterwards: %+v", list)
	}
}

func TestKilledFence(t *testing.T) {
	if !inside(t) {
		return
	}
	pctScript(t, slowPct)
	request, err := json.Marshal(map[string]any{"format": 1, "timeout_ms": 600000, "op": golden()})
	if err != nil {
		t.Fatal(err)
	}
	fence := exec.Command("/usr/sbin/felhom-fence")
	fence.Stdin = bytes.NewReader(request)
	if err := fence.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pct runs", func() bool { return exists("/run/begun") })
	fence.Process.Kill()
	fence.Wait()

	if list := running(t); len(list) != 1 || list[0].Queue != "lxc/9000" {
		t.Fatalf("pct still works, but running is: %+v", list)
	}
	other := golden()
	other.Args["hostname"] = "other"
	if r := refusal(t, do(t, other)); !strings.Contains(r.Reason, "busy") {
		t.Errorf("another operation on the queue: %v", r)
	}
	again := join(t, golden())
	writeFile(t, "/run/go", "", 0o600)
	e := <-again
	var failed *privileged.FailedError
	if !errors.As(e.err, &failed) || !failed.Unknown || !strings.Contains(failed.Output, "created 9000") {
		t.Errorf("the same act asked again: %+v", e)
	}
	if n := strings.Count(readFile(t, "/run/begun"), "begun"); n != 1 {
		t.Errorf("pct ran %d times", n)
	}
	if list := running(t); len(list) != 0 {
		t.Errorf("running afterwards: %+v", list)
	}
	if r := refusal(t, do(t, golden())); r.Arg != "vmid" || !strings.Contains(r.Reason, "exists") {
		t.Errorf("what is there now: %v", r)
	}
}

// Whoever asked goes away: its end of the pipe is closed, its terminal hangs up, its service is stopped.
func TestAbandonedFence(t *testing.T) {
	if !inside(t) {
		return
	}
	pctScript(t, slowPct)
	request, err := json.Marshal(map[string]any{"format": 1, "timeout_ms": 600000, "op": golden()})
	if err != nil {
		t.Fatal(err)
	}
	fence := exec.Command("/usr/sbin/felhom-fence")
	fence.Stdin = bytes.NewReader(request)
	out, err := fence.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := fence.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pct runs", func() bool { return exists("/run/begun") })
	out.Close()
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGINT, syscall.SIGTERM} {
		if err := fence.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, "/run/go", "", 0o600)
	if err := fence.Wait(); err != nil {
		t.Errorf("the fence ended with %v", err)
	}
	if !exists("/etc/pve/nodes/testnode/lxc/9000.conf") {
		t.Error("the act was not finished")
	}
}

func TestDeadlineEndsTheAnswerNotTheAct(t *testing.T) {
	if !inside(t) {
		return
	}
	pctScript(t, slowPct)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	result, err := direct().Do(ctx, golden(), nil)
	if err != nil || result.StillRunning == nil {
		t.Fatalf("%+v %v", result, err)
	}
	eventually(t, "it runs", func() bool { return len(running(t)) == 1 })
	again := join(t, golden())
	writeFile(t, "/run/go", "", 0o600)
	if e := <-again; e.err != nil || e.result.StillRunning != nil || !strings.Contains(e.result.Output, "created 9000") {
		t.Errorf("%+v", e)
	}
}

func TestProgress(t *testing.T) {
	if !inside(t) {
		return
	}
	pctScript(t, slowPct)
	var lines []string
	_, err := direct().Do(t.Context(), golden(), func(line string) {
		lines = append(lines, line)
		if line == "extracting archive" { // it is seen before the operation has ended
			writeFile(t, "/run/go", "", 0o600)
		}
	})
	if err != nil || !slices.Equal(lines, []string{"extracting archive", "created 9000"}) {
		t.Errorf("%q %v", lines, err)
	}
}

// Several processes of the fence at once lose no line of the fstab.
func TestOneFstabManyFences(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup") {
		return
	}
	var wg sync.WaitGroup
	var want []string
	for i := range 6 {
		name := fmt.Sprintf("disk%d", i)
		uuid := newUUID()
		loopDisk(t, uuid, name)
		spec := privileged.MountSpec{Name: name, UUID: uuid, Path: "/mnt/usb/" + name, Fstab: true}
		want = append(want, privileged.FstabEntry(spec))
		wg.Go(func() {
			if err := do(t, privileged.MountUSBByUUID(node, spec)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	got := strings.Split(strings.TrimSpace(readFile(t, "/etc/fstab")), "\n")
	if len(got) != 2+len(want) {
		t.Errorf("%d lines: %q", len(got), got)
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("the line is missing: %s", line)
		}
	}
}

// A kill -9 of the fence at any moment of an operation leaves the old or the new fstab, whole, and the same operation asked again brings it to its end.
func TestFenceKilledAnywhere(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup") {
		return
	}
	pctScript(t, `[ "$1" = list ] && echo "VMID Status Lock Name"`)
	loopDisk(t, blue, "blue")
	without := readFile(t, "/etc/fstab") + strings.Repeat("# a long table\n", 5000)
	writeFile(t, "/etc/fstab", without, 0o644)
	with := without + privileged.FstabEntry(backup(blue, true)) + "\n"
	mount := privileged.MountUSBByUUID(node, backup(blue, true))
	unmount := privileged.UnmountUSB(node, privileged.UnmountSpec{Name: "backup", UUID: blue, Path: "/mnt/usb/backup", DropFstab: true})
	seen := map[bool]int{}
	for i := range 40 {
		op := mount
		if i%2 == 1 {
			op = unmount
		}
		request, err := json.Marshal(map[string]any{"format": 1, "timeout_ms": 60000, "op": op})
		if err != nil {
			t.Fatal(err)
		}
		fence := exec.Command("/usr/sbin/felhom-fence")
		fence.Stdin = bytes.NewReader(request)
		if err := fence.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * time.Millisecond) // any moment is right
		fence.Process.Kill()
		fence.Wait()
		got := readFile(t, "/etc/fstab")
		if got != with && got != without {
			t.Fatalf("neither the old nor the new fstab: %d bytes", len(got))
		}
		seen[got == with]++
		var last error
		for range 50 { // the mount of the killed one may still be on its way
			if last = do(t, op); last == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if last != nil {
			t.Fatalf("killed after %d ms, asked again: %v", i, last)
		}
		if got, want := readFile(t, "/etc/fstab"), map[bool]string{true: with, false: without}[i%2 == 0]; got != want {
			t.Fatalf("asked again: %d bytes", len(got))
		}
		if m, ok := mountOf(t, "/mnt/usb/backup"); ok && m.Mounted != (i%2 == 0) {
			t.Fatalf("asked again: %+v", m)
		}
	}
	t.Logf("old %d times, new %d times", seen[false], seen[true])
}
