package reconcile

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

const goldenAndWeb = `node: pve1
mounts:
  backup: {uuid: ` + blueDisk + `, path: /mnt/usb/backup, storage: usb-backup}
golden:
  alpine:
    vmid: 9001
    template: local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz
    rootfs: {storage: local-lvm, size: 2G}
    config: {memory: 256, tags: [image]}
    publish: {storage: local, revision: REVISION}
restores:
  web: {vmid: 201, from: {golden: alpine}, storage: local-lvm TAGS}
`

func goldenWeb(revision, tags string) string {
	return strings.NewReplacer("REVISION", revision, "TAGS", tags).Replace(goldenAndWeb)
}

// The tags of a golden image are its own: a guest that is made from it has those that it
// declares, and none where it declares none.
func TestTheTagsOfAGoldenImageStayItsOwn(t *testing.T) {
	for tags, want := range map[string]string{"": "", ", config: {tags: [shop]}": "shop"} {
		house := desired(t, goldenWeb("1", tags))
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			if r := b.once(house); r.ExitCode() != 0 {
				t.Fatalf("%s\n%s", b.events, b.closing(r))
			}
			config, err := b.client.Read().GuestConfig(t.Context(), "pve1", 201)
			must(t, err)
			if got := strings.Join(config.Tags(), " "); got != want {
				t.Errorf("it has the tags %q, want %q", got, want)
			}
			if plan, text := b.plan(house); plan.ExitCode() != 0 {
				t.Errorf("the plan is not empty:\n%s", text)
			}
		})
	}
}

// A revision below that of the golden image's marker is a mistake, or an older YAML: it is
// blocked, and nothing is written.
func TestALowerRevisionIsBlocked(t *testing.T) {
	three, two := desired(t, goldenWeb("3", "")), desired(t, goldenWeb("2", ""))
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		if r := b.once(three); r.ExitCode() != 0 {
			t.Fatalf("%s\n%s", b.events, b.closing(r))
		}
		before := b.sim.String()
		report := b.once(two)
		if text := b.closing(report); !strings.Contains(text, "revision 2 is declared, and 9001 has the higher revision 3: to publish what it is now: revision: 4") {
			t.Errorf("it says\n%s", text)
		}
		if b.sim.String() != before {
			t.Errorf("the node has changed:\n%s", b.sim)
		}
	})
}

// A task that ended while no agent ran took as long as it took, whenever it is adopted.
func TestAnAdoptedTaskTookAsLongAsItTook(t *testing.T) {
	want := desired(t, "node: pve1\nguests:\n  dns: {vmid: 101}\nsnapshots: {before: {guest: dns, taken: 2026-11-22}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		if r := b.once(desired(t, "node: pve1\nguests:\n  dns: {vmid: 101}\n")); r.ExitCode() != 0 {
			t.Fatal(b.closing(r))
		}
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			for !strings.Contains(b.sim.String(), "vzsnapshot") {
				time.Sleep(10 * time.Millisecond)
			}
			stop() // as kill -9 would
		}()
		b.agent.Once(ctx, want)
		time.Sleep(10 * time.Minute)
		again := newBench(t, b.sim, func(o *Options) { o.Journal = b.journal })
		if r := again.once(want); r.ExitCode() != 0 {
			t.Fatal(again.closing(r))
		}
		for _, e := range b.journal.History(HistoryFilter{Objects: []string{"snapshots/before"}}) {
			if e.Verb == "snapshot" && (e.Result != "ok" || e.Elapsed > time.Minute) {
				t.Errorf("it is %s after %s\n%s", e.Result, e.Elapsed, again.events)
			}
		}
		if n := len(b.journal.History(HistoryFilter{Objects: []string{"snapshots/before"}})); n != 1 {
			t.Errorf("%d actions", n)
		}
	})
}

// A snapshot that PVE cannot take names the volume that keeps it from that.
func TestASnapshotsRefusalNamesTheVolume(t *testing.T) {
	want := desired(t, "node: pve1\nguests:\n  dns: {vmid: 101}\nsnapshots: {before: {guest: dns, taken: 2026-11-22}}\n")
	for mount, says := range map[string]string{
		"mp3: /srv/data,mp=/data":                  "mp3 /data is a folder or device of the host (/srv/data)",
		"mp0: files:101/vm-101-disk-1.raw,mp=/old": "mp0 /old (files:101/vm-101-disk-1.raw) is on files, a storage of type dir without snapshots",
	} {
		synctest.Test(t, func(t *testing.T) {
			sim := reconciletest.Reborn(t, pvesim.New(), "\n      arch: amd64\n", "\n      arch: amd64\n      "+mount+"\n")
			sim = reconciletest.Reborn(t, sim, "\n  - id: local-lvm\n", "\n  - id: files\n    type: dir\n    path: /srv/files\n    content:\n      - rootdir\n      - images\n  - id: local-lvm\n")
			b := newBench(t, sim)
			if text := b.closing(b.once(want)); !strings.Contains(text, "guests/dns cannot be snapshotted: "+says) {
				t.Errorf("it says\n%s", text)
			}
		})
	}
}

// A change that waits for the next start and is not declared is shown, for a restart for
// another reason brings it along.
func TestAPendingChangeThatIsNotDeclaredIsShown(t *testing.T) {
	want := desired(t, "node: pve1\nguests:\n  dns: {vmid: 101, config: {memory: 512MiB}, state: running}\n")
	for _, drift := range []string{"report", "heal"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			b.agent.O.Drift = spec.Drift(drift)
			b.once(want)
			b.as("PUT", "/nodes/pve1/lxc/101/config", "nameserver=9.9.9.9", "env=PASSWORD=geheim")
			_, text := b.plan(want)
			if !strings.Contains(text, "pending, in force after the next start: nameserver (unset) -> 9.9.9.9 (not declared)") || strings.Contains(text, "geheim") {
				t.Errorf("%s: the plan says\n%s", drift, text)
			}
		})
	}
}

// A guest that has drifted is not listed as declared.
func TestADriftedGuestIsNotListedAsDeclared(t *testing.T) {
	want := desired(t, "node: pve1\nguests:\n  dns: {vmid: 101, config: {memory: 512MiB}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.once(want)
		b.as("PUT", "/nodes/pve1/lxc/101/config", "memory=1024")
		plan, _ := b.plan(want)
		if text := reconciletest.PlanText(plan); strings.Contains(text, "as declared\n") && strings.Contains(text, "= guests/dns") || !strings.Contains(text, "drift: memory") || !strings.Contains(text, "0 objects are as declared") {
			t.Errorf("the plan says\n%s", text)
		}
	})
}
