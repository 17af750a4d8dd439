package privileged

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// slowBox is a box whose pct create ends when the file go is there.
func slowBox(t *testing.T) testBox {
	box := newBox(t)
	box.program(pct, "echo extracting; touch "+box.root+"/begun; while [ ! -e "+box.root+"/go ]; do sleep 0.02; done; echo created")
	return box
}

func (b testBox) wait(name string) {
	for !fileExists(b.root + name) {
		time.Sleep(5 * time.Millisecond)
	}
}

// One operation, asked for by many, runs once; another one on its queue is refused; one on another queue is not held up.
func TestLanes(t *testing.T) {
	box := slowBox(t)
	var ended []string
	var mu sync.Mutex
	box.Ended = func(op Op, result Result, err error) {
		mu.Lock()
		defer mu.Unlock()
		ended = append(ended, op.Name+" "+op.Queue()+" "+firstWord(err))
	}
	op := CreateGoldenLXC(testNode, goldenSpec())
	var wg sync.WaitGroup
	results := make([]Result, 5)
	for i := range results {
		wg.Go(func() {
			var err error
			if results[i], err = box.do(op); err != nil {
				t.Error(err)
			}
		})
	}
	box.wait("/begun")
	list, err := Running(t.Context(), box, testNode)
	if err != nil || len(list) != 1 || list[0].Queue != "lxc/9000" || list[0].What != op.String() {
		t.Errorf("%+v %v", list, err)
	}
	var refused *RefusedError
	if _, err := box.do(SealGolden(testNode, SealSpec{VMID: 9000, Object: "debian", Owner: "home"})); !errors.As(err, &refused) || !refused.Busy || !strings.Contains(refused.Reason, "lxc/9000 is busy with CreateGoldenLXC since") {
		t.Errorf("another operation on the queue: %v", err)
	}
	if _, err := box.do(UnmountUSB(testNode, UnmountSpec{Name: "backup", Path: "/mnt/usb/backup", DropFstab: true})); err != nil {
		t.Errorf("another queue: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if result, err := box.Do(ctx, op, nil); err != nil || result.StillRunning == nil || !result.StillRunning.Equal(list[0].Since) {
		t.Errorf("%+v %v", result, err)
	}
	if err := os.WriteFile(box.root+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	box.Wait()
	for _, r := range results {
		if r.Output != "extracting\ncreated\n" || r.StillRunning != nil {
			t.Errorf("%+v", r)
		}
	}
	if n := strings.Count(box.calls(), "pct create"); n != 1 {
		t.Errorf("pct ran %d times", n)
	}
	if got := strings.Join(ended, ", "); got != "SealGolden lxc/9000 SealGolden, UnmountUSB mount/backup ok, CreateGoldenLXC lxc/9000 ok" {
		t.Errorf("%s", got)
	}
	if list, err := Running(t.Context(), box, testNode); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
}

func firstWord(err error) string {
	if err == nil {
		return "ok"
	}
	word, _, _ := strings.Cut(err.Error(), " ")
	return word
}

// A failed operation says so to everybody who asked, and gives its queue back.
func TestFailure(t *testing.T) {
	box := newBox(t)
	box.program(pct, "echo 'unable to create CT 9000 - no such template' >&2; exit 255")
	for range 2 {
		_, err := box.do(CreateGoldenLXC(testNode, goldenSpec()))
		if err == nil || err.Error() != "CreateGoldenLXC failed: /usr/sbin/pct exited with 255: unable to create CT 9000 - no such template" {
			t.Errorf("%v", err)
		}
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("\x1b[31mred\x07 a\tb\u009b \xff" + strings.Repeat("x", 500)); got != "[31mred a b "+strings.Repeat("x", 388)+"…" {
		t.Errorf("%q", got)
	}
	if got := tail("first\nsecond\nthird\n", 15); got != "second\nthird\n" {
		t.Errorf("%q", got)
	}
}

func TestOpStrings(t *testing.T) {
	ops := wholeOps()
	for name, want := range map[string]string{
		"CreateGoldenLXC": "CreateGoldenLXC lxc/9000: local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst, 8G on local-lvm, fuse, keyctl, mount=nfs;cifs, nesting",
		"SealGolden":      "SealGolden lxc/201: take out machine-id and SSH host keys",
		"MountUSBByUUID":  "MountUSBByUUID mount/backup: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11 on /mnt/usb/backup, with a line in /etc/fstab",
		"UnmountUSB":      "UnmountUSB mount/backup: /mnt/usb/backup (6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11), and the agent's line out of /etc/fstab",
		"BindMount":       "BindMount lxc/201: mp2 /mnt/usb/media/library on /media, read only",
		"Unbind":          "Unbind lxc/201: mp1 /mnt/usb/media/library away",
		"PassDevice":      "PassDevice lxc/201: dev1 /dev/ttyUSB0",
		"RemoveDevice":    "RemoveDevice lxc/201: dev0 /dev/net/tun away",
	} {
		if got := ops[name].String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// Between our line in the fstab and our mount systemd may have mounted the disk itself: that is as well.
func TestSystemdWasFaster(t *testing.T) {
	box := newBox(t)
	box.program(mountProgram, `echo "40 22 8:17 / /mnt/usb/backup rw - ext4 /dev/sdb1 rw" >> `+box.root+`/proc/1/mountinfo; echo "mount: already mounted" >&2; exit 32`)
	if _, err := box.do(MountUSBByUUID(testNode, usb)); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(box.root + fstabPath); string(got) != oldTable+usbLine+"\n" {
		t.Errorf("fstab:\n%s", got)
	}
}

// What is mounted is looked at after the mount: another disk under the same name is let go again, and our line with it.
func TestDiskExchangedWhileMounting(t *testing.T) {
	box := newBox(t)
	box.program(mountProgram, `echo "40 22 8:17 / /mnt/usb/backup rw - ext4 /dev/sdb1 rw" >> `+box.root+`/proc/1/mountinfo; touch `+box.root+`/exchanged`)
	box.program(blkid, `[ "$4" = /dev/sdb1 ] || exit 2
[ -e `+box.root+`/exchanged ] && printf 'UUID=1111-2222\nTYPE=vfat\n' && exit 0
printf 'UUID=`+usb.UUID+`\nTYPE=ext4\n'`)
	box.program(umountProgram, "exit 0")
	_, err := box.do(MountUSBByUUID(testNode, usb))
	var failed *FailedError
	if !errors.As(err, &failed) || !strings.Contains(failed.Reason, "exchanged for another disk") || len(failed.Undone) != 1 {
		t.Errorf("%v", err)
	}
	if !strings.Contains(box.calls(), umountProgram+" /mnt/usb/backup") {
		t.Errorf("still mounted: %s", box.calls())
	}
	if got, _ := os.ReadFile(box.root + fstabPath); string(got) != oldTable {
		t.Errorf("fstab:\n%s", got)
	}
}

// Two processes on one machine: what one does the other one sees, waits for and does not disturb.
func TestLanesOfTwoProcesses(t *testing.T) {
	box := slowBox(t)
	dir := t.TempDir() + "/run"
	one, two := &Local{Host: NewMachine(box.root), Dir: dir}, &Local{Host: NewMachine(box.root), Dir: dir}
	op := CreateGoldenLXC(testNode, goldenSpec())
	type ending struct {
		result Result
		err    error
	}
	endings := make(chan ending, 2)
	send := func(l *Local) {
		r, err := l.Do(t.Context(), op, nil)
		endings <- ending{r, err}
	}
	go send(one)
	box.wait("/begun")
	for _, l := range []*Local{one, two} {
		list, err := Running(t.Context(), l, testNode)
		if err != nil || len(list) != 1 || list[0].Queue != "lxc/9000" || list[0].What != op.String() {
			t.Errorf("%+v %v", list, err)
		}
	}
	other := goldenSpec()
	other.Hostname = "other"
	var refused *RefusedError
	if _, err := two.Do(t.Context(), CreateGoldenLXC(testNode, other), nil); !errors.As(err, &refused) || !refused.Busy || !strings.Contains(refused.Reason, "busy with CreateGoldenLXC") {
		t.Errorf("another act: %v", err)
	}
	if _, err := two.Do(t.Context(), UnmountUSB(testNode, UnmountSpec{Name: "backup", Path: "/mnt/usb/backup", DropFstab: true}), nil); err != nil {
		t.Errorf("another queue: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if r, err := two.Do(ctx, op, nil); err != nil || r.StillRunning == nil {
		t.Errorf("%+v %v", r, err)
	}
	go send(two)
	if err := os.WriteFile(box.root+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		// The second may have come too late to wait for the first, and then ran on its own.
		if e := <-endings; e.err != nil || e.result.Output != "extracting\ncreated\n" {
			t.Errorf("%+v", e)
		}
	}
	one.Wait()
	two.Wait()
	for _, l := range []*Local{one, two} {
		if list, err := Running(t.Context(), l, testNode); err != nil || len(list) != 0 {
			t.Errorf("%+v %v", list, err)
		}
	}
}

// Those who wait are told of a refusal and a failure of another process as it was.
func TestEndingsOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	op := wholeOps()["Unbind"]
	for _, want := range []error{nil, &RefusedError{Op: "Unbind", Reason: "r"}, &FailedError{Op: "Unbind", Program: pct, Exit: 3, Output: "o"}, errors.New("odd")} {
		since := time.Now()
		file, other, err := takeQueue(dir, op, op.key(), since)
		if err != nil || other != nil {
			t.Fatalf("%v %v", other, err)
		}
		_, other, err = takeQueue(dir, op, op.key(), time.Now())
		if err != nil || other == nil || !other.Since.Equal(since) {
			t.Fatalf("taken twice: %+v %v", other, err)
		}
		done := make(chan error)
		go func() {
			_, err := other.await(op)
			done <- err
		}()
		file.end(Result{}, want)
		got := <-done
		switch {
		case want == nil && got != nil, want != nil && got == nil:
			t.Errorf("got %v, want %v", got, want)
		case want != nil && !strings.Contains(got.Error(), strings.TrimPrefix(want.Error(), "Unbind ")):
			t.Errorf("got %v, want %v", got, want)
		}
	}
	// Killed: the lock is free, and nothing says how it ended.
	file, _, err := takeQueue(dir, op, op.key(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := takeQueue(dir, op, op.key(), time.Now())
	if err != nil || other == nil {
		t.Fatal(err)
	}
	file.lock.Close()
	var failed *FailedError
	if _, err := other.await(op); !errors.As(err, &failed) || !failed.Unknown {
		t.Errorf("%v", err)
	}
	if _, other, err := takeQueue(dir, op, op.key(), time.Now()); err != nil || other != nil {
		t.Errorf("the queue of a killed operation is not free: %v %v", other, err)
	}
}

// What is left of a pulled disk is let go, by force where something still has files of it open, before the disk is mounted anew.
func TestPulledDisk(t *testing.T) {
	const table = "22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n40 22 8:65 / /mnt/usb/backup rw - ext4 /dev/sde1 rw\n"
	for busy, script := range map[string]string{"no": "", "yes": `[ "$1" = -l ] || { echo "umount: target is busy." >&2; exit 32; }; shift` + "\n"} {
		box := newBox(t)
		box.write("/proc/1/mountinfo", table, 0o644)
		box.program(umountProgram, script+`sed -i '\, /mnt/usb/backup ,d' `+box.root+`/proc/1/mountinfo`)
		box.program(mountProgram, `echo "40 22 8:17 / /mnt/usb/backup rw - ext4 /dev/sdb1 rw" >> `+box.root+`/proc/1/mountinfo`)
		mounts, err := Mounts(t.Context(), box, testNode)
		if err != nil || len(mounts) < 2 || !mounts[1].Gone || mounts[0].Gone {
			t.Errorf("%+v %v", mounts, err)
		}
		r, err := box.do(MountUSBByUUID(testNode, usb))
		if err != nil {
			t.Errorf("busy %s: %v", busy, err)
		}
		if noted := strings.Contains(strings.Join(r.Notes, ";"), "still has files of it open"); noted != (busy == "yes") {
			t.Errorf("busy %s: %q", busy, r.Notes)
		}
		if mounts, err = Mounts(t.Context(), box, testNode); err != nil || len(mounts) < 2 || mounts[1].UUID != usb.UUID {
			t.Errorf("busy %s: %+v %v", busy, mounts, err)
		}
	}
}

// A USB bridge that smartctl does not know is asked once more, through SAT; what does not answer then is unknown, which is no error.
func TestUSBBridge(t *testing.T) {
	for answer, want := range map[string]Health{"usb-sat.json": HealthPassed, "usb-mute.json": HealthUnknown} {
		box := newBox(t)
		for _, name := range []string{"usb-unknown.json", answer} {
			data, err := os.ReadFile("testdata/smart/" + name)
			if err != nil {
				t.Fatal(err)
			}
			box.write("/"+name, string(data), 0o644)
		}
		box.program(smartctl, `case "$*" in *--device=sat*) cat `+box.root+"/"+answer+`; exit 4;; esac; cat `+box.root+`/usb-unknown.json; exit 1`)
		r, err := SMART(t.Context(), box, testNode, "/dev/sdb")
		if err != nil || r.Health != want || r.Device != "/dev/sdb" {
			t.Errorf("%s: %+v %v", answer, r, err)
		}
		if got, want := box.calls(), smartctl+" --json=o --info --health --attributes --nocheck=standby /dev/sdb\n"+smartctl+" --json=o --info --health --attributes --nocheck=standby --device=sat /dev/sdb"; got != want {
			t.Errorf("%s", got)
		}
	}
}

// While an operation may edit the fstab no other process can: the lock is on hold until it has ended.
func TestFstabLock(t *testing.T) {
	box := newBox(t)
	dir := t.TempDir() + "/run"
	box.program(mountProgram, "touch "+box.root+"/begun; while [ ! -e "+box.root+"/go ]; do sleep 0.02; done; exit 32")
	local := &Local{Host: NewMachine(box.root), Dir: dir}
	done := make(chan error, 1)
	go func() {
		_, err := local.Do(t.Context(), MountUSBByUUID(testNode, usb), nil)
		done <- err
	}()
	for !fileExists(box.root + "/begun") {
		select {
		case err := <-done:
			t.Fatalf("it ended before it mounted: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	if held, err := isLocked(dir + "/fstab.lock"); err != nil || !held {
		t.Errorf("while it mounts: %v %v", held, err)
	}
	if err := os.WriteFile(box.root+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.As(err, new(*FailedError)) {
		t.Errorf("%v", err)
	}
	if held, err := isLocked(dir + "/fstab.lock"); err != nil || held {
		t.Errorf("afterwards: %v %v", held, err)
	}
}

// Whatever becomes of a request, it leaves no file behind: not in the directory of operations, however many different ones are asked for.
func TestActsLeaveNoFiles(t *testing.T) {
	box := newBox(t)
	dir := t.TempDir() + "/run"
	local := &Local{Host: NewMachine(box.root), Dir: dir}
	for i := range 20 {
		vmid := 1000 + i
		for _, op := range []Op{
			SealGolden(testNode, SealSpec{VMID: vmid, Object: "x", Owner: "y"}),
			Unbind(testNode, UnbindSpec{VMID: vmid, Object: "x", Owner: "y", Source: "/mnt/x"}),
			UnmountUSB(testNode, UnmountSpec{Name: fmt.Sprint("disk", i), Path: fmt.Sprint("/mnt/", i), DropFstab: true}), // nothing to do: a success
			MountUSBByUUID(testNode, MountSpec{Name: fmt.Sprint("disk", i), UUID: "0000-0000", Path: "/mnt/x"}),
			{Node: "elsewhere", Name: "SealGolden", Args: map[string]string{"vmid": fmt.Sprint(vmid), "object": "x", "owner": "y"}},
		} {
			local.Do(t.Context(), op, nil)
		}
	}
	if _, err := local.Do(t.Context(), SealGolden(testNode, SealSpec{VMID: 201, Object: "web", Owner: "home"}), nil); err == nil {
		t.Error("sealed a container without a root")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "fstab.lock" {
			t.Errorf("left: %s", e.Name())
		}
	}
}

// Many processes that take and give back one queue at the same time: one at a time has it, and nobody sees an operation without its end.
func TestLaneIsNeverSharedOrLost(t *testing.T) {
	dir := t.TempDir()
	op := wholeOps()["Unbind"]
	var holders, ran atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 40 {
				file, other, err := takeQueue(dir, op, op.key(), time.Now())
				switch {
				case err != nil:
					t.Error(err)
				case other != nil:
					if _, err := other.await(op); err != nil {
						t.Errorf("await: %v", err)
					}
				default:
					if holders.Add(1) != 1 {
						t.Error("two have the queue")
					}
					ran.Add(1)
					runtime.Gosched()
					holders.Add(-1)
					file.end(Result{}, nil)
				}
			}
		})
	}
	wg.Wait()
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 || ran.Load() == 0 {
		t.Errorf("%d ran; left: %q", ran.Load(), left)
	}
}
