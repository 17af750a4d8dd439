package privileged

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
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

// One act, asked for by many, runs once; another one on its lane is refused; one on another lane is not held up.
func TestLanes(t *testing.T) {
	box := slowBox(t)
	var ended []string
	var mu sync.Mutex
	box.Ended = func(op Op, result Result, err error) {
		mu.Lock()
		defer mu.Unlock()
		ended = append(ended, op.Name+" "+op.Lane()+" "+firstWord(err))
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
	if err != nil || len(list) != 1 || list[0].Lane != "lxc/9000" || list[0].What != op.String() {
		t.Errorf("%+v %v", list, err)
	}
	var refused *RefusedError
	if _, err := box.do(SealGolden(testNode, SealSpec{VMID: 9000, Object: "debian", Owner: "home"})); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "lxc/9000 is busy with CreateGoldenLXC since") {
		t.Errorf("another act on the lane: %v", err)
	}
	if _, err := box.do(UnmountUSB(testNode, UnmountSpec{Name: "backup", Path: "/mnt/usb/backup", DropFstab: true})); err != nil {
		t.Errorf("another lane: %v", err)
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

// A failed act says so to everybody who asked, and gives its lane back.
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
		"UnmountUSB":      "UnmountUSB mount/backup: /mnt/usb/backup (6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11), and our line out of /etc/fstab",
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
