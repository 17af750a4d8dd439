package laws

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// A lawDeed is something that people do a while after the one before.
type lawDeed struct {
	after time.Duration
	do    func()
}

// setUp makes the world what it was before the agent came.
func (s *scenario) setUp() {
	template := map[string]string{"ostemplate": "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "unprivileged": "1", "rootfs": "local-lvm:1"}
	stranger := func(vmid int, name string) {
		params := maps.Clone(template)
		params["vmid"], params["hostname"] = fmt.Sprint(vmid), name
		s.person("POST", "/nodes/pve1/lxc", params)
	}
	stranger(300, "quiet")
	if s.profile.strangers && s.r.IntN(2) == 0 { // a guest of somebody else on a declared VMID
		g := s.house.guests[s.r.IntN(len(s.house.guests))]
		if g.vmid != 101 {
			stranger(g.vmid, pick(s.r, "other", g.name))
			s.sim.Advance(time.Minute)
			if s.r.IntN(2) == 0 { // of another owner, or a copy
				marker := fmt.Sprintf("<!-- felhom-agent/1 %s vmid=%d owner=%s born=2026-11-01T10:00:00Z -->", g.name, g.vmid+s.r.IntN(2), pick(s.r, "pve2", "pve1x"))
				s.person("PUT", fmt.Sprintf("/nodes/pve1/lxc/%d/config", g.vmid), map[string]string{"description": marker})
			}
		}
	}
	s.sim.Advance(time.Minute)
	if s.profile.vms {
		s.makeVMs()
	}
	if s.r.IntN(3) == 0 {
		s.person("POST", "/nodes/pve1/lxc/300/snapshot", map[string]string{"snapname": "mine"})
		s.person("POST", "/nodes/pve1/vzdump", map[string]string{"vmid": "300", "storage": "local", "mode": "snapshot", "compress": "zstd", "remove": "0"})
	}
	if s.r.IntN(8) == 0 {
		s.tell("usb-backup has a retention of its own")
		s.sim.SetRetention("usb-backup", "keep-last=1")
	}
	if s.profile.disks && s.r.IntN(4) == 0 {
		s.tell("the disk blue is away")
		s.sim.Unplug(lawBlue)
	}
	s.sim.Advance(2 * time.Minute)
	if s.profile.lose || s.profile.lived || s.r.IntN(2) == 0 { // the household lived here before
		i := s.live(1)
		if _, err := i.once(0); err != nil {
			s.fails("settles", "the first run fails: %v", err)
		}
		i.end()
		s.tell("-- it has converged once")
		s.sim.Advance(time.Duration(1+s.r.IntN(30)) * time.Hour)
	}
	if s.profile.lose && !(s.profile.servers && s.r.IntN(3) == 0 && s.loseAllButBackups()) {
		s.loseSomething()
		if s.profile.vms {
			s.loseVMs()
		}
		s.loseSight()
	}
	if s.profile.mimics && s.r.IntN(2) == 0 {
		for _, g := range s.house.guests { // tasks of others that look like ours
			s.person("POST", "/nodes/pve1/vzdump", map[string]string{"vmid": fmt.Sprint(g.vmid), "storage": "local", "mode": "snapshot", "compress": "zstd", "remove": "0"})
			s.sim.Advance(time.Minute)
		}
	}
	if s.profile.births && s.r.IntN(2) == 0 {
		s.beginAnew()
	}
	s.witness.keep(reconciletest.Read(s.sim))
}

// loseSomething is a loss that is not the agent's fault.
func (s *scenario) loseSomething() {
	switch s.r.IntN(6) {
	case 0:
		s.tell("the house burns down")
		s.sim.Reinstall()
		s.here.forget()
		s.forgot = true
	case 1:
		s.here.forget()
		s.forgot = true
		s.tell("the journal is lost")
		s.loseConfigs()
	case 2, 3:
		s.loseVolumes()
	default:
		s.loseConfigs()
	}
	if s.r.IntN(3) == 0 {
		s.tell("the disk blue is taken away")
		_, _ = s.sim.Shell("pve1", "umount /mnt/usb/backup")
		s.sim.Unplug(lawBlue)
	}
}

// beginAnew loses a guest, and lets people ask for an empty one in its place.
func (s *scenario) beginAnew() {
	for _, g := range s.house.guests {
		if g.section != "restores" || !strings.Contains(g.from, "golden") {
			continue
		}
		s.tell("the config of %d is lost", g.vmid)
		s.sim.LoseConfig(g.vmid)
		s.sim.Advance(time.Minute)
		g.from, g.despite = "{golden: debian}", s.sim.Now().UTC().Format(time.RFC3339)
		s.witness.excuse(g.vmid)
		break
	}
	s.here.forget()
	s.forgot = true
	s.load()
}

func (s *scenario) loseConfigs() {
	for _, g := range s.house.guests {
		if s.r.IntN(2) == 0 {
			s.tell("the config of %d is lost", g.vmid)
			s.witness.excuse(g.vmid)
			s.sim.LoseConfig(g.vmid)
		}
	}
}

// loseVolumes leaves data volumes behind that no guest has mounted any more.
func (s *scenario) loseVolumes() {
	for _, g := range s.house.guests {
		if g.mp0 == 0 {
			continue
		}
		on := fmt.Sprintf("/nodes/pve1/lxc/%d", g.vmid)
		if s.r.IntN(2) == 0 { // a snapshot of the time before mp0 would do the same
			s.person("POST", on+"/status/stop", nil)
			s.sim.Advance(2 * time.Second)
		}
		s.person("PUT", on+"/config", map[string]string{"delete": "mp0"})
	}
}

// person is a call of the administrator.
func (s *scenario) person(method, path string, params map[string]string) int {
	status, body := s.sim.Do("root@pam", method, path, params)
	s.tell("person: %s %s %v: %d", method, path, params, status)
	if status != 200 {
		s.tell("  %s", body)
	}
	return status
}

// schedule draws what people do in a round.
func (s *scenario) schedule() []lawDeed {
	var deeds []lawDeed
	for range s.r.IntN(s.profile.people + 1) {
		kind, seed := s.r.IntN(19), s.r.IntN(1<<30)
		deeds = append(deeds, lawDeed{
			after: []time.Duration{time.Millisecond, time.Second, 10 * time.Second, 25 * time.Second, time.Minute}[s.r.IntN(5)],
			do:    func() { s.deed(kind, seed) },
		})
	}
	for range s.r.IntN(s.profile.odd + 1) {
		kind, seed := s.r.IntN(22), s.r.IntN(1<<30)
		deeds = append(deeds, lawDeed{pick(s.r, time.Millisecond, time.Second, 20*time.Second, time.Minute, 4*time.Minute), func() { s.odd(kind, seed) }})
	}
	if s.profile.disks && s.r.IntN(2) == 0 {
		disk := pick(s.r, lawBlue, lawBlue, lawMedia)
		deeds = append(deeds,
			lawDeed{pick(s.r, time.Second, 21*time.Second, 70*time.Second), func() { s.tell("person: pulls %s", disk); s.sim.Unplug(disk) }},
			lawDeed{pick(s.r, 5*time.Second, 40*time.Second), func() { s.plug(disk) }})
	}
	if s.profile.faults > 1 && s.r.IntN(6) == 0 {
		what := pick(s.r, "pvedaemon-down", "pvedaemon-hung", "pmxcfs-down")
		deeds = append(deeds,
			lawDeed{pick(s.r, time.Second, 25*time.Second), func() { s.tell("the node: %s", what); s.sim.SetOutage("pve1", what) }},
			lawDeed{time.Duration(1+s.r.IntN(90)) * time.Second, func() { s.tell("the node is well again"); s.sim.SetOutage("pve1", "") }})
	}
	if s.profile.vms {
		deeds = append(deeds, s.vmDeeds()...)
	}
	deeds = append(deeds, s.serverDeeds()...)
	deeds = append(deeds, lawDeed{20 * time.Minute, func() { s.tell("person: stops what hangs"); s.serverCalm(); s.sim.Heal() }})
	return deeds
}

func (s *scenario) plug(disk string) {
	s.tell("person: plugs %s", disk)
	s.sim.Plug(disk)
}

// deed is one thing that a person does, mostly to a guest of the household.
func (s *scenario) deed(kind, seed int) {
	g := s.house.guests[seed%len(s.house.guests)]
	on := g.path()
	w := reconciletest.Read(s.sim)
	have := w.Guests[g.vmid]
	if kind != 10 && kind < 17 {
		s.witness.disturbed()
	}
	switch kind {
	case 0:
		s.witness.excuse(200 + seed%7)
		s.person("POST", on+"/clone", map[string]string{"newid": fmt.Sprint(200 + seed%7), "full": "1", "hostname": "copy"})
	case 1:
		s.witness.excuse(g.vmid)
		s.person("POST", on+"/status/stop", nil)
		s.sim.Advance(2 * time.Second)
		s.person("DELETE", on, nil)
	case 2:
		s.person("PUT", on+"/config", map[string]string{"tags": "person"})
	case 3:
		s.person("PUT", on+"/config", map[string]string{"memory": fmt.Sprint(128 * (2 + seed%12))})
	case 4:
		s.person("PUT", on+"/config", map[string]string{"description": "notes of a person"})
	case 5:
		s.person("POST", on+"/snapshot", map[string]string{"snapname": fmt.Sprintf("p%d", seed%3)})
	case 6:
		if have != nil && len(have.Snaps) > 0 {
			names := slices.Sorted(maps.Keys(have.Snaps))
			s.person("POST", on+"/snapshot/"+names[seed%len(names)]+"/rollback", nil)
		}
	case 7:
		s.person("POST", on+"/status/stop", nil)
	case 8:
		s.person("POST", on+"/status/start", nil)
	case 9:
		s.person("POST", "/nodes/pve1/vzdump", map[string]string{"vmid": fmt.Sprint(g.vmid), "storage": pick(s.r, "local", "usb-backup"), "mode": "snapshot", "compress": "zstd", "remove": "0"})
	case 10:
		s.witness.disturbed()
		s.person("POST", "/nodes/pve1/stopall", nil)
	case 17, 18:
		if s.profile.bulk {
			s.witness.disturbed()
			all := pick(s.r, "startall", "stopall")
			if seed%2 == 0 { // it goes on for long, as with guests that do not stop
				if err := s.sim.Inject(pvesim.Fault{Match: "task " + all, Effect: "hang"}); err != nil {
					s.t.Fatal(err)
				}
			}
			s.person("POST", "/nodes/pve1/"+all, nil)
		}
	case 11:
		s.person("POST", on+"/status/shutdown", nil)
	case 12:
		if s.profile.lose && have != nil && !slices.ContainsFunc(w.Tasks, func(t string) bool { return true }) {
			s.tell("the config of %d is lost", g.vmid)
			s.witness.excuse(g.vmid)
			s.sim.LoseConfig(g.vmid)
		}
	case 13:
		s.person("PUT", on+"/resize", map[string]string{"disk": g.disk(), "size": "+1G"})
	case 14:
		if all := w.ArchivesOf(g.vmid); len(all) > 0 {
			a := all[seed%len(all)]
			_, name, _ := cutArchive(a.Key)
			s.witness.excuseArchive(a.Key)
			for _, storage := range storagesOf(name) {
				s.person("DELETE", "/nodes/pve1/storage/"+storage+"/content/"+storage+":backup/"+name, nil)
			}
		}
	case 16:
		s.person("PUT", on+"/config", map[string]string{"delete": "mp0"})
	case 15:
		if s.profile.deletes && (have == nil || !have.Running) {
			return // who writes into a guest that is stopped leaves no trace
		}
		s.sim.WriteData(g.vmid, pick(s.r, g.disk(), "mp0"), fmt.Sprint("data ", seed))
	}
}

// injectFaults draws what goes wrong with requests and tasks in a round.
func (s *scenario) injectFaults() {
	s.sim.Heal()
	if s.host.dies(0, false); s.profile.kills && s.r.IntN(4) == 0 {
		steps := 1 + s.r.IntN(20)
		s.tell("fault: the helper dies at its step %d", steps)
		s.host.dies(steps, s.r.IntN(2) == 0)
	}
	if s.profile.mimics {
		if err := s.sim.Inject(pvesim.Fault{Match: "POST */vzdump", Effect: pick(s.r, "lost", "lost-after", "late"), Times: 2}); err != nil {
			s.t.Fatal(err)
		}
	}
	s.torn = false
	if s.profile.doubles && s.r.IntN(2) > 0 {
		s.torn = s.r.IntN(3) > 0
		change := ""
		if s.torn {
			change = pick(s.r, "ctime=1763000000", "size=1")
		}
		s.tell("fault: usb-backup lists each archive twice %s", change)
		if err := s.sim.Inject(pvesim.Fault{Match: "GET */storage/usb-backup/content", Times: -1, Effect: "twice", Text: change}); err != nil {
			s.t.Fatal(err)
		}
	}
	if s.profile.hollow {
		s.injectHollow()
	}
	if s.profile.vms {
		s.injectVMFaults()
	}
	if s.profile.deletes && s.r.IntN(4) == 0 {
		f := pvesim.Fault{Match: pick(s.r, "task vzdestroy", "DELETE */lxc/*"), Effect: pick(s.r, "fail", "die"), Times: 1}
		if f.Match != "task vzdestroy" {
			f.Effect = pick(s.r, "lost", "lost-after", "late", "eof-after", "refused", "error-after")
		}
		s.tell("fault: %s %s", f.Match, f.Effect)
		if err := s.sim.Inject(f); err != nil {
			s.t.Fatal(err)
		}
	}
	for range s.r.IntN(s.profile.faults + 1) {
		f := pvesim.Fault{Skip: s.r.IntN(3), Times: 1 + s.r.IntN(2)}
		if s.r.IntN(3) == 0 {
			f.Match = "task " + pick(s.r, "vzrestore", "vzrestore", "vzdump", "vzdump", "vzsnapshot", "vzstart", "vzshutdown", "imgdel", "vzdelsnapshot", "vzrollback", "resize")
			f.Effect = pick(s.r, "fail", "fail", "warn", "die", "hang")
			if f.Effect == "hang" {
				f.Effect = pick(s.r, "hang", "fail")
			}
			if f.Effect == "fail" {
				f.Text = pick(s.r, "", "can't lock file '/var/lock/pve-manager/pve-storage-local-lvm' - got timeout", "something broke")
			}
		} else {
			f.Match = pick(s.r, "POST *", "PUT *", "DELETE *", "POST */lxc", "POST */vzdump", "POST */status/start", "POST */snapshot", "POST */status/shutdown", "POST */rollback", "PUT */config", "GET *", "GET */pending", "GET */tasks/*")
			f.Effect = pick(s.r, "refused", "lost", "lost-after", "late", "eof", "eof-after", "error", "slow")
			if s.profile.lost {
				f.Effect = pick(s.r, "lost", "lost-after", "late", "late", "eof", "eof-after")
			}
			if f.Match[:3] == "GET" {
				f.Effect = pick(s.r, "refused", "lost", "eof", "error", "slow")
				f.Skip *= 10
			}
			switch f.Effect {
			case "slow":
				f.For = pick(s.r, time.Second, 20*time.Second, 45*time.Second)
			case "late":
				f.For = time.Duration(1+s.r.IntN(30)) * time.Second
			case "error":
				f.Text = pick(s.r, "got an error", "CT is locked (backup)", "can't lock file '/run/lock/lxc/pve-config-110.lock' - got timeout")
			}
		}
		s.tell("fault: %s %s (skip %d, times %d, %s) %s", f.Match, f.Effect, f.Skip, f.Times, f.For, f.Text)
		if err := s.sim.Inject(f); err != nil {
			s.t.Fatal(err)
		}
	}
}
