package privileged_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// counting is a host that counts the devices which blkid reads.
type counting struct {
	*pvesim.Host
	read *[]string
	mu   *sync.Mutex // disks are read side by side
}

func (c counting) Run(ctx context.Context, program string, args []string, progress func(string)) ([]byte, int, error) {
	if program == "/usr/sbin/blkid" {
		c.mu.Lock()
		*c.read = append(*c.read, args[len(args)-1])
		c.mu.Unlock()
	}
	return c.Host.Run(ctx, program, args, progress)
}

// remembering is a simulated node whose root helper remembers disks in a file, as in production.
func remembering(t *testing.T) (b bench, read *[]string, file string) {
	b, read = newBench(t), &[]string{}
	b.Host = counting{b.sim.Host(b.node), read, &sync.Mutex{}}
	b.Dir = t.TempDir()
	return b, read, filepath.Join(b.Dir, "devices.known")
}

func (b bench) disksNow() (seen []string) {
	b.t.Helper()
	disks, err := privileged.Disks(b.t.Context(), b, b.node)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, d := range disks {
		seen = append(seen, d.Device+" "+d.UUID+" "+d.Label)
	}
	return seen
}

// A disk that is not mounted is read once, and again when another one may be there: a sleeping disk is not woken by every refresh.
func TestADiskIsReadAgainWhenItMayBeAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, read, _ := remembering(t)
		first := b.disksNow()
		*read = nil
		if again := b.disksNow(); !slices.Equal(first, again) || slices.Contains(*read, "/dev/sdb1") || slices.Contains(*read, "/dev/sdc1") {
			t.Errorf("read again: %v\n%v\n%v", *read, first, again)
		}
		b.sim.Unplug(media)
		if now := strings.Join(b.disksNow(), "\n"); strings.Contains(now, media) {
			t.Errorf("pulled: %s", now)
		}
		*read = nil
		b.sim.Plug(media) // under whatever name
		now := b.disksNow()
		i := slices.IndexFunc(now, func(s string) bool { return strings.Contains(s, media) })
		if i < 0 || !slices.Contains(*read, strings.Fields(now[i])[0]) || slices.Contains(*read, "/dev/sdb1") {
			t.Errorf("connected again, read: %v\n%v", *read, now)
		}
	})
}

// What is remembered is in a file, and decides nothing: whatever it says, no other disk is mounted than the one that is there, and a file that makes no
// sense is read over.
func TestWhatIsRememberedOfDisksDecidesNothing(t *testing.T) {
	spec := privileged.MountSpec{Name: "media", UUID: media, Path: "/mnt/usb/media", Fstab: true}
	exchanged := func(known map[string]map[string]any) { // each names the other's file system
		known["/dev/sdb1"]["uuid"], known["/dev/sdc1"]["uuid"] = known["/dev/sdc1"]["uuid"], known["/dev/sdb1"]["uuid"]
	}
	for name, change := range map[string]func(map[string]map[string]any){
		"the disks exchanged": exchanged,
		"the disk is swap":    func(known map[string]map[string]any) { known["/dev/sdc1"]["fstype"] = "swap" },
		"the disk is nothing": func(known map[string]map[string]any) {
			known["/dev/sdc1"] = map[string]any{"print": known["/dev/sdc1"]["print"]}
		},
		"the disk is ambivalent": func(known map[string]map[string]any) { known["/dev/sdc1"]["kinds"] = []string{"ext4", "\x1b[2J"} },
		"a disk that is not":     func(known map[string]map[string]any) { known["/dev/sdq1"] = known["/dev/sdc1"] },
		"a copy of it":           func(known map[string]map[string]any) { known["/dev/sdb1"]["uuid"] = media },
		"a hostile label":        func(known map[string]map[string]any) { known["/dev/sdb1"]["label"] = "\x1b]0;x\a\n" },
	} {
		synctest.Test(t, func(t *testing.T) {
			b, _, file := remembering(t)
			b.disksNow()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			known := map[string]map[string]any{}
			if err := json.Unmarshal(data, &known); err != nil || known["/dev/sdb1"]["uuid"] != blue || known["/dev/sdc1"]["uuid"] != media {
				t.Fatalf("%v: %s", err, data)
			}
			change(known)
			data, _ = json.Marshal(known)
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			b.must(privileged.MountUSBByUUID(b.node, spec))
			if m := b.mountAt(spec.Path); m.UUID != media || m.Source != "/dev/sdc1" {
				t.Errorf("%s: %+v", name, m)
			}
			b.must(privileged.UnmountUSB(b.node, privileged.UnmountSpec{Name: "media", UUID: media, Path: spec.Path, DropFstab: true}))
		})
	}
}

func TestAMemoryOfDisksThatMakesNoSenseIsReadOver(t *testing.T) {
	for name, put := range map[string]func(file string) error{
		"empty":       func(file string) error { return os.WriteFile(file, nil, 0o600) },
		"cut off":     func(file string) error { return os.WriteFile(file, []byte(`{"/dev/sdb1":{"print":"8:1`), 0o600) },
		"another one": func(file string) error { return os.WriteFile(file, []byte(`[1,2]`), 0o600) },
		"null":        func(file string) error { return os.WriteFile(file, []byte(`null`), 0o600) },
		"other types": func(file string) error {
			return os.WriteFile(file, []byte(`{"/dev/sdb1":{"print":3,"uuid":[]}}`), 0o600)
		},
		"deep": func(file string) error { return os.WriteFile(file, []byte(strings.Repeat("[", 1<<20)), 0o600) },
		"huge": func(file string) error {
			if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
				return err
			}
			return os.Truncate(file, 1<<40) // sparse
		},
		"many": func(file string) error {
			var b strings.Builder
			b.WriteString("{")
			for i := range 200_000 {
				fmt.Fprintf(&b, `"/dev/sd%d":{"print":"x"},`, i)
			}
			return os.WriteFile(file, []byte(b.String()+`"/dev/z":{}}`), 0o600)
		},
		"a folder":        func(file string) error { return os.Mkdir(file, 0o700) },
		"an endless link": func(file string) error { return os.Symlink("/dev/zero", file) },
	} {
		t.Run(name, func(t *testing.T) {
			b, _, file := remembering(t)
			want := b.disksNow()
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := put(file); err != nil {
				t.Fatal(err)
			}
			if got := b.disksNow(); !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}
