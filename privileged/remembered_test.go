package privileged_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/privileged"
)

// witness is a host that counts what is read, and of which the kernel and udev may tell less than usual.
type witness struct {
	counting
	hidden string            // files whose name has this in it are not there
	late   map[string][]byte // entries that udev has not renewed yet
}

func (w witness) ReadFile(name string) ([]byte, error) {
	if text, ok := w.late[name]; ok {
		return text, nil
	}
	if w.hidden != "" && strings.Contains(name, w.hidden) {
		return nil, fs.ErrNotExist
	}
	return w.counting.ReadFile(name)
}

func (w witness) ReadDir(name string) ([]string, error) {
	if w.hidden != "" && strings.Contains(name, w.hidden) {
		return nil, fs.ErrNotExist
	}
	return w.counting.ReadDir(name)
}

// nextPass is longer than the queries of one pass are apart.
const nextPass = time.Minute

// pass is what a pass asks, and which devices were read for it.
func pass(t *testing.T, l *privileged.Local, node string, read *[]string) (answer string, asked []string) {
	t.Helper()
	*read = nil
	mounts, err := privileged.Mounts(t.Context(), l, node)
	if err != nil {
		t.Fatal(err)
	}
	disks, err := privileged.Disks(t.Context(), l, node)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.MarshalIndent(map[string]any{"mounts": mounts, "disks": disks}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data), slices.Sorted(slices.Values(*read))
}

// Nothing is believed that the kernel or udev cannot tell: then a disk is read in every pass, once, and another content is seen at the next one.
func TestADiskOfWhichUdevDoesNotTellIsReadInEveryPass(t *testing.T) {
	const uuid = "11111111-0000-4000-8000-000000000001"
	for _, hidden := range []string{"boot_id", "sdc/diskseq", "sdc1/dev", "/run/udev/data/b8:33", "/run/udev/watch", "/run/udev"} {
		synctest.Test(t, func(t *testing.T) {
			b, read, _ := remembering(t)
			w := witness{counting: b.Host.(counting), hidden: hidden, late: map[string][]byte{}}
			b.Host = w
			pass(t, b.Local, b.node, read)
			time.Sleep(nextPass)
			if _, asked := pass(t, b.Local, b.node, read); len(slices.DeleteFunc(asked, func(d string) bool { return d != "/dev/sdc1" })) != 1 {
				t.Errorf("without %s: /dev/sdc1 was read %d times", hidden, len(asked))
			}
			w.late["/run/udev/data/b8:33"], _ = w.ReadFile("/run/udev/data/b8:33") // nobody tells udev
			if w.late["/run/udev/data/b8:33"] == nil {
				delete(w.late, "/run/udev/data/b8:33")
			}
			b.shell("mkfs.xfs -U " + uuid + " /dev/sdc1")
			time.Sleep(nextPass)
			if now := strings.Join(b.disksNow(), "\n"); !strings.Contains(now, "/dev/sdc1 "+uuid) {
				t.Errorf("without %s: %s", hidden, now)
			}
		})
	}
}

// The numbers of the kernel begin again at each boot, and say nothing of what was there before.
func TestAfterABootEveryDiskIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, read, _ := remembering(t)
		before := b.disksNow()
		time.Sleep(nextPass)
		b.shell("reboot")
		*read = nil
		if after := b.disksNow(); !slices.Equal(after, before) || len(*read) != len(before) {
			t.Errorf("read %v of %v", *read, before)
		}
	})
}

// What another user could have written or read is not what the root helper wrote.
func TestAFileOfDisksThatOthersMayWriteIsNotBelieved(t *testing.T) {
	b, read, file := remembering(t)
	before := b.disksNow()
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o644: len(before), 0o602: len(before)} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		*read = nil
		if now := b.disksNow(); !slices.Equal(now, before) || len(*read) != want {
			t.Errorf("with mode %o: read %v", mode, *read)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// An eject wakes no other disk, unless the file system may be on several.
func TestAnEjectWakesNoOtherDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, read, _ := remembering(t)
		b.must(privileged.MountUSBByUUID(b.node, privileged.MountSpec{Name: "media", UUID: media, Path: "/mnt/usb/media"}))
		*read = nil
		b.must(privileged.UnmountUSB(b.node, privileged.UnmountSpec{Name: "media", UUID: media, Path: "/mnt/usb/media"}))
		if slices.Contains(*read, "/dev/sdb1") {
			t.Errorf("read %v", *read)
		}
	})
}

// A disk that did not answer udev either may answer the next time.
func TestASilentDiskIsReadInEveryPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, read, _ := remembering(t)
		b.Host = witness{counting: b.Host.(counting), late: map[string][]byte{"/run/udev/data/b8:33": []byte("E:ID_BUS=usb\n")}}
		b.sim.Hang(media, true)
		for range 3 {
			time.Sleep(nextPass)
			if _, asked := pass(t, b.Local, b.node, read); !slices.Equal(asked, []string{"/dev/sda2", "/dev/sdb1", "/dev/sdc1"}) && !slices.Equal(asked, []string{"/dev/sda2", "/dev/sdc1"}) {
				t.Errorf("read %v", asked)
			}
		}
		b.sim.Hang(media, false)
		time.Sleep(nextPass)
		if now := strings.Join(b.disksNow(), "\n"); !strings.Contains(now, "/dev/sdc1 "+media) {
			t.Errorf("%s", now)
		}
	})
}

// udev is late: what was read before it has caught up is read again.
func TestWhatUdevDoesNotAgreeWithIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, file := remembering(t)
		w := witness{counting: b.Host.(counting), late: map[string][]byte{}}
		b.Host = w
		before := b.disksNow()
		entry, err := w.ReadFile("/run/udev/data/b8:33")
		if err != nil {
			t.Fatal(err)
		}
		w.late["/run/udev/data/b8:33"] = entry
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		b.shell("mkfs.ext4 -L media -U 11111111-0000-4000-8000-000000000001 /dev/sdc1")
		if now := strings.Join(b.disksNow(), "\n"); !strings.Contains(now, "/dev/sdc1 11111111") {
			t.Errorf("%s", now)
		}
		b.shell("mkfs.ext4 -L media -U " + media + " /dev/sdc1") // as before, and udev has the same entry
		time.Sleep(nextPass)
		if now := b.disksNow(); !slices.Equal(now, before) {
			t.Errorf("got  %v\nwant %v", now, before)
		}
	})
}

// An operation believes nothing that is remembered: a second disk with the UUID that is to be mounted is seen, whatever the file and udev say of it.
func TestAnOperationReadsEveryDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, read, _ := remembering(t)
		w := witness{counting: b.Host.(counting), late: map[string][]byte{}}
		b.Host = w
		w.late["/run/udev/data/b8:17"], _ = w.ReadFile("/run/udev/data/b8:17")
		b.disksNow()
		b.shell("mkfs.ext4 -L copy -U " + media + " /dev/sdb1") // dd, which still has it open
		b.refused(privileged.MountUSBByUUID(b.node, privileged.MountSpec{Name: "media", UUID: media, Path: "/mnt/usb/media"}), "one is a copy of the other")
		*read = nil
		b.must(privileged.UnmountUSB(b.node, privileged.UnmountSpec{Name: "media", UUID: media, Path: "/mnt/usb/media"}))
		if !slices.Contains(*read, "/dev/sdb1") {
			t.Errorf("safe to remove, having read %v", *read)
		}
	})
}
