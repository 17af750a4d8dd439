package recovery

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// What a rehearsal takes to be in an archive is what its notes and its log say; a log that says something else than vzdump does adds nothing.
func TestInside(t *testing.T) {
	want := &spec.Desired{Guests: map[string]*spec.Guest{"dns": {Is: "ns1"}}}
	const notes = "felhom-agent/1 backups/daily vmid=101 owner=pve1 born=2026-11-22T17:02:09Z begun=2026-11-22T17:02:10Z guest=dns host=pve1 size=387558505"
	const marked = "#<!-- felhom-agent/1 dns vmid=101 owner=pve1 born=2026-11-22T17:02:09Z -->\narch: amd64\nhostname: "
	tests := []struct {
		name, notes, log string
		begin            string
		volumes          []string // of the config, besides rootfs
	}{
		{"nobody says anything", "", "", "arch: amd64\nhostname: ct101\n", nil},
		{"the notes name the object", notes, "", marked + "ns1\n", nil},
		{"the log has the hostname", notes, "2026-11-22 18:02:10 INFO: CT Name: resolver\n", marked + "resolver\n", nil},
		{"a job of PVE made it", "dns", "INFO: CT Name: dns\n", "arch: amd64\nhostname: dns\n", nil},
		{"two markers are none", notes + "\n" + notes, "", "arch: amd64\nhostname: ct101\n", nil},
		{"volumes", notes, "INFO: including mount point rootfs ('/') in backup\r\nINFO: including mount point mp2 ('/data') in backup\r\nINFO: excluding bind mount point mp0 ('/media') from backup (not a volume)\r\n",
			marked + "ns1\n", []string{"mp2: local-lvm:vm-101-disk-1,mp=/data,backup=1,size=8G"}},
		{"hostile", notes, "INFO: CT Name: a b\nINFO: CT Name: -x\nINFO: including mount point mp0 ('/x,size=1T') in backup\nINFO: including mount point unprivileged ('/') in backup\n",
			marked + "ns1\n", nil},
	}
	vm, _ := proxmox.ParseArchive("disk:backup/vzdump-qemu-105-2026_11_22-18_02_10.vma.zst")
	for log, want := range map[string]string{
		"": "name: vm105\nmemory: 512\nostype: l26\nscsi0: local-lvm:vm-105-disk-0,size=8G\n",
		"INFO: VM Name: hass\nINFO: include disk 'scsi0' 'local-lvm:vm-105-disk-1' 32G\r\nINFO: include disk 'efidisk0' 'local-lvm:vm-105-disk-0' 4M\nINFO: exclude disk 'scsi1' 'x:vm-105-disk-2' (backup=no)\n": "name: hass\nmemory: 512\nostype: l26\nscsi0: local-lvm:vm-105-disk-0,size=32G\nefidisk0: local-lvm:vm-105-disk-1,size=4M\n",
		"INFO: VM Name: a b\nINFO: include disk 'scsi0' 'x:y' 32G,args=x\nINFO: include disk 'args' 'x:y' 32G\n":                                                                                                  "name: vm105\nmemory: 512\nostype: l26\nscsi0: local-lvm:vm-105-disk-0,size=8G\n",
	} {
		if got := inside(vm, "", log, &spec.Desired{}); got != want {
			t.Errorf("of %q it is\n%s\nwant\n%s", log, got, want)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := proxmox.ParseArchive("disk:backup/vzdump-lxc-101-2026_11_22-18_02_10.tar.zst")
			got := inside(a, tt.notes, tt.log, want)
			if !strings.HasPrefix(got, tt.begin) {
				t.Errorf("it begins otherwise than\n%s\n%s", tt.begin, got)
			}
			_, volumes, _ := strings.Cut(got, "unprivileged: 1\n")
			if want := strings.Join(append(tt.volumes, ""), "\n"); volumes != want {
				t.Errorf("volumes\n%swant\n%s", volumes, want)
			}
		})
	}
}

// A clock is a simulated node that keeps the time only.
type clock struct {
	now  time.Time
	made []string
}

func (c *clock) Now() time.Time          { return c.now }
func (c *clock) Advance(d time.Duration) { c.now = c.now.Add(d) }
func (c *clock) AddArchive(_, file, _, _ string, _ int, _, _ int64) {
	c.made = append(c.made, file)
}

// An archive of a node east of the simulated one is not of a time to come; one that is dated years ahead stays so, since the plan has to name it.
func TestArchivesFromTheEast(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "dump"), 0o755)
	for _, name := range []string{"vzdump-lxc-101-2026_11_23-02_30_00.tar.zst", "vzdump-lxc-101-2031_01_01-02_30_00.tar.zst", "vzdump-qemu-102-2026_11_23-02_30_00.vma.zst", "other.txt"} {
		os.WriteFile(filepath.Join(dir, "dump", name), nil, 0o600)
	}
	disk, err := kit.OpenDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	c := &clock{now: time.Date(2026, 11, 22, 18, 40, 0, 0, time.UTC)}
	if err := addArchives(c, disk, "uuid", &spec.Desired{}); err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 11, 23, 2, 31, 0, 0, time.UTC); !c.now.Equal(want) {
		t.Errorf("the clock says %v, want %v", c.now, want)
	}
	if len(c.made) != 3 {
		t.Errorf("archives: %v", c.made)
	}
}
