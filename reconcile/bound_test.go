package reconcile

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// Forty restores on two storages, one at a time on each: the time to converge is
// bounded below by the longer of the two queues, and what the agent adds by noticing
// late and by looking is at most a tenth.
func TestBoundFortyRestores(t *testing.T) {
	load := func(text string) *spec.Desired { return desired(t, text) }
	golden := `node: pve1
mounts:
  backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup, storage: usb-backup}
golden:
  alpine:
    vmid: 9001
    template: local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz
    rootfs: {storage: local-lvm, size: 2G}
    publish: {storage: local, revision: 1}
`
	var all strings.Builder
	all.WriteString(golden + "restores:\n")
	for i := range 40 {
		fmt.Fprintf(&all, "  guest%02d: {vmid: %d, from: {golden: alpine}, storage: %s}\n", i, 201+i, []string{"local-lvm", "second"}[i%2])
	}
	synctest.Test(t, func(t *testing.T) {
		world, err := pvesim.New().Save()
		if err != nil {
			t.Fatal(err)
		}
		sim, err := pvesim.Load(withSecondStorage(t, world))
		if err != nil {
			t.Fatal(err)
		}
		b := newBench(t, sim)
		if r := b.once(load(golden)); r.ExitCode() != 0 {
			t.Fatal(b.closing(r))
		}
		sim.SetDuration(func(task pvesim.TaskInfo) time.Duration { return 30 * time.Second })
		want := load(all.String())
		begin := time.Now()
		if r := b.once(want); r.ExitCode() != 0 {
			t.Fatalf("%s\n%s", b.events, b.closing(r))
		}
		took, bound := time.Since(begin), 20*30*time.Second
		t.Logf("40 restores: %s, lower bound %s, %d requests", took, bound, sim.Requests())
		if took > bound*11/10 {
			t.Errorf("it took %s, more than a tenth above %s", took, bound)
		}
	})
}

// withSecondStorage adds a storage for containers to a world.
func withSecondStorage(t *testing.T, world []byte) []byte {
	const before = "  - id: usb-backup\n"
	if !strings.Contains(string(world), before) {
		t.Fatal("the world has changed")
	}
	return []byte(strings.Replace(string(world), before, `  - id: second
    type: lvmthin
    vg: other
    pool: data
    content: [rootdir, images]
    size: 536870912000
`+before, 1))
}
