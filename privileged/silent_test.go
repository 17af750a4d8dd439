package privileged_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A disk that does not answer is named as such, keeps no other from being seen, mounted and let go, and is itself neither
// taken for absent nor for safe to remove.
func TestASilentDiskIsNamedAndKeepsNoOther(t *testing.T) {
	t.Run("nothing remembered", func(t *testing.T) { silentDisk(t, "") })
	t.Run("as in production", func(t *testing.T) { silentDisk(t, t.TempDir()) })
}

func silentDisk(t *testing.T, memory string) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.Dir = memory
		onBlue := privileged.MountSpec{Name: "backup", UUID: blue, Path: "/mnt/usb/backup", Fstab: true}
		onMedia := privileged.MountSpec{Name: "media", UUID: media, Path: "/mnt/usb/media", Fstab: true}
		off := func(m privileged.MountSpec) privileged.Op {
			return privileged.UnmountUSB(b.node, privileged.UnmountSpec{Name: m.Name, UUID: m.UUID, Path: m.Path})
		}
		b.must(privileged.MountUSBByUUID(b.node, onMedia))
		if m := b.mountAt(onMedia.Path); m.UUID != media || m.Silent { // a refresh while all is well
			t.Errorf("%+v", m)
		}
		time.Sleep(nextPass)
		b.sim.Hang(media, true)

		began := time.Now()
		disks, err := privileged.Disks(t.Context(), b, b.node)
		if err != nil {
			t.Fatal(err)
		}
		var seen []string
		for _, d := range disks {
			if d.Silent {
				d.UUID += "silent"
			}
			seen = append(seen, d.Device+" "+d.UUID)
		}
		if text := strings.Join(seen, "\n"); !strings.Contains(text, "/dev/sdb1 "+blue) || !strings.Contains(text, "/dev/sdc1 silent") {
			t.Errorf("disks:\n%s", text)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("the look took %s", took)
		}
		if m := b.mountAt(onMedia.Path); !m.Mounted || !m.Silent || m.Gone || m.UUID != "" {
			t.Errorf("%+v", m)
		}
		b.must(privileged.MountUSBByUUID(b.node, onBlue))
		b.must(off(onBlue))
		b.must(off(onBlue)) // which asks whether somebody still has it
		if _, err := b.Do(t.Context(), off(onMedia), nil); err == nil || !strings.Contains(err.Error(), "/dev/sdc1, which is mounted at /mnt/usb/media, does not answer") {
			t.Errorf("unmounted: %v", err)
		}

		b.sim.Hang(media, false)
		b.must(off(onMedia))
		b.sim.Hang(media, true)
		if _, err := b.Do(t.Context(), off(onMedia), nil); err == nil || !strings.Contains(err.Error(), "not known") {
			t.Errorf("let go: %v", err)
		}
		if r := b.refused(privileged.MountUSBByUUID(b.node, onMedia), "does not answer (/dev/sdc1: it or its cable may be failing"); !r.Missing {
			t.Error("a disk that may answer again is refused for good")
		}
	})
}

// worn is a host with a disk that hangs as soon as it is mounted.
type worn struct {
	*pvesim.Host
	hang func()
}

func (w worn) Run(ctx context.Context, program string, args []string, progress func(string)) ([]byte, int, error) {
	out, exit, err := w.Host.Run(ctx, program, args, progress)
	if program == "/usr/bin/mount" {
		w.hang()
	}
	return out, exit, err
}

// A disk that hangs while it is being mounted is not said to have been exchanged, and does not stay mounted unproven.
func TestADiskThatHangsWhileItIsMounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.Host = worn{b.sim.Host(b.node), func() { b.sim.Hang(blue, true) }}
		op := privileged.MountUSBByUUID(b.node, privileged.MountSpec{Name: "backup", UUID: blue, Path: "/mnt/usb/backup"})
		if _, err := b.Do(t.Context(), op, nil); err == nil || !strings.Contains(err.Error(), "/dev/sdb1 does not answer") {
			t.Errorf("mounted: %v", err)
		}
		if m := b.mountAt("/mnt/usb/backup"); m.Mounted {
			t.Errorf("%+v", m)
		}
	})
}
