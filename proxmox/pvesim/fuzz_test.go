package pvesim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/outcome"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// FuzzPeopleAndAccidents lets people, a token and accidents do anything to a node, by a
// seed. Whatever they do, nothing panics, the world file is canonical, every lock has an
// owner, and a volume belongs to nobody or to a guest that is there.
func FuzzPeopleAndAccidents(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Add(uint64(356)) // a fault that struck after the world was healed
	f.Add(uint64(395)) // a lock that was freed for one who no longer wanted it
	f.Add(uint64(91))  // a conversion that failed at its second volume
	f.Fuzz(func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { chaos(t, seed, 150) })
	})
}

func chaos(t *testing.T, seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 1))
	s := New()
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	vmid := func() string { return pick("100", "101", "102", "103", "101", "102") }
	archive := func() string {
		var all []string
		for _, st := range s.cl.World.Storages {
			if p, err := places.Of(s.cl, s.cl.World.Nodes[0], st); err == nil {
				for name := range p.Items {
					if strings.HasPrefix(name, "backup/") {
						all = append(all, st.ID+":"+name)
					}
				}
			}
		}
		if len(all) == 0 {
			return "local:backup/vzdump-lxc-101-2020_01_01-00_00_00.tar.zst"
		}
		sort.Strings(all)
		return all[r.IntN(len(all))]
	}
	var trail []string
	do := func(method, path string, pairs ...string) {
		params := make(map[string]string)
		for i := 0; i+1 < len(pairs); i += 2 {
			params[pairs[i]] = pairs[i+1]
		}
		as := pick("root@pam", "felhom@pve!agent", "felhom@pve!agent")
		trail = append(trail, fmt.Sprint(as, " ", method, " ", path, " ", params))
		status, body := s.Do(as, method, path, params)
		if status == 200 && method != "GET" || status == 500 || status == 400 || status == 403 || status == 200 {
			return
		}
		t.Fatalf("%s: %d %s", trail[len(trail)-1], status, body)
	}
	shell := func(cmd string) {
		trail = append(trail, cmd)
		_, _ = s.Shell("pve1", cmd)
	}
	for range steps {
		for _, g := range s.cl.Guests { // what is kept must be forgotten by whatever comes next
			_ = g.Conf.Text()
		}
		id := vmid()
		at := lxc + "/" + id
		switch r.IntN(28) {
		case 0:
			do("POST", at+"/status/start")
		case 1:
			do("POST", at+"/status/"+pick("stop", "shutdown", "reboot"))
		case 2:
			do("POST", at+"/snapshot", "snapname", pick("aa", "bb", "cc"))
		case 3:
			do("DELETE", at+"/snapshot/"+pick("aa", "bb", "cc"))
		case 4:
			do("POST", at+"/snapshot/"+pick("aa", "bb", "cc")+"/rollback", "start", pick("0", "1"))
		case 5:
			do("PUT", at+"/config", pick("cores", "memory", "tags", "hostname", "onboot", "bogus"), pick("1", "256", "64", "x"))
		case 6:
			do("PUT", at+"/config", "mp"+pick("0", "1"), pick("local-lvm:1", "local-lvm:vm-"+id+"-disk-1", "/mnt/usb/media/library")+",mp=/data,backup="+pick("0", "1"))
		case 7:
			do("PUT", at+"/config", "delete", pick("mp0", "mp1", "unused0", "unused1", "tags", "net0"))
		case 8:
			do("PUT", at+"/resize", "disk", pick("rootfs", "mp0"), "size", pick("+1G", "1G", "8G"))
		case 9, 10:
			do("POST", dumps, "vmid", id, "storage", pick("local", "usb-backup"), "compress", pick("0", "zstd"), "mode", pick("snapshot", "stop", "suspend"), "remove", pick("0", "1"))
		case 11, 12:
			do("POST", lxc, "vmid", id, "restore", "1", "ostemplate", archive(), "storage", "local-lvm", "force", pick("0", "1"), "start", pick("0", "1"))
		case 13:
			do("POST", lxc, "vmid", id, "restore", "1", "ostemplate", archive(), "rootfs", "local-lvm:"+pick("1", "8"), "mp0", "local-lvm:1,mp=/data,backup=1")
		case 14:
			do("POST", lxc, "vmid", id, "ostemplate", "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "rootfs", "local-lvm:1", "unprivileged", "1", "net0", "name=eth0,bridge=vmbr0")
		case 15:
			do("DELETE", at, "force", pick("0", "1"), "purge", "1")
		case 16:
			do("POST", at+"/clone", "newid", vmid(), "full", "1")
		case 17:
			_, name, _ := strings.Cut(archive(), ":")
			do(pick("DELETE", "PUT"), "/nodes/pve1/storage/"+pick("local", "usb-backup")+"/content/"+name)
		case 18:
			do("POST", at+"/move_volume", "volume", pick("mp0", "rootfs", "unused0"), "target-vmid", vmid())
		case 19:
			do("POST", at+"/template")
		case 20:
			shell(pick("mount /dev/sdb1 /mnt/usb/backup", "mount UUID="+world.MediaUUID+" /mnt/usb/media", "umount /mnt/usb/backup", "umount /mnt/usb/media", "mkdir /mnt/usb/backup", "mkdir /mnt/usb/media"))
		case 21:
			uuid := pick(world.BlueUUID, world.MediaUUID)
			trail = append(trail, "unplug "+uuid)
			s.Unplug(uuid)
		case 22:
			uuid := pick(world.BlueUUID, world.MediaUUID)
			trail = append(trail, "plug "+uuid)
			s.Plug(uuid)
		case 23:
			shell("pct " + pick("unlock ", "mount ", "unmount ", "rescan --vmid ") + id)
		case 24:
			_ = s.Inject(world.Fault{Match: "task " + pick("vzdump", "vzrestore", "vzsnapshot", "vzstart", "vzrollback", "vzclone", "vzdestroy"), Effect: pick("fail", "die", "warn", "hang")})
		case 25:
			if running := s.cl.Running; len(running) > 0 {
				do("DELETE", "/nodes/pve1/tasks/"+running[r.IntN(len(running))].UPID())
			}
		case 26:
			s.WriteData(notation.Atoi(id), pick("rootfs", "mp0"), pick("a", "b"))
		default:
			s.Advance(time.Duration(r.IntN(90)) * time.Second)
		}
		if r.IntN(3) == 0 {
			s.Advance(time.Duration(r.IntN(20)) * time.Second)
		}
	}
	s.Heal()
	s.Advance(time.Hour)
	defer func() {
		if t.Failed() {
			t.Logf("seed %d:\n%s", seed, strings.Join(trail, "\n"))
		}
	}()
	if len(s.cl.Running) > 0 {
		t.Errorf("after an hour %s %s still runs", s.cl.Running[0].Type, s.cl.Running[0].ID)
	}
	for key, owner := range s.cl.Locks {
		t.Errorf("lock %s is left to %s", key, owner)
	}
	for id, g := range s.cl.Guests {
		if g.Running && g.Conf.Vals["template"] == "1" {
			t.Errorf("the template %d runs", id)
		}
		if now := (&lxcconf.Config{Section: g.Conf.Section, Pending: g.Conf.Pending, Snaps: g.Conf.Snaps}).Text(); now != g.Conf.Text() {
			t.Errorf("the text of %d is an old one:\n%s", id, outcome.Diff(g.Conf.Text(), now))
		}
		if text := g.Conf.Text(); lxcconf.Parse(text).Text() != text {
			t.Errorf("the config of %d does not read back:\n%s", id, text)
		}
	}
	first, err := s.Save()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(first)
	if err != nil {
		t.Fatalf("%v\n%s", err, first)
	}
	second, err := again.Save()
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the world file is not canonical:\n%s", outcome.Diff(string(first), string(second)))
	}
	if a, b := s.String(), again.String(); a != b {
		t.Errorf("loaded it prints otherwise:\n%s", outcome.Diff(a, b))
	}
}
