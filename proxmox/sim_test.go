package proxmox_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// agent is the client of a simulated node, in virtual time.
func agent(t *testing.T, sim *pvesim.Sim) *proxmox.Client {
	t.Helper()
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	c, err := proxmox.New(proxmox.Options{Transport: sim, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestLifeOfAGuest goes the agent's way through PVE: back up, restore under
// another number, change, snapshot, roll back, delete. The simulated node
// answers like the real one; what it looks like afterwards is compared.
func TestLifeOfAGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		if _, err := sim.Host("pve1").MakeMountPoint("/mnt/usb/backup"); err != nil {
			t.Fatal(err)
		}
		if _, err := sim.Shell("pve1", "mount UUID=6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11 /mnt/usb/backup"); err != nil {
			t.Fatal(err)
		}
		c := agent(t, sim)
		ctx := t.Context()
		act := func(upid proxmox.UPID, err error) []string {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			s, err := c.WaitTask(ctx, upid, proxmox.WaitOptions{})
			if err != nil {
				t.Fatal(err)
			}
			log, err := c.TaskLogTail(ctx, s.UPID, 100)
			if err != nil {
				t.Fatal(err)
			}
			return log
		}

		log := act(c.Vzdump(ctx, "pve1", proxmox.VzdumpSpec{
			VMIDs: []proxmox.VMID{101}, Storage: "usb-backup", Mode: "snapshot", Compress: "zstd",
			NotesTemplate: proxmox.NotesTemplate("first {{guestname}}\nsecond \\ line"),
		}))
		if !slices.ContainsFunc(log, func(l string) bool { return strings.Contains(l, "creating vzdump archive") }) {
			t.Errorf("the log does not name the archive: %q", log)
		}
		volumes, err := c.StorageContent(ctx, "pve1", "usb-backup", proxmox.ContentFilter{Content: "backup", VMID: 101})
		if err != nil || len(volumes) != 2 {
			t.Fatalf("%+v, %v", volumes, err)
		}
		newest := slices.MaxFunc(volumes, func(a, b proxmox.StorageContent) int { return a.CTime.Compare(b.CTime) })
		if newest.Notes != "first dns" {
			t.Errorf("listed notes are %q", newest.Notes)
		}
		if archive, ok := proxmox.ParseArchive(newest.VolID); !ok || archive.VMID != 101 || archive.Type != "lxc" {
			t.Errorf("%+v", archive)
		}
		act(c.SetNotes(ctx, "pve1", newest.VolID, "third; with = & %\nfourth"))
		if v, err := c.VolumeInfo(ctx, "pve1", newest.VolID); err != nil || v.Notes != "third; with = & %\nfourth" || v.VMID != 101 {
			t.Errorf("%+v, %v", v, err)
		}
		inside, err := c.ArchiveConfig(ctx, "pve1", newest.VolID)
		if err != nil || inside.Hostname() != "dns" || inside.MemoryMiB() != 512 || !inside.Unprivileged() {
			t.Errorf("%+v, %v", inside, err)
		}

		if free, err := c.VMIDFree(ctx, 111); err != nil || !free {
			t.Errorf("111 is taken: %v", err)
		}
		description := "A page; with = & % and ü\n\n<!-- felhom-agent/1 web vmid=111 -->"
		act(c.RestoreLXC(ctx, "pve1", proxmox.RestoreSpec{
			VMID: 111, Archive: newest.VolID, Storage: "local-lvm",
			Config: map[string]string{"hostname": "web", "memory": "1024", "description": description, "tags": "Shop,felhom", "onboot": "0", "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:11,ip=dhcp"},
		}))
		if free, err := c.VMIDFree(ctx, 111); err != nil || free {
			t.Errorf("111 is free: %v", err)
		}
		config, err := c.GuestConfig(ctx, "pve1", 111)
		if err != nil || config.Hostname() != "web" || config.MemoryMiB() != 1024 || config.Description() != description || fmt.Sprint(config.Tags()) != "[felhom shop]" {
			t.Fatalf("%+v, %v", config, err)
		}
		if net := config.Nets()[0]; net["hwaddr"] != "BC:24:11:00:00:11" || net["type"] != "veth" || net.String() != config.Raw["net0"] {
			t.Errorf("net0 is %q, prints %q", config.Raw["net0"], net)
		}
		rootfs, ok := config.RootFS()
		if size, sized := rootfs.Size(); !ok || !sized || size != 4*proxmox.GiB || rootfs.String() != config.Raw["rootfs"] {
			t.Errorf("rootfs is %q, prints %q", config.Raw["rootfs"], rootfs)
		}

		// A change with the digest, and again with the same, which is stale now.
		change := proxmox.ConfigChange{
			Set:    map[string]string{"mp0": proxmox.NewVolume("local-lvm", 512*proxmox.MiB) + ",mp=/data,backup=1", "memory": "2048"},
			Delete: []string{"tags"}, Digest: config.Digest,
		}
		act(c.SetConfig(ctx, "pve1", 111, change))
		if _, err := c.SetConfig(ctx, "pve1", 111, change); !proxmox.IsDigestConflict(err) {
			t.Errorf("a stale digest: %v", err)
		}
		act(c.Resize(ctx, "pve1", 111, "mp0", proxmox.GiB))
		config, err = c.GuestPending(ctx, "pve1", 111)
		mp0 := config.MountPoints()[0]
		if size, _ := mp0.Size(); err != nil || len(config.Tags()) != 0 || config.MemoryMiB() != 2048 || mp0.Path() != "/data" || !mp0.Backup() || size != proxmox.GiB || len(config.Pending) != 0 {
			t.Errorf("%+v, %v", config, err)
		}

		// A restart makes pending changes happen.
		act(c.Start(ctx, "pve1", 111))
		if _, err := c.Start(ctx, "pve1", 111); !proxmox.IsAlreadyRunning(err) {
			t.Errorf("a second start: %v", err)
		}
		act(c.SetConfig(ctx, "pve1", 111, proxmox.ConfigChange{Set: map[string]string{"nameserver": "10.0.0.1"}}))
		config, err = c.GuestPending(ctx, "pve1", 111)
		if err != nil || config.Pending["nameserver"] != "10.0.0.1" || config.Raw["nameserver"] != "" || config.Merged().Raw["nameserver"] != "10.0.0.1" {
			t.Errorf("%+v, %v", config, err)
		}
		act(c.Shutdown(ctx, "pve1", 111, time.Minute))
		if _, err := c.Stop(ctx, "pve1", 111); !proxmox.IsNotRunning(err) {
			t.Errorf("stopping what is stopped: %v", err)
		}

		act(c.Snapshot(ctx, "pve1", 111, "before", "one\ntwo"))
		act(c.SetSnapshotDescription(ctx, "pve1", 111, "before", "three"))
		act(c.SetConfig(ctx, "pve1", 111, proxmox.ConfigChange{Set: map[string]string{"memory": "4096"}}))
		if old, err := c.SnapshotConfig(ctx, "pve1", 111, "before"); err != nil || old.MemoryMiB() != 2048 {
			t.Errorf("%+v, %v", old, err)
		}
		act(c.Rollback(ctx, "pve1", 111, "before"))
		config, err = c.GuestConfig(ctx, "pve1", 111)
		list, listErr := c.Snapshots(ctx, "pve1", 111)
		if err != nil || listErr != nil || config.MemoryMiB() != 2048 || len(list.Snapshots) != 1 || list.Snapshots[0].Description != "three" || list.Parent != "before" || list.Running || list.Digest != config.Digest {
			t.Errorf("%+v, %+v, %v, %v", config, list, err, listErr)
		}
		if can, err := c.Feature(ctx, "pve1", 111, "snapshot"); err != nil || !can {
			t.Errorf("snapshots are impossible: %v", err)
		}
		act(c.DeleteSnapshot(ctx, "pve1", 111, "before"))
		act(c.DeleteVolume(ctx, "pve1", newest.VolID))
		if volumes, err = c.StorageContent(ctx, "pve1", "usb-backup", proxmox.ContentFilter{Content: "backup"}); err != nil || len(volumes) != 1 {
			t.Errorf("%+v, %v", volumes, err)
		}

		guests, err := c.ListLXC(ctx, "pve1")
		if err != nil || len(guests) != 2 || guests[1].VMID != 111 || guests[1].Running() || !guests[0].Running() {
			t.Errorf("%+v, %v", guests, err)
		}
		tasks, total, err := c.Tasks(ctx, "pve1", proxmox.TaskFilter{Source: "all", Limit: 100})
		if err != nil || total < 9 || len(tasks) != total {
			t.Errorf("%d of %d tasks, %v", len(tasks), total, err)
		}
		for _, task := range tasks {
			if task.Owner() != sim.TokenID() || task.Running() || !task.OK() {
				t.Errorf("%+v", task)
			}
		}
		if diff := c.Clock().Sub(sim.Now()); diff > time.Second || diff < -time.Second {
			t.Errorf("the node's clock is %v, read as %v", sim.Now(), c.Clock())
		}
	})
}

// TestRefusals: what PVE refuses at the call, and what only in the task.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		c := agent(t, sim)
		ctx := t.Context()
		ended := func(upid proxmox.UPID, err error) error {
			t.Helper()
			if err != nil || upid.IsZero() {
				t.Errorf("refused at the call: %v", err)
				return err
			}
			_, err = c.WaitTask(ctx, upid, proxmox.WaitOptions{})
			return err
		}
		if _, err := c.GuestConfig(ctx, "pve1", 999); !proxmox.IsNotFound(err) {
			t.Errorf("a missing guest: %v", err)
		}
		if _, err := c.StorageContent(ctx, "pve1", "nosuch", proxmox.ContentFilter{}); !proxmox.IsNotFound(err) {
			t.Errorf("a missing storage: %v", err)
		}
		if _, err := c.SetConfig(ctx, "pve1", 101, proxmox.ConfigChange{Set: map[string]string{"features": "keyctl=1"}}); !proxmox.IsDenied(err) || !proxmox.DeniedBy(err).RootOnly() {
			t.Errorf("keyctl by a token: %v", err)
		}
		if _, err := c.SetConfig(ctx, "pve1", 101, proxmox.ConfigChange{Set: map[string]string{"memory": "lots"}}); !proxmox.IsPermanent(err) || !strings.Contains(err.Error(), "memory: ") {
			t.Errorf("memory=lots: %v", err)
		}
		if _, err := c.RestoreLXC(ctx, "pve1", proxmox.RestoreSpec{VMID: 101, Archive: "usb-backup:backup/vzdump-lxc-101-2026_11_20-02_30_04.tar.zst", Storage: "local-lvm"}); !proxmox.IsExists(err) {
			t.Errorf("a restore over a guest: %v", err)
		}
		if err := ended(c.DeleteSnapshot(ctx, "pve1", 101, "nosuch")); !proxmox.IsNotFound(err) {
			t.Errorf("a missing snapshot: %v", err)
		}
		if err := ended(c.Start(ctx, "pve1", 999)); !proxmox.IsNotFound(err) {
			t.Errorf("start of a missing guest: %v", err)
		}
		missing := proxmox.UPID{Node: "pve1", PID: 1, PStart: 1, StartTime: 1, Type: "vzstart", ID: "101", User: sim.TokenID()}
		if _, err := c.WaitTask(ctx, missing, proxmox.WaitOptions{}); !proxmox.IsNotFound(err) || !strings.Contains(err.Error(), missing.String()) {
			t.Errorf("a missing task: %v", err)
		}
		if _, err := c.TaskLogTail(ctx, missing, 5); !proxmox.IsNotFound(err) {
			t.Errorf("a missing log: %v", err)
		}

		// A wrong secret: one request, three seconds, no more.
		wrong, _ := proxmox.NewToken(sim.TokenID(), "00000000-0000-0000-0000-000000000000")
		stranger, err := proxmox.New(proxmox.Options{Transport: sim, Token: wrong})
		if err != nil {
			t.Fatal(err)
		}
		before := sim.Requests()
		if _, err := stranger.Version(ctx); !proxmox.IsUnauthorized(err) || sim.Requests() != before+1 {
			t.Errorf("a wrong secret: %v, %d requests", err, sim.Requests()-before)
		}
		if p, err := c.Permissions(ctx); err != nil || !p.Has("/vms/101", "VM.Config.Disk") || p.Has("/", "Sys.Modify") {
			t.Errorf("%v, %v", p, err)
		}
		if info, err := c.TokenInfo(ctx, sim.TokenID()); err != nil || !info.PrivSep || !info.UserEnabled || !info.Expire.IsZero() {
			t.Errorf("%+v, %v", info, err)
		}
	})
}

// TestFaults: a call is sent once whatever happens to it, and its error says
// whether it may have been carried out. Both are compared with the node.
func TestFaults(t *testing.T) {
	for effect, c := range map[string]struct{ done, unknown, undelivered bool }{
		"refused":    {undelivered: true},
		"lost":       {unknown: true},
		"lost-after": {unknown: true, done: true},
		"late":       {unknown: true, done: true},
		"eof":        {unknown: true},
		"eof-after":  {unknown: true, done: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			sim := pvesim.New()
			client := agent(t, sim)
			if err := sim.Inject(pvesim.Fault{Match: "POST */status/stop", Effect: effect, Times: 1}); err != nil {
				t.Fatal(err)
			}
			before := sim.Writes()
			_, err := client.Stop(t.Context(), "pve1", 101)
			if err == nil || proxmox.IsOutcomeUnknown(err) != c.unknown || proxmox.IsNotDelivered(err) != c.undelivered || !proxmox.IsTransient(err) {
				t.Errorf("%s: %v", effect, err)
			}
			if n := sim.Writes() - before; n > 1 {
				t.Errorf("%s: sent %d times", effect, n)
			}
			time.Sleep(time.Minute)
			s, err := client.GuestStatus(t.Context(), "pve1", 101)
			if err != nil || s.Running() == c.done {
				t.Errorf("%s: running is %v, %v", effect, s.Running(), err)
			}
			if _, ok := errors.AsType[*proxmox.APIError](err); ok {
				t.Error(err)
			}
		})
	}
}
