package pvesim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

func (s *Sim) beginGuest(t *task) error {
	if t.Args["todo"] == "" {
		return s.endJob(t)
	}
	vmid, rest, _ := strings.Cut(t.Args["todo"], " ")
	n := t.node
	g := s.guests[atoi(vmid)]
	if g == nil || g.Node != n.Name {
		t.Args["todo"] = rest
		return s.guestFailed(t, vmid, fmt.Errorf("unable to find VM '%s'", vmid))
	}
	switch err := s.lockConfig(t, g.VMID); {
	case errors.Is(err, errWait):
		return err
	case err != nil:
		t.Args["todo"] = rest
		return s.guestFailed(t, vmid, err)
	}
	defer s.unlock(t, flockKey(g.VMID))
	t.Args["todo"] = rest
	st := s.storages[t.Args["storage"]]
	p, err := s.place(n, st)
	if err != nil {
		return s.guestFailed(t, vmid, err)
	}
	base := "vzdump-lxc-" + vmid + "-" + s.now.In(n.zone).Format("2006_01_02-15_04_05")
	if p.datastore != nil {
		base = "ct/" + vmid + "/" + s.now.UTC().Format(snapshotTime)
	}
	if k, limit := s.dumpKeep(t, st), 0; t.Args["remove"] == "0" && !k.all() {
		for _, kind := range keepKinds {
			limit += k[kind]
		}
		if s.countBackups(p, vmid) >= limit {
			return s.guestFailed(t, vmid, fail("There is a max backup limit of %d enforced by the target storage or the vzdump parameters. Either increase the limit or delete old backups.", limit))
		}
	}
	if t.Args["protected"] == "1" && st.MaxProtected != nil && s.countProtected(p, vmid) >= *st.MaxProtected { // before it begins (measured, 9.2.11)
		return s.guestFailed(t, vmid, fail("The number of protected backups per guest is limited to %d on storage '%s'", *st.MaxProtected, st.ID))
	}
	if p.ghost || p.avail() < 4096 && p.datastore == nil {
		return s.guestFailed(t, vmid, fail("unable to create temporary directory '%s/dump/%s.tmp' at /usr/share/perl5/PVE/VZDump.pm line 1048.", st.Path, base))
	}
	t.log("INFO: Starting Backup of VM %s (lxc)", vmid)
	t.log("INFO: Backup started at %s", s.stamp(n))
	state := "stopped"
	if g.Running {
		state = "running"
	}
	t.log("INFO: status = %s", state)
	if g.HA == "started" && g.Running && t.Args["mode"] == "stop" {
		return s.guestFailed(t, vmid, fail("Cannot execute a backup with stop mode on a HA managed and enabled Service. Use snapshot mode or disable the Service."))
	}
	if err := checkLock(g.conf); err != nil {
		return s.guestFailed(t, vmid, err)
	}
	if err := s.writable(n, g.VMID); err != nil { // the lock cannot be written
		return s.guestFailed(t, vmid, err)
	}
	t.Args["vmid"], t.Args["base"], t.Args["began"] = vmid, base, itoa(int(s.now.Unix()))
	for k := range t.Args {
		if strings.HasPrefix(k, "data:") {
			delete(t.Args, k)
		}
	}
	in := s.chooseMode(t, g)
	t.Args["config"] = archiveConfig(g.conf)
	g.conf.section.set("lock", "backup")
	g.conf.touch()
	for _, m := range in {
		v, _, err := s.volume(n, m.volid())
		if err == nil && v == nil {
			err = fmt.Errorf("volume '%s' does not exist", m.volid())
		}
		if err != nil {
			t.Phase = 2
			s.vzdumpFailed(t, err)
			return s.nextGuest(t)
		}
		t.Args["data:"+m.key] = v.Data
	}
	switch t.Args["now"] {
	case "snapshot":
		t.log("INFO: create storage snapshot 'vzdump'")
		s.prepareSnapshot(g, "vzdump", "vzdump backup snapshot")
		lines, err := s.snapVolumes(n, g, "vzdump")
		t.Log = append(t.Log, lines...)
		s.commitSnapshot(g, "vzdump")
		g.conf.section.set("lock", "backup")
		if err != nil {
			t.Phase = 2
			s.vzdumpFailed(t, err)
			return s.nextGuest(t)
		}
	case "suspend":
		t.log("INFO: starting first sync /proc/%d/root/ to /var/tmp/vzdumptmp%d_%s", g.PID, t.PID, vmid)
		t.log("INFO: first sync finished - transferred %d bytes in 1s", s.dumpBytes(n, g, t))
		t.log("INFO: suspending guest")
		t.log("INFO: starting final sync /proc/%d/root/ to /var/tmp/vzdumptmp%d_%s", g.PID, t.PID, vmid)
		t.log("INFO: final sync finished - transferred 0 bytes in 1s")
		t.log("INFO: resuming guest")
		t.log("INFO: guest is online again after 1 seconds")
	case "stop":
		if g.Running {
			t.log("INFO: stopping virtual guest")
			s.halt(g)
			t.Args["restart"] = "1"
		}
	}
	if p.datastore == nil {
		t.log("INFO: creating vzdump archive '%s/dump/%s%s'", st.Path, base, extension(t.Args["compress"]))
	} else if err := s.beginSnapshot(t, p, g); err != nil {
		t.Phase = 2
		s.vzdumpFailed(t, err)
		return s.nextGuest(t)
	}
	t.Phase = 2
	t.Due = s.now.Add(t.Length / time.Duration(max(1, atoi(t.Args["each"]))))
	return nil
}

// chooseMode logs the mode and what is in the backup. A stopped guest is always in mode
// stop; snapshot falls back to suspend when a volume cannot.
func (s *Sim) chooseMode(t *task, g *guest) []mountPoint {
	mode := t.Args["mode"]
	if mode == "" {
		mode = "snapshot"
	}
	var in []mountPoint
	able := true
	for _, m := range g.conf.mountPoints() {
		if m.kind() != "volume" || m.key != "rootfs" && m.props["backup"] != "1" {
			continue
		}
		in = append(in, m)
		id, _, _ := strings.Cut(m.volid(), ":")
		if st := s.storages[id]; st == nil || !st.snapshots() {
			able = false
		}
	}
	name := func() {
		t.log("INFO: CT Name: %s", g.name())
		for _, m := range g.conf.mountPoints() {
			if slices.ContainsFunc(in, func(i mountPoint) bool { return i.key == m.key }) {
				t.log("INFO: including mount point %s ('%s') in backup", m.key, m.path)
				continue
			}
			why := "disabled"
			if m.kind() != "volume" {
				why = "not a volume"
			}
			t.log("INFO: excluding %s mount point %s ('%s') from backup (%s)", m.kind(), m.key, m.path, why)
		}
	}
	if !g.Running {
		mode = "stop"
	}
	if mode == "snapshot" {
		name()
		if !able {
			t.log("INFO: mode failure - some volumes do not support snapshots")
			t.log("INFO: trying 'suspend' mode instead")
			mode = "suspend"
			t.log("INFO: backup mode: suspend")
			t.log("INFO: ionice priority: 7")
			name()
		} else {
			t.log("INFO: backup mode: snapshot")
			t.log("INFO: ionice priority: 7")
		}
	} else {
		t.log("INFO: backup mode: %s", mode)
		t.log("INFO: ionice priority: 7")
		name()
	}
	t.Args["now"] = mode
	return in
}

func extension(compress string) string {
	switch compress {
	case "zstd":
		return ".tar.zst"
	case "gzip":
		return ".tar.gz"
	case "lzo", "1":
		return ".tar.lzo"
	}
	return ".tar"
}

// archiveConfig is the pct.conf that an archive holds.
func archiveConfig(conf *config) string {
	sec := conf.section.clone()
	for _, k := range []string{"lock", "parent", "digest"} {
		sec.unset(k)
	}
	var b strings.Builder
	sec.render(&b)
	return b.String()
}

// dumpBytes is what the backup reads.
func (s *Sim) dumpBytes(n *node, g *guest, t *task) int64 {
	total := int64(10240)
	for _, m := range g.conf.mountPoints() {
		if _, in := t.Args["data:"+m.key]; in {
			if v, _, _ := s.volume(n, m.volid()); v != nil {
				total += v.Used
			}
		}
	}
	return total
}

func (s *Sim) endGuest(t *task) error {
	n, g := t.node, s.guests[atoi(t.Args["vmid"])]
	if g == nil {
		return errors.New("the guest is gone")
	}
	st := s.storages[t.Args["storage"]]
	p, err := s.place(n, st)
	if err != nil {
		return err
	}
	total := s.dumpBytes(n, g, t)
	ext := extension(t.Args["compress"])
	size := total
	if ext != ".tar" {
		size = total*44/100 + int64(len(t.Args["config"])) + int64(atoi(t.Args["vmid"])%97)
	}
	if p.ghost {
		t.log("INFO: tar: -: Wrote only 4096 of 10240 bytes")
		return s.dumpCommand(t, "exit code 2")
	}
	if size > p.avail() && p.datastore == nil {
		t.log("INFO: zstd: error 70 : Write error : cannot write block : No space left on device")
		return s.dumpCommand(t, "exit code 70")
	}
	t.log("INFO: Total bytes written: %d (%s, 25MiB/s)", total, binary(total))
	name := "backup/" + t.Args["base"]
	if p.datastore == nil {
		name += ext
	}
	written := s.now
	v := &volume{VMID: g.VMID, Size: size, Format: strings.TrimPrefix(ext, "."), Created: s.now.Unix(), Config: t.Args["config"], Written: &written}
	for _, m := range g.conf.mountPoints() {
		if data, in := t.Args["data:"+m.key]; in {
			p := part{MP: m.key, Path: m.path, Data: data}
			if vol, _, _ := s.volume(n, m.volid()); vol != nil {
				p.Used, p.Bare = vol.Used, vol.Bare
			}
			v.Parts = append(v.Parts, p)
		}
	}
	if p.datastore != nil {
		if err := s.endSnapshot(t, p, v); err != nil {
			return err
		}
	} else {
		p.put(name, v)
		t.log("INFO: archive file size: %s", humanSize(size))
	}
	if text := t.Args["notes-template"]; text != "" {
		t.log("INFO: adding notes to backup")
		v.Notes = expandNotes(text, n, g)
	}
	if t.Args["protected"] == "1" {
		t.log("INFO: marking backup as protected")
		v.Protected = true
	}
	if t.Args["remove"] != "0" {
		s.pruneAfter(t, p, g)
	}
	s.dumpCleanup(t, g)
	took := s.now.Unix() - int64(atoi(t.Args["began"]))
	t.log("INFO: Finished Backup of VM %d (%02d:%02d:%02d)", g.VMID, took/3600, took/60%60, took%60)
	t.log("INFO: Backup finished at %s", s.stamp(n))
	return nil
}

// dumpCommand is the failure of the pipe that writes an archive.
func (s *Sim) dumpCommand(t *task, how string) error {
	st, from := s.storages[t.Args["storage"]], "/mnt/vzsnap0"
	if t.Args["now"] != "snapshot" {
		from = "/var/lib/lxc/" + t.Args["vmid"] + "/rootfs"
	}
	base := st.Path + "/dump/" + t.Args["base"]
	pack := ""
	switch extension(t.Args["compress"]) {
	case ".tar.zst":
		pack = "zstd '--threads=1' "
	case ".tar.gz":
		pack = "gzip --rsyncable "
	case ".tar.lzo":
		pack = "lzop "
	default:
		pack = "cat "
	}
	const flags = "--totals --one-file-system -p --sparse --numeric-owner --acls --xattrs '--xattrs-include=user.*' '--xattrs-include=security.capability' '--warning=no-file-ignored' '--warning=no-xattr-write' --one-file-system '--warning=no-file-ignored'"
	return fmt.Errorf("command 'set -o pipefail && lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- tar cpf - %s '--directory=%s.tmp' ./etc/vzdump/pct.conf ./etc/vzdump/pct.fw '--directory=%s' --no-anchored '--exclude=lost+found' --anchored '--exclude=./tmp/?*' '--exclude=./var/tmp/?*' '--exclude=./var/run/?*.pid' ./ | %s>%s.tar.dat' failed: %s",
		flags, base, from, pack, base, how)
}

// dumpKeep is the retention that a job prunes by.
func (s *Sim) dumpKeep(t *task, st *storage) keeping {
	text := t.Args["prune-backups"]
	if text == "" {
		text = st.Prune
	}
	k, err := parseKeep(text)
	if err != nil {
		return keeping{}
	}
	return k
}

func (s *Sim) countProtected(p *place, vmid string) int {
	count := 0
	for name, v := range p.items {
		if p.of(name) == vmid && v.Protected {
			count++
		}
	}
	return count
}

func (s *Sim) countBackups(p *place, vmid string) int {
	count := 0
	for name, v := range p.items {
		if p.of(name) == vmid && (p.datastore != nil || standard(name)) && !v.Protected {
			count++
		}
	}
	return count
}

// pruneAfter removes older archives of the guest, whoever made them.
func (s *Sim) pruneAfter(t *task, p *place, g *guest) {
	k := s.dumpKeep(t, p.st)
	if k.all() {
		return
	}
	t.log("INFO: prune older backups with retention: %s", k)
	count := 0
	for _, c := range s.candidates(t.node, p, k, g.VMID, "lxc") {
		if c.mark == "remove" {
			t.log("INFO: removing backup '%s:%s'", p.st.ID, c.name)
			p.drop(c.name)
			count++
		}
	}
	t.log("INFO: pruned %d backup(s) not covered by keep-retention policy", count)
}

// dumpCleanup takes the snapshot and the lock away and starts what was stopped.
func (s *Sim) dumpCleanup(t *task, g *guest) {
	if t.Args["now"] == "snapshot" {
		t.log("INFO: cleanup temporary 'vzdump' snapshot")
		if sec := g.conf.snaps["vzdump"]; sec != nil {
			t.Log = append(t.Log, s.unsnapVolumes(t.node, sec, "vzdump")...)
			s.forgetSnapshot(g, "vzdump")
		}
	}
	g.conf.section.unset("lock")
	g.conf.touch()
	if t.Args["restart"] == "1" {
		delete(t.Args, "restart")
		t.log("INFO: restarting vm")
		s.applyPending(t.node, g, func(string, bool) bool { return true })
		s.boot(t.node, g)
		t.log("INFO: guest is online again after %d seconds", s.now.Unix()-int64(atoi(t.Args["began"])))
	}
}

// vzdumpFailed is the failure of the guest whose backup runs.
func (s *Sim) vzdumpFailed(t *task, err error) {
	vmid := t.Args["vmid"]
	if vmid == "" {
		return
	}
	delete(t.Args, "vmid")
	t.Args["errors"] = "1"
	s.cutSnapshots(t)
	if g := s.guests[atoi(vmid)]; g != nil {
		s.dumpCleanup(t, g)
	}
	t.log("ERROR: Backup of VM %s failed - %s", vmid, strings.TrimRight(err.Error(), "\n"))
	t.log("INFO: Failed at %s", s.stamp(t.node))
}

// humanSize prints an archive's size as vzdump logs it. PVE: VZDump format_size.
func humanSize(n int64) string {
	switch kb := n / 1024; {
	case kb < 1024:
		return fmt.Sprintf("%dKB", kb)
	case kb < 1024*1024:
		return fmt.Sprintf("%dMB", kb/1024)
	}
	return fmt.Sprintf("%.2fGB", float64(n)/(1<<30))
}
