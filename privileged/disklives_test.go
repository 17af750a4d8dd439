package privileged_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// twice makes a node on which two disks come under one name, when the other one is disconnected.
func twice(t *testing.T) *pvesim.Sim {
	t.Helper()
	world, err := pvesim.New().Save()
	if err != nil {
		t.Fatal(err)
	}
	sim, err := pvesim.Load(regexp.MustCompile(`(?m)^( *)device: /dev/sdc1\n`).ReplaceAll(world, []byte("${1}device: /dev/sdb1\n${1}absent: true\n")))
	if err != nil {
		t.Fatal(err)
	}
	return sim
}

// Whatever happens to disks, what is remembered of them changes no answer, and a pass reads a device once at most: one that the host has mounted, one
// that is silent, and one that changed.
func TestWhatIsRememberedOfDisksChangesNoAnswer(t *testing.T) {
	for seed := range 50 {
		synctest.Test(t, func(t *testing.T) { disksLive(t, uint64(seed)) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// disksLive is one life of the disks of a node.
func disksLive(t *testing.T, seed uint64) {
	chance := rand.New(rand.NewPCG(seed, 1))
	sim := twice(t)
	b, read, file := remembering(t)
	b.sim, b.node = sim, sim.Node()
	hidden := []string{"", "", "", "diskseq", "/run/udev/watch", "/run/udev", "boot_id"}[chance.IntN(7)]
	mute := hidden != ""
	b.Host = witness{counting: counting{sim.Host(b.node), read, b.Host.(counting).mu}, hidden: hidden}
	plain := &privileged.Local{Host: witness{counting: counting{sim.Host(b.node), new([]string), &sync.Mutex{}}, hidden: hidden}}
	uuids, hangs := []string{blue, media}, map[string]bool{}
	var story []string
	for step := range 25 {
		story = append(story, somethingHappens(t, chance, b, file, &uuids, hangs))
		if mute || slices.ContainsFunc(uuids, func(uuid string) bool { return hangs[uuid] }) || chance.IntN(2) == 0 {
			time.Sleep(nextPass) // else the change is noticed at once
		}
		got, asked := pass(t, b.Local, b.node, read)
		want, _ := pass(t, plain, b.node, new([]string))
		if got != want {
			t.Fatalf("step %d, without %q, after\n%s\ngot  %s\nwant %s", step, hidden, strings.Join(story, "\n"), got, want)
		}
		if len(slices.Compact(slices.Clone(asked))) != len(asked) {
			t.Fatalf("step %d, without %q: a pass read %v", step, hidden, asked)
		}
		if chance.IntN(2) == 0 {
			continue
		}
		time.Sleep(nextPass)
		again, asked := pass(t, b.Local, b.node, read)
		if again != got {
			t.Fatalf("step %d, without %q, after\n%s\nthe next pass: %s\nwant %s", step, hidden, strings.Join(story, "\n"), again, got)
		}
		if rest := slices.DeleteFunc(asked, func(device string) bool { return mute || mountedOrSilent(again, device) }); len(rest) > 0 {
			t.Fatalf("step %d: nothing changed, and a pass read %v after\n%s", step, rest, strings.Join(story, "\n"))
		}
	}
}

// mountedOrSilent says whether an answer has a device as mounted on the host, or as one that does not answer.
func mountedOrSilent(answer, device string) bool {
	var all struct {
		Mounts []privileged.Mount
		Disks  []privileged.Disk
	}
	if json.Unmarshal([]byte(answer), &all) != nil {
		return false
	}
	return slices.ContainsFunc(all.Mounts, func(m privileged.Mount) bool { return m.Mounted && m.Source == device }) ||
		slices.ContainsFunc(all.Disks, func(d privileged.Disk) bool { return d.Silent && d.Device == device })
}

// somethingHappens to a disk, to the host, or to the file.
func somethingHappens(t *testing.T, chance *rand.Rand, b bench, file string, uuids *[]string, hangs map[string]bool) string {
	t.Helper()
	uuid := (*uuids)[chance.IntN(len(*uuids))]
	device := ""
	if disks, err := privileged.Disks(t.Context(), &privileged.Local{Host: b.sim.Host(b.node)}, b.node); err == nil {
		for _, d := range disks {
			if d.UUID == uuid {
				device = d.Device
			}
		}
	}
	mount := privileged.MountSpec{Name: "media", UUID: uuid, Path: "/mnt/usb/media", Fstab: chance.IntN(2) == 0}
	fresh := fmt.Sprintf("%08x-0000-4000-8000-%012x", chance.Uint32(), len(*uuids))
	switch chance.IntN(12) {
	case 0, 1:
		b.sim.Unplug(uuid)
		return "pulled " + uuid
	case 2, 3:
		b.sim.Plug(uuid)
		return "connected " + uuid
	case 4:
		b.sim.AddDisk(fresh, "new")
		*uuids = append(*uuids, fresh)
		return "connected for the first time " + fresh
	case 5, 6:
		if device == "" || hangs[uuid] {
			return "-"
		}
		if chance.IntN(2) == 0 {
			fresh = uuid
		}
		_, err := b.sim.Shell(b.node, "mkfs."+[]string{"ext4", "xfs"}[chance.IntN(2)]+[]string{" -L one", " -L other"}[chance.IntN(2)]+" -U "+fresh+" "+device)
		if err == nil {
			*uuids = append(slices.DeleteFunc(*uuids, func(old string) bool { return old == uuid }), fresh)
		}
		return fmt.Sprintf("a new file system on %s: %v", device, err)
	case 7:
		if device != "" && !hangs[uuid] && b.mountAt(mount.Path).Source != device {
			return "-" // a disk that is known, and that nobody reads, is not seen to hang: that is what lets it sleep
		}
		hangs[uuid] = !hangs[uuid]
		b.sim.Hang(uuid, hangs[uuid])
		return fmt.Sprint(uuid, " hangs: ", hangs[uuid])
	case 8:
		_, err := b.Do(t.Context(), privileged.MountUSBByUUID(b.node, mount), nil)
		return fmt.Sprint("mounted: ", err)
	case 9:
		_, err := b.Do(t.Context(), privileged.UnmountUSB(b.node, privileged.UnmountSpec{Name: "media", UUID: uuid, Path: mount.Path, DropFstab: true}), nil)
		return fmt.Sprint("unmounted: ", err)
	case 10:
		_, err := b.sim.Shell(b.node, "reboot")
		return fmt.Sprint("booted: ", err)
	}
	return "the file " + breakFile(chance, file)
}

// breakFile does something to the file in which disks are remembered.
func breakFile(chance *rand.Rand, file string) string {
	data, err := os.ReadFile(file)
	switch i := chance.IntN(len(data) + 1); {
	case err != nil || chance.IntN(3) == 0:
		return fmt.Sprint("is removed: ", os.Remove(file))
	case chance.IntN(2) == 0 || i == len(data):
		return fmt.Sprint("is cut off: ", os.WriteFile(file, data[:i], 0o600))
	default:
		return fmt.Sprint("has begun again: ", os.WriteFile(file, append(data[:i:i], data...), 0o600))
	}
}
