package privileged

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kitAt is a kit for the disk that the scratch host has mounted.
func kitAt(t *testing.T, at time.Time, files map[string][]byte) Op {
	t.Helper()
	op, err := KeepKit(testNode, KitSpec{Name: "media", Path: "/mnt/usb/media", Mounted: true, Time: at, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

var kitHour = time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)

// Root adds what only root reads and the list of hashes, and the newest five stay.
func TestKitOnADisk(t *testing.T) {
	box := newBox(t)
	box.write("/etc/felhom-agent/fence.json", `{"roots": ["/mnt"]}`, 0o644)
	box.write("/etc/pve/firewall/cluster.fw", "[OPTIONS]\nenable: 1\n", 0o640)
	box.write("/etc/pve/user.cfg", "user:anna@pve:1:0::::::\npool:homes::101:local:\n", 0o640)
	box.write("/etc/pve/jobs.cfg", "vzdump: backup-1\n", 0o640)
	box.write(PackagePath+"/felhom-agent_0.1.0_amd64.deb", "a package", 0o644)
	for i := range 7 {
		text := fmt.Appendf(nil, "guests: {} # %d\n", i)
		if _, err := box.Do(t.Context(), kitAt(t, kitHour.Add(time.Duration(i)*time.Minute), map[string][]byte{"desired/home.yaml": text, "kit.json": []byte("{}")}), nil); err != nil {
			t.Fatal(err)
		}
	}
	base := filepath.Join(box.root, "mnt/usb/media", KitFolder, testNode)
	names, err := filepath.Glob(base + "/*Z")
	if err != nil || len(names) != 5 || filepath.Base(names[0]) != "20261122T180200Z" {
		t.Fatalf("%q, %v", names, err)
	}
	if out, err := exec.Command("sh", "-c", `cd "$1" && find . -type f | sort && sha256sum -c SHA256SUMS`, "sh", names[4]).CombinedOutput(); err != nil ||
		!strings.HasPrefix(string(out), "./SHA256SUMS\n./desired/home.yaml\n./fence.json\n./host/firewall/cluster.fw\n./host/jobs.cfg\n./host/pools.cfg\n./kit.json\n") {
		t.Errorf("%v\n%s", err, out)
	}
	if pools, _ := os.ReadFile(names[4] + "/host/pools.cfg"); string(pools) != "pool:homes::101:local:\n" {
		t.Errorf("pools: %q", pools)
	}
	if text, err := os.ReadFile(base + "/felhom-agent_0.1.0_amd64.deb"); err != nil || string(text) != "a package" {
		t.Errorf("the package beside the kits: %q, %v", text, err)
	}
}

// What a disk holds leads nothing out of it, and what is not a kit stays.
func TestKitOnAnOddDisk(t *testing.T) {
	files := map[string][]byte{"kit.json": []byte("{}")}
	for name, set := range map[string]struct{ program, refused string }{
		"a link in place of the folder": {`ln -s /etc felhom-recovery`, "not a folder"},
		"a link to a folder outside":    {`mkdir -p felhom-recovery && ln -s ../../../../outside felhom-recovery/` + testNode, "not a folder"},
		"a file in place of the folder": {`mkdir felhom-recovery && touch felhom-recovery/` + testNode, "not a folder"},
		"half a kit that links outside": {`mkdir -p felhom-recovery/` + testNode + ` && ln -s ../../../../outside felhom-recovery/` + testNode + `/.20261122T175900Z && touch felhom-recovery/` + testNode + `/mine`, ""},
	} {
		box := newBox(t)
		os.MkdirAll(box.root+"/outside", 0o755)
		disk := box.root + "/mnt/usb/media"
		if out, err := exec.Command("sh", "-c", `cd "$1" && `+set.program, "sh", disk).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, err := box.Do(t.Context(), kitAt(t, kitHour, files), nil)
		if set.refused == "" && err != nil || set.refused != "" && (err == nil || !strings.Contains(err.Error(), set.refused)) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(box.root + "/outside"); len(left) > 0 {
			t.Errorf("%s: %v was written outside", name, left)
		}
		if _, err := os.Lstat(disk + "/felhom-recovery/" + testNode + "/mine"); set.refused == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A kit that is killed while it is written leaves the one before as it was, and nothing that looks like a kit.
func TestKitThatIsCutOff(t *testing.T) {
	box := newBox(t)
	if _, err := box.Do(t.Context(), kitAt(t, kitHour, map[string][]byte{"kit.json": []byte("{}")}), nil); err != nil {
		t.Fatal(err)
	}
	// A name that no file system takes ends it in the middle.
	files := map[string][]byte{"kit.json": []byte("{}"), strings.Repeat("x", 300): nil}
	if err := NewMachine(box.root).KeepKit("/mnt/usb/media", testNode, "20261122T180500Z", files, 5); err == nil {
		t.Fatal("it was written")
	}
	names, _ := filepath.Glob(filepath.Join(box.root, "mnt/usb/media", KitFolder, testNode, "*"))
	hidden, _ := filepath.Glob(filepath.Join(box.root, "mnt/usb/media", KitFolder, testNode, ".2*"))
	if len(names) != 1 || len(hidden) != 0 {
		t.Errorf("left: %q %q", names, hidden)
	}
}

// Nothing but the files of a kit can be written, nowhere but below an allowed root, and never below a disk that is not there.
func TestKitsThatAreRefused(t *testing.T) {
	box := newBox(t)
	box.write("/proc/1/mountinfo", "22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n30 22 8:33 / /mnt/usb/media ro - ext4 /dev/sdc1 ro\n", 0o644)
	for name, c := range map[string]struct {
		spec KitSpec
		want string
	}{
		"a path upwards":        {KitSpec{Path: "/mnt/usb/media", Files: map[string][]byte{"desired/../../x.yaml": nil}}, "no file"},
		"another file":          {KitSpec{Path: "/mnt/usb/media", Files: map[string][]byte{"SHA256SUMS": nil}}, "no file"},
		"a hidden file":         {KitSpec{Path: "/mnt/usb/media", Files: map[string][]byte{"desired/.x.yaml": nil}}, "no file"},
		"root's own file":       {KitSpec{Path: "/mnt/usb/media", Files: map[string][]byte{"fence.json": nil}}, "no file"},
		"a system folder":       {KitSpec{Path: "/etc/cron.d", Files: map[string][]byte{"kit.json": nil}}, "directory of the system"},
		"a storage of PVE":      {KitSpec{Path: "/mnt/pve/nas", Files: map[string][]byte{"kit.json": nil}}, "root has not opened this folder"},
		"nothing mounted":       {KitSpec{Path: "/mnt/other", Mounted: true, Files: map[string][]byte{"kit.json": nil}}, "nothing is mounted"},
		"mounted read-only":     {KitSpec{Path: "/mnt/usb/media", Mounted: true, Files: map[string][]byte{"kit.json": nil}}, "read-only"},
		"a folder on read-only": {KitSpec{Path: "/mnt/usb/media/library", Files: map[string][]byte{"kit.json": nil}}, "read-only"},
		"no files":              {KitSpec{Path: "/mnt/usb/media", Files: map[string][]byte{}}, "0 files"},
	} {
		c.spec.Name, c.spec.Time = "media", kitHour
		op, err := KeepKit(testNode, c.spec)
		if err != nil {
			t.Fatal(err)
		}
		_, err = box.Do(t.Context(), op, nil)
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(box.root + "/mnt/*/*/" + KitFolder); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if _, err := KeepKit(testNode, KitSpec{Name: "x", Path: "/mnt/x", Time: kitHour, Files: map[string][]byte{"desired/a.yaml": noise(400 << 10)}}); err == nil || !strings.Contains(err.Error(), "compressed") {
		t.Errorf("a desired state that does not fit: %v", err)
	}
	if op, err := KeepKit(testNode, KitSpec{Name: "x", Path: "/mnt/x", Time: kitHour, Files: map[string][]byte{"desired/a.yaml": bytes.Repeat([]byte("guests: {}\n"), 1<<20)}}); err != nil || len(op.Args["content"]) > maxContent {
		t.Errorf("a large one that compresses well: %v", err)
	}
}

// Root names a folder for kits alone: that of PVE's storage "local", or where PVE mounts a share. It opens nothing but that, and no folder of the system.
func TestFoldersForKitsAlone(t *testing.T) {
	box := newBox(t)
	box.write("/proc/1/mountinfo", "22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n31 22 0:50 / /mnt/pve/nas rw - nfs4 nas:/export rw\n", 0o644)
	for _, dir := range []string{"/var/lib/vz/backups", "/mnt/pve/nas/deep", "/mnt/pve/off", "/tank/backup", "/etc/cron.d", "/var/lib/vzother"} {
		os.MkdirAll(box.root+dir, 0o755)
	}
	keep := func(at string, mounted bool) error {
		op, err := KeepKit(testNode, KitSpec{Name: "x", Path: at, Mounted: mounted, Time: kitHour, Files: map[string][]byte{"kit.json": []byte("{}")}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = box.Do(t.Context(), op, nil)
		return err
	}
	places := []string{"/var/lib/vz", "/mnt/pve/nas", "/tank/backup"}
	for _, at := range places {
		err := keep(at, false)
		if err == nil || !strings.HasSuffix(err.Error(), `add this to /etc/felhom-agent/fence.json of this host: "kits": ["`+at+`"]`) {
			t.Errorf("%s by the default: %v", at, err)
		}
		if _, err := os.Lstat(box.root + at + "/" + KitFolder); err == nil {
			t.Errorf("%s was written to", at)
		}
	}
	box.write(PolicyPath, `{"kits": ["/var/lib/vz", "/mnt/pve/nas", "/mnt/pve/off", "/tank/backup", "/etc/cron.d", "/var/lib/vzother", "/", "/var/lib/../../etc/cron.d"]}`, 0o644)
	for _, at := range places {
		if err := keep(at, strings.HasPrefix(at, "/mnt")); err != nil {
			t.Errorf("%s: %v", at, err)
		}
		if names, _ := filepath.Glob(box.root + at + "/" + KitFolder + "/" + testNode + "/2*/kit.json"); len(names) != 1 {
			t.Errorf("%s has the kits %q", at, names)
		}
	}
	for at, want := range map[string]string{"/etc/cron.d": "directory of the system", "/var/lib/vzother": "directory of the system", "/var/lib/vz/backups": "root has not opened",
		"/mnt/pve/nas/deep": "root has not opened", "/mnt/pve/off": "nothing is mounted"} {
		if err := keep(at, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", at, err)
		}
	}
	for _, at := range places { // a folder for kits is no folder for mounts
		op := MountUSBByUUID(testNode, MountSpec{Name: "x", UUID: usb.UUID, Path: at})
		if _, err := box.Do(t.Context(), op, nil); err == nil {
			t.Errorf("a disk was mounted at %s", at)
		}
	}
}

// noise is text that compresses badly, the same each time.
func noise(n int) []byte {
	text, x := make([]byte, n), uint32(1)
	for i := range text {
		x = x*1664525 + 1013904223
		text[i] = byte(x >> 24)
	}
	return text
}

// BenchmarkKeepKit writes a kit of the usual size to a disk, through the root helper's own checks.
func BenchmarkKeepKit(b *testing.B) {
	box := newBox(b)
	files := map[string][]byte{"README.txt": make([]byte, 1000), "kit.json": make([]byte, 4000), "agent.yaml": make([]byte, 300), "state.json": make([]byte, 2000)}
	for i := range 6 {
		files[fmt.Sprintf("desired/%d.yaml", i)] = make([]byte, 3000)
	}
	at := kitHour
	for b.Loop() {
		at = at.Add(time.Minute)
		op, err := KeepKit(testNode, KitSpec{Name: "media", Path: "/mnt/usb/media", Mounted: true, Time: at, Files: files})
		if err == nil {
			_, err = box.Do(b.Context(), op, nil)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
