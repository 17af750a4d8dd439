package privileged_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

const (
	blue  = "6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11"
	media = "51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77"
)

// bench is a simulated node with the fence on its host.
type bench struct {
	*privileged.Local
	t    *testing.T
	sim  *pvesim.Sim
	node string
}

func newBench(t *testing.T) bench {
	sim := pvesim.New()
	return bench{&privileged.Local{Host: sim.Host(sim.Node())}, t, sim, sim.Node()}
}

func (b bench) must(op privileged.Op) privileged.Result {
	b.t.Helper()
	r, err := b.Do(context.Background(), op, nil)
	if err != nil {
		b.t.Fatalf("%s: %v", op, err)
	}
	return r
}

func (b bench) refused(op privileged.Op, says string) *privileged.RefusedError {
	b.t.Helper()
	before := b.sim.String()
	_, err := b.Do(context.Background(), op, nil)
	var r *privileged.RefusedError
	if !errors.As(err, &r) || !strings.Contains(err.Error(), says) {
		b.t.Errorf("%s: %v; want it refused: %s", op, err, says)
	}
	if after := b.sim.String(); after != before {
		b.t.Errorf("%s: refused, but the world changed:\n%s", op, after)
	}
	if r == nil {
		b.t.FailNow()
	}
	return r
}

func (b bench) shell(line string) string {
	b.t.Helper()
	out, err := b.sim.Shell(b.node, line)
	if err != nil {
		b.t.Fatalf("%s: %v", line, err)
	}
	return out
}

func (b bench) mountAt(path string) privileged.Mount {
	b.t.Helper()
	mounts, err := privileged.Mounts(context.Background(), b, b.node)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range mounts {
		if m.Path == path {
			return m
		}
	}
	return privileged.Mount{}
}

func (b bench) golden() privileged.GoldenSpec {
	return privileged.GoldenSpec{VMID: 9000, Object: "debian", Owner: b.node, Template: "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", Storage: "local-lvm", SizeGiB: 8,
		Hostname: "debian", Features: map[string]string{"keyctl": "1", "nesting": "1"}, Nets: map[int]map[string]string{0: {"bridge": "vmbr0", "ip": "dhcp"}},
		Config: map[string]string{"cores": "2", "memory": "1024"}, Description: "- a list\n<!-- felhom-agent/1 debian vmid=9000 owner=" + b.node + " born=2026-11-22T17:02:09Z -->"}
}

// The life of a golden on the simulated node: created with keyctl, sealed once it is stopped, and never somebody else's.
func TestGoldenOnTheSimulatedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		began := time.Now()
		var lines []string
		op := privileged.CreateGoldenLXC(b.node, b.golden())
		if _, err := b.Do(t.Context(), op, func(l string) { lines = append(lines, l) }); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) == 0 || len(lines) == 0 {
			t.Errorf("it took %v and printed %q", time.Since(began), lines)
		}
		config := b.shell("pct config 9000")
		for _, want := range []string{"features: keyctl=1,nesting=1", "unprivileged: 1", "hostname: debian", "cores: 2", "memory: 1024", "description: - a list%0A<!-- felhom-agent/1 debian vmid=9000"} {
			if !strings.Contains(config, want+"\n") && !strings.Contains(config, want) {
				t.Errorf("no %q in\n%s", want, config)
			}
		}
		b.refused(op, "exists")

		seal := privileged.SealGolden(b.node, privileged.SealSpec{VMID: 9000, Object: "debian", Owner: b.node})
		b.shell("pct start 9000")
		if r := b.refused(seal, "pct stop 9000"); !r.Busy {
			t.Error("a container that runs is refused for good")
		}
		b.shell("pct stop 9000")
		b.shell("pct mount 9000")
		if r := b.refused(seal, "the container is locked (mounted)"); !r.Busy {
			t.Error("a container that is locked is refused for good")
		}
		b.shell("pct unmount 9000")
		if r := b.must(seal); len(r.Notes) == 0 {
			t.Error("it does not say what it did")
		}
		once := b.sim.Data()
		b.must(seal)
		if twice := b.sim.Data(); twice != once {
			t.Errorf("sealed twice:\n%s\nonce:\n%s", twice, once)
		}
		if config := b.shell("pct config 9000"); strings.Contains(config, "lock:") {
			t.Errorf("left locked:\n%s", config)
		}
		b.refused(privileged.SealGolden(b.node, privileged.SealSpec{VMID: 101, Object: "dns", Owner: b.node}), "its ownership marker is missing")
		b.refused(privileged.SealGolden(b.node, privileged.SealSpec{VMID: 9000, Object: "debian", Owner: "another"}), "its ownership marker names debian")
	})
}

// A deadline ends the answer; the operation is seen as running, and asking again brings its end.
func TestDeadlineInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		op := privileged.CreateGoldenLXC(b.node, b.golden())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		r, err := b.Do(ctx, op, nil)
		if err != nil || r.StillRunning == nil || !r.StillRunning.Equal(began) || time.Since(began) != time.Second {
			t.Fatalf("%+v %v after %v", r, err, time.Since(began))
		}
		list, err := privileged.Running(t.Context(), b, b.node)
		if err != nil || len(list) != 1 || list[0].Queue != "lxc/9000" || !list[0].Since.Equal(began) {
			t.Errorf("%+v %v", list, err)
		}
		if r := b.must(op); r.StillRunning != nil {
			t.Errorf("%+v", r)
		}
		b.Wait()
		if list, _ := privileged.Running(t.Context(), b, b.node); len(list) != 0 {
			t.Errorf("%+v", list)
		}
	})
}

// A disk is mounted with its line, pulled, plugged, found again, and taken away; the fstab is in the end what it was.
func TestDiskOnTheSimulatedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		table := b.shell("cat /etc/fstab")
		spec := privileged.MountSpec{Name: "media", UUID: media, Path: "/mnt/usb/media", Options: []string{"noatime"}, Fstab: true}
		mount := privileged.MountUSBByUUID(b.node, spec)

		disks, err := privileged.Disks(t.Context(), b, b.node)
		if err != nil {
			t.Fatal(err)
		}
		var seen []string
		for _, d := range disks {
			seen = append(seen, d.Device+" "+d.Label+" "+d.FSType+" "+d.Parent+" "+strings.Join(d.Mounted, ","))
			if d.USB != (d.Label != "") || d.Size == 0 {
				t.Errorf("%+v", d)
			}
		}
		if got, want := strings.Join(seen, "\n"), "/dev/sda2  ext4 /dev/sda /\n/dev/sdb1 blue ext4 /dev/sdb \n/dev/sdc1 media ext4 /dev/sdc "; got != want {
			t.Errorf("disks\n%s\nwant\n%s", got, want)
		}

		b.must(mount)
		if got, want := b.shell("cat /etc/fstab"), table+privileged.FstabEntry(spec)+"\n"; got != want {
			t.Errorf("fstab\n%s\nwant\n%s", got, want)
		}
		m := b.mountAt(spec.Path)
		if !m.Mounted || m.UUID != media || m.Label != "media" || m.Gone || m.Fstab == nil || m.Fstab.Text != privileged.FstabEntry(spec) {
			t.Errorf("%+v", m)
		}
		world := b.sim.String()
		b.must(mount)
		if again := b.sim.String(); again != world {
			t.Errorf("mounted twice:\n%s", again)
		}
		b.refused(privileged.MountUSBByUUID(b.node, privileged.MountSpec{Name: "x", UUID: blue, Path: spec.Path}), "belongs to another line of /etc/fstab")
		b.refused(privileged.MountUSBByUUID(b.node, privileged.MountSpec{Name: "x", UUID: "a7d0c1f2-3b64-4f0e-9c1d-5e8b7a6f4d21", Path: "/mnt/x"}), "is mounted at /")

		if f, err := privileged.FolderInfo(t.Context(), b, b.node, spec.Path, "library"); err != nil || !f.IsDir {
			t.Errorf("%+v %v", f, err)
		}
		if f, err := privileged.FolderInfo(t.Context(), b, b.node, spec.Path, "none"); err != nil || f.Exists {
			t.Errorf("%+v %v", f, err)
		}
		if err := privileged.SyncMount(t.Context(), b, b.node, spec.Path); err != nil {
			t.Error(err)
		}

		b.sim.Unplug(media)
		if m := b.mountAt(spec.Path); m.Mounted || m.Fstab == nil { // systemd unmounts what has a line
			t.Errorf("pulled: %+v", m)
		}
		b.refused(mount, "no connected disk has this UUID")
		b.sim.Plug(media)
		b.must(mount)
		unlisted := spec
		unlisted.Fstab = false
		b.must(privileged.MountUSBByUUID(b.node, unlisted))
		b.sim.Unplug(media)
		if m := b.mountAt(spec.Path); !m.Mounted || !m.Gone || m.UUID != "" {
			t.Errorf("pulled, without a line: %+v", m)
		}
		b.sim.Plug(media)
		b.must(mount)
		if m := b.mountAt(spec.Path); !m.Mounted || m.Gone || m.UUID != media {
			t.Errorf("plugged again: %+v", m)
		}

		b.must(privileged.UnmountUSB(b.node, privileged.UnmountSpec{Name: "media", UUID: media, Path: spec.Path, DropFstab: true}))
		if got := b.shell("cat /etc/fstab"); got != table {
			t.Errorf("fstab afterwards\n%s", got)
		}
		if m := b.mountAt(spec.Path); m.Mounted || m.Fstab != nil {
			t.Errorf("%+v", m)
		}
		if _, err := privileged.FolderInfo(t.Context(), b, b.node, spec.Path, "library"); err == nil {
			t.Error("a folder of a disk that is not mounted")
		}
	})
}

// A folder of a disk in a guest of ours: bound, seen in the guest's own mount table, in the way of an unmount, and taken out again.
func TestBindOnTheSimulatedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.must(privileged.CreateGoldenLXC(b.node, b.golden()))
		spec := privileged.MountSpec{Name: "media", UUID: media, Path: "/mnt/usb/media", Fstab: true}
		bind := privileged.BindSpec{VMID: 9000, Object: "debian", Owner: b.node, Index: 0, Source: "/mnt/usb/media/library", Mount: "/mnt/usb/media", Target: "/media", ReadOnly: true}
		b.refused(privileged.BindMount(b.node, bind), "no such directory")
		b.must(privileged.MountUSBByUUID(b.node, spec))
		b.must(privileged.BindMount(b.node, bind))
		if config := b.shell("pct config 9000"); !strings.Contains(config, "mp0: /mnt/usb/media/library,mp=/media,ro=1\n") {
			t.Errorf("%s", config)
		}
		foreign := bind
		foreign.VMID, foreign.Object = 101, "dns"
		b.refused(privileged.BindMount(b.node, foreign), "its ownership marker is missing")

		if mounts, err := privileged.GuestMounts(t.Context(), b, b.node, 9000); err != nil || len(mounts) != 0 {
			t.Errorf("stopped: %+v %v", mounts, err)
		}
		b.shell("pct start 9000")
		host := b.mountAt(spec.Path)
		held := func() (same bool) {
			mounts, err := privileged.GuestMounts(t.Context(), b, b.node, 9000)
			if err != nil {
				t.Fatal(err)
			}
			now := b.mountAt(spec.Path)
			for _, m := range mounts {
				if m.Path == "/media" {
					return m.Major == now.Major && m.Minor == now.Minor && m.Root == "/library"
				}
			}
			t.Errorf("the guest does not have it: %+v", mounts)
			return false
		}
		if !held() || host.UUID != media {
			t.Error("the guest has another device than the host")
		}
		unmount := privileged.UnmountUSB(b.node, privileged.UnmountSpec{Name: "media", UUID: media, Path: spec.Path, DropFstab: true})
		b.refused(unmount, "9000 (debian)")

		// Unmounted by somebody on the host, the disk is still the guest's.
		eject := privileged.UnmountUSB(b.node, privileged.UnmountSpec{Name: "media", UUID: media, Path: spec.Path})
		b.shell("umount /mnt/usb/media")
		if _, err := b.Do(t.Context(), eject, nil); !errors.As(err, new(*privileged.FailedError)) || !strings.Contains(err.Error(), "not safe to remove") {
			t.Errorf("held by a guest alone: %v", err)
		}
		b.refused(privileged.MountUSBByUUID(b.node, spec), "mounted in another mount namespace")
		b.shell("pct stop 9000")
		b.must(privileged.MountUSBByUUID(b.node, spec))
		b.shell("pct start 9000")

		// Pulled and plugged: the guest keeps the dead device.
		b.sim.Unplug(media)
		b.sim.Plug(media)
		b.must(privileged.MountUSBByUUID(b.node, spec))
		if held() {
			t.Error("the guest sees the disk that was plugged in anew")
		}
		b.shell("pct stop 9000")
		b.shell("pct start 9000")
		if !held() {
			t.Error("the guest was started anew and still has the old device")
		}
		b.shell("pct stop 9000")
		b.must(privileged.Unbind(b.node, privileged.UnbindSpec{VMID: 9000, Object: "debian", Owner: b.node, Index: 0, Source: bind.Source}))
		b.must(privileged.PassDevice(b.node, privileged.DeviceSpec{VMID: 9000, Object: "debian", Owner: b.node, Index: 0, Path: "/dev/net/tun", Mode: "0666"}))
		if config := b.shell("pct config 9000"); strings.Contains(config, "mp0:") || !strings.Contains(config, "dev0: /dev/net/tun,mode=0666\n") {
			t.Errorf("%s", config)
		}
		b.refused(privileged.PassDevice(b.node, privileged.DeviceSpec{VMID: 9000, Object: "debian", Owner: b.node, Index: 1, Path: "/dev/dri/renderD128"}), "no such device")
		b.must(privileged.RemoveDevice(b.node, privileged.RemoveDeviceSpec{VMID: 9000, Object: "debian", Owner: b.node, Index: 0, Path: "/dev/net/tun"}))
		b.must(unmount)
		b.must(eject)
	})
}

func TestHealthOfTheSimulatedNode(t *testing.T) {
	b := newBench(t)
	r, err := privileged.SMART(t.Context(), b, b.node, "/dev/sda")
	if err != nil || r.Health != privileged.HealthPassed || r.Device != "/dev/sda" {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := privileged.SMART(t.Context(), b, b.node, "/dev/sdz"); !errors.As(err, new(*privileged.RefusedError)) {
		t.Errorf("a disk that is not there: %v", err)
	}
	list, err := privileged.Sensors(t.Context(), b, b.node)
	if err != nil || len(list) == 0 || list[0].Unit == "" {
		t.Errorf("%+v %v", list, err)
	}
}
