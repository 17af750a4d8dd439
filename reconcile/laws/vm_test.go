package laws

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// The laws in households with virtual machines. What PVE does with these is assumed from its
// sources. The draws about VMs come from a source of their own, so that the households without
// any stay what they are.

// withVMs is a profile whose households have virtual machines too.
func (p lawProfile) withVMs() lawProfile {
	p.vms = true
	return p
}

func TestLawSettlesWithVMs(t *testing.T)       { laws(t, lawSettles.withVMs(), 20) }
func TestLawPlansWithVMs(t *testing.T)         { laws(t, lawPlans.withVMs(), 20) }
func TestLawTwiceWithVMs(t *testing.T)         { laws(t, lawTwice.withVMs(), 20) }
func TestLawWritersWithVMs(t *testing.T)       { laws(t, lawWriters.withVMs(), 20) }
func TestLawForeignWithVMs(t *testing.T)       { laws(t, lawForeign.withVMs(), 20) }
func TestLawDataWithVMs(t *testing.T)          { laws(t, lawData.withVMs(), 20) }
func TestLawRetentionWithVMs(t *testing.T)     { laws(t, lawRetention.withVMs(), 20) }
func TestLawNeighbourWithVMs(t *testing.T)     { laws(t, lawNeighbour.withVMs(), 20) }
func TestLawDisruptiveWithVMs(t *testing.T)    { laws(t, lawDisruptive.withVMs(), 20) }
func TestLawJournalWithVMs(t *testing.T)       { laws(t, lawJournal.withVMs(), 20) }
func TestLawHeldWithVMs(t *testing.T)          { laws(t, lawHeld.withVMs(), 20) }
func TestLawSeenWithVMs(t *testing.T)          { laws(t, lawSeen.withVMs(), 20) }
func TestLawSnapshotFirstWithVMs(t *testing.T) { laws(t, lawSnapshotFirst.withVMs(), 20) }

func FuzzLawDataWithVMs(f *testing.F) { fuzzLaw(f, lawData.withVMs()) }

// kind is what PVE calls the type of a guest.
func (g *lawWish) kind() string {
	if g.vm {
		return "qemu"
	}
	return "lxc"
}

// path is where PVE has a guest, below a node.
func (g *lawWish) path() string { return fmt.Sprintf("/nodes/pve1/%s/%d", g.kind(), g.vmid) }

// tool is the program of the host for a guest.
func (g *lawWish) tool() string {
	if g.vm {
		return "qm"
	}
	return "pct"
}

// hostname is the key of a guest's name.
func (g *lawWish) hostname() string {
	if g.vm {
		return "name"
	}
	return "hostname"
}

// disk is the first volume of a guest.
func (g *lawWish) disk() string {
	if g.vm {
		return "scsi0"
	}
	return "rootfs"
}

// addVMs draws one or two virtual machines, which live here already, with snapshots of them.
func (h *lawHousehold) addVMs(r *rand.Rand) {
	for i, name := range []string{"vera", "hugo"}[:1+r.IntN(2)] {
		g := &lawWish{name: name, section: "guests", vm: true, vmid: 120 + i, memory: 256 * (1 + r.IntN(4)), cores: 1 + r.IntN(3),
			state: pick(r, "running", "running", "stopped", ""), restart: pick(r, "auto", "manual", "auto"), onboot: r.IntN(2) == 0, drift: pick(r, "", "", "report", "heal")}
		if h.backupDisk && r.IntN(5) > 0 {
			g.from = "{newest: usb-backup}"
		}
		if r.IntN(3) == 0 {
			g.rootfs = 4 + r.IntN(4)
		}
		if r.IntN(3) == 0 {
			g.tags = []string{pick(r, "shop", "home")}
		}
		g.ip = r.IntN(2) == 0
		h.guests = append(h.guests, g)
		if r.IntN(2) == 0 {
			s := &lawSnap{name: fmt.Sprintf("v%d", i), guest: g.name}
			if r.IntN(2) > 0 {
				s.every, s.keep = 1+r.IntN(6), 1+r.IntN(3)
			}
			h.snapshots = append(h.snapshots, s)
		}
	}
	if h.backupDisk && len(h.backups) == 0 && r.IntN(3) > 0 {
		h.backups = append(h.backups, &lawBackup{name: "v0", guests: "all", every: 6 * (1 + r.IntN(4)), keep: pick(r, "1", "2", "")})
	}
}

// printVM prints what only a virtual machine has under config.
func (g *lawWish) printVM(p func(string, ...any)) {
	if g.ip {
		p("      net0: {bridge: vmbr0, firewall: true}")
	}
	if g.tty {
		p("      sockets: 2")
	}
	if g.rootfs > 0 {
		p("      scsi0: {size: %dG}", g.rootfs)
	}
}

// makeVMs makes the virtual machines as root, before the agent comes.
func (s *scenario) makeVMs() {
	for _, g := range s.house.guests {
		if !g.vm {
			continue
		}
		params := map[string]string{"vmid": fmt.Sprint(g.vmid), "name": g.name, "memory": fmt.Sprint(pick(s.vr, 512, g.memory)), "cores": "1", "scsi0": "local-lvm:4",
			"net0": fmt.Sprintf("virtio=BC:24:11:00:00:%d,bridge=vmbr0", g.vmid-100)}
		if s.vr.IntN(3) == 0 {
			params["scsi1"] = "local-lvm:2,backup=" + pick(s.vr, "0", "1")
		}
		if s.vr.IntN(4) == 0 {
			params["efidisk0"] = "local-lvm:1,efitype=4m"
		}
		s.person("POST", "/nodes/pve1/qemu", params)
		s.sim.Advance(time.Minute)
		s.sim.WriteData(g.vmid, "scsi0", g.name+" was here")
		if s.vr.IntN(2) == 0 {
			s.person("POST", g.path()+"/status/start", nil)
		}
	}
	s.sim.Advance(time.Minute)
}

// loseVMs loses virtual machines with their disks, or all.
func (s *scenario) loseVMs() {
	if s.vr.IntN(3) == 0 {
		s.tell("the house burns down")
		s.sim.Reinstall()
		s.here.forget()
		s.forgot = true
		return
	}
	w := reconciletest.Read(s.sim)
	for _, g := range s.house.guests {
		have := w.Guests[g.vmid]
		if !g.vm || have == nil || s.vr.IntN(2) == 0 {
			continue
		}
		s.tell("%d is lost, with its disks", g.vmid)
		s.witness.excuse(g.vmid)
		s.sim.LoseConfig(g.vmid)
		for _, volid := range regexp.MustCompile(`local-lvm:vm-\d+-disk-\d+`).FindAllString(have.Text, -1) {
			s.sim.Do("root@pam", "DELETE", "/nodes/pve1/storage/local-lvm/content/"+volid, nil)
		}
	}
	s.sim.Advance(time.Minute)
}

// vmDeed is one thing that a person does to a virtual machine.
func (s *scenario) vmDeed(kind, seed int) {
	var all []*lawWish
	for _, g := range s.house.guests {
		if g.vm {
			all = append(all, g)
		}
	}
	if len(all) == 0 {
		return
	}
	g := all[seed%len(all)]
	s.witness.disturbed()
	set := func(pairs ...string) {
		params := map[string]string{}
		for i := 0; i+1 < len(pairs); i += 2 {
			params[pairs[i]] = pairs[i+1]
		}
		s.person(pick(s.vr, "PUT", "POST"), g.path()+"/config", params)
	}
	switch kind {
	case 0:
		set("memory", fmt.Sprint(128*(2+seed%12)))
	case 1:
		set("net0", fmt.Sprintf("virtio=BC:24:11:00:00:%d,bridge=vmbr0,firewall=%d,queues=%d", g.vmid-100, seed%2, 1+seed%4))
	case 2:
		set("description", "notes of a person")
	case 3:
		set("scsi2", "local-lvm:1")
	case 4:
		set("delete", "scsi2")
	case 5:
		set("agent", pick(s.vr, "1", "0", "enabled=1,fstrim_cloned_disks=1", "sometimes"))
	case 6:
		set("onboot", fmt.Sprint(seed%2), "tags", "person")
	case 7:
		s.person("PUT", g.path()+"/resize", map[string]string{"disk": "scsi0", "size": "+1G"})
	case 8:
		s.person("POST", g.path()+"/status/"+pick(s.vr, "stop", "start", "shutdown", "reboot"), nil)
	case 9:
		s.person("POST", g.path()+"/snapshot", map[string]string{"snapname": fmt.Sprintf("p%d", seed%3)})
	case 10:
		set("hostpci0", "0000:01:00") // its restore is for root
	case 11:
		set("delete", "hostpci0")
	}
}

// vmDeeds draws what people do to virtual machines in a round.
func (s *scenario) vmDeeds() (deeds []lawDeed) {
	for range s.vr.IntN(s.profile.people + 1) {
		kind, seed := s.vr.IntN(12), s.vr.IntN(1<<30)
		deeds = append(deeds, lawDeed{pick(s.vr, time.Millisecond, time.Second, 10*time.Second, time.Minute), func() { s.vmDeed(kind, seed) }})
	}
	return deeds
}

// injectVMFaults draws what goes wrong with virtual machines in a round.
func (s *scenario) injectVMFaults() {
	if s.profile.lose && s.vr.IntN(2) == 0 { // which leaves a wreck
		s.tell("fault: a restore of a VM fails")
		if err := s.sim.Inject(pvesim.Fault{Match: "task qmrestore", Effect: "fail", Text: "vma extract failed"}); err != nil {
			s.t.Fatal(err)
		}
	}
	for range s.vr.IntN(s.profile.faults + 1) {
		f := pvesim.Fault{Skip: s.vr.IntN(2), Times: 1 + s.vr.IntN(2)}
		switch {
		case s.profile.hollow:
			f.Match, f.Effect = "task "+pick(s.vr, "qmrestore", "qmconfig", "qmsnapshot", "qmstart", "qmshutdown", "qmdelsnapshot", "qmrollback"), "hollow"
		case s.vr.IntN(2) == 0:
			f.Match = "task " + pick(s.vr, "qmrestore", "qmrestore", "qmconfig", "qmsnapshot", "qmstart", "qmshutdown", "qmdelsnapshot", "qmrollback")
			f.Effect = pick(s.vr, "fail", "fail", "warn", "die", "hang")
		default:
			f.Match = pick(s.vr, "POST */qemu", "POST */config", "POST */qemu/*", "GET */qemu/*", "GET */qemu")
			f.Effect = pick(s.vr, "refused", "lost", "lost-after", "late", "eof", "eof-after", "error", "slow")
			if f.Match[:3] == "GET" {
				f.Effect = pick(s.vr, "refused", "lost", "eof", "error")
			}
			switch f.Effect {
			case "slow", "late":
				f.For = time.Duration(1+s.vr.IntN(30)) * time.Second
			case "error":
				f.Text = pick(s.vr, "got an error", "VM is locked (backup)", "checksum mismatch (file change by other user?)")
			}
		}
		s.tell("fault: %s %s (skip %d, times %d, %s) %s", f.Match, f.Effect, f.Skip, f.Times, f.For, f.Text)
		if err := s.sim.Inject(f); err != nil {
			s.t.Fatal(err)
		}
	}
}

// source is the archive that a creation restores.
func (wr *lawWrite) source() string { return cmp.Or(wr.params["ostemplate"], wr.params["archive"]) }

// changesConfig reports whether a write on a guest changes its config: PUT of a container, POST
// of a virtual machine.
func (wr *lawWrite) changesConfig(what string) bool {
	return what == "/config" && (wr.method == "PUT" || wr.method == "POST" && strings.Contains(wr.path, "/qemu/"))
}

// disruptiveTasks are the types of the tasks that end a guest.
var disruptiveTasks = []string{"vzshutdown", "vzrollback", "qmshutdown", "qmrollback"}

// neverAsked are the parameters of a restore that destroy, rename or start before the data is there.
func (w *witness) neverAsked(wr *lawWrite) {
	for _, key := range []string{"force", "live-restore", "unique", "start"} {
		if value, sent := wr.params[key]; sent && strings.HasSuffix(wr.path, "/qemu") {
			w.s.fails("foreign", "a VM is restored with %s=%s", key, value)
		}
	}
}

// vmPaths are the paths of permissions of virtual machines.
func vmPaths() []string {
	return []string{"/vms/120", "/vms/121"}
}
