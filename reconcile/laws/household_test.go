package laws

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/spec"
)

// A lawHousehold is a random household: what is printed as YAML, and can be edited.
type lawHousehold struct {
	backupDisk, media bool
	golden, alpine    bool
	far               bool // there is another node
	revision          int
	guests            []*lawWish
	snapshots         []*lawSnap
	backups           []*lawBackup
}

type lawWish struct {
	name, section, was string
	vmid               int
	vm                 bool // a virtual machine: rootfs is the size of its scsi0, tty another number of sockets
	from               string
	memory, cores      int
	rootfs, mp0        int // GiB; 0: not said
	backup             bool
	bind               bool
	volume             string
	tags, needs        []string
	order              int
	state, restart     string
	description, drift string
	despite            string
	rollback           string
	paused, onboot     bool
	tty                bool
	ip, protection     bool
	absent, noBackup   bool // it is to be deleted, without a last backup
}

type lawSnap struct {
	name, guest string
	every       int    // hours; 0: a named one
	taken       string // the day of a named one; "": the first
	keep        int
	absent      bool
}

type lawBackup struct {
	name, guests string
	every        int // hours; 0: at 02:30
	keep         string
	mode         string
	storage      string // "": usb-backup
}

var lawNames = []string{"ada", "bea", "cleo", "dana", "elsa"}

// newLawHousehold draws one of up to twelve objects.
func newLawHousehold(r *rand.Rand, profile lawProfile) *lawHousehold {
	h := &lawHousehold{backupDisk: r.IntN(10) < 8 || profile.backups || profile.lose, media: r.IntN(10) < 3, golden: r.IntN(10) < 9 || profile.neighbour, revision: 1}
	h.alpine, h.far = h.golden && r.IntN(3) == 0, profile.cluster && r.IntN(2) == 0
	for i := range 1 + r.IntN(3) + profile.least() {
		h.guests = append(h.guests, newLawWish(r, h, i))
	}
	if r.IntN(2) == 0 {
		dns := &lawWish{name: "dns", section: "guests", vmid: 101, memory: 512, state: pick(r, "running", "", "running"), drift: pick(r, "heal", "report", "")}
		if h.backupDisk && r.IntN(2) == 0 {
			dns.from = "{newest: usb-backup}"
		}
		if r.IntN(12) == 0 {
			dns.name = "ns" // a mistyped VMID: the hostname is another
		}
		h.guests = append(h.guests, dns)
	}
	for i := range r.IntN(3) {
		g := h.guests[r.IntN(len(h.guests))]
		if g.bind {
			continue
		}
		s := &lawSnap{name: fmt.Sprintf("s%d", i), guest: g.name}
		if r.IntN(3) > 0 {
			s.every, s.keep = 1+r.IntN(6), 1+r.IntN(3)
		}
		h.snapshots = append(h.snapshots, s)
	}
	if h.backupDisk {
		for i := range max(r.IntN(3), bit2int(profile.backups)) {
			b := &lawBackup{name: fmt.Sprintf("b%d", i), guests: "all", keep: pick(r, "1", "2", "{daily: 2}", "{hourly: 3, weekly: 1}", "")}
			if r.IntN(3) > 0 {
				b.every = 6 * (1 + r.IntN(4))
			}
			if r.IntN(3) == 0 {
				b.guests = "[" + h.guests[r.IntN(len(h.guests))].name + "]"
			}
			if r.IntN(5) == 0 && !profile.neighbour { // a backup that restarts a guest would mend it; and only one runs at a time
				b.mode = "stop"
			}
			h.backups = append(h.backups, b)
		}
	}
	return h
}

func newLawWish(r *rand.Rand, h *lawHousehold, i int) *lawWish {
	g := &lawWish{name: lawNames[i], section: "restores", vmid: 110 + i, memory: 256 * (1 + r.IntN(4)), cores: 1 + r.IntN(3),
		state: pick(r, "running", "running", "running", "stopped", ""), restart: pick(r, "auto", "manual", "auto"), onboot: r.IntN(2) == 0, ip: r.IntN(2) == 0}
	switch {
	case h.backupDisk && h.golden:
		g.from = pick(r, "[{newest: usb-backup}, {golden: debian}]", "[{newest: usb-backup}, {golden: debian}]", "{golden: debian}")
	case h.golden:
		g.from = "{golden: debian}"
	default:
		g.from = "{newest: " + pick(r, "usb-backup", "local") + "}"
	}
	if r.IntN(12) == 0 {
		g.from = "{newest: local, vmid: 101}"
	}
	if h.alpine && r.IntN(2) == 0 {
		g.from = strings.ReplaceAll(g.from, "debian", "alpine")
	}
	if r.IntN(3) == 0 {
		g.rootfs = 8 + r.IntN(8)
	}
	switch {
	case r.IntN(3) == 0:
		g.mp0, g.backup = 4+r.IntN(8), r.IntN(3) > 0
	case h.media && r.IntN(2) == 0:
		g.bind = true
	}
	if r.IntN(2) == 0 {
		g.order = 1 + r.IntN(4)
	}
	if i > 0 && r.IntN(3) == 0 {
		g.needs = []string{lawNames[r.IntN(i)]}
	}
	if r.IntN(3) == 0 {
		g.tags = []string{pick(r, "shop", "db", "web")}
	}
	if r.IntN(4) == 0 {
		g.description = "Notes of a person."
	}
	g.protection = r.IntN(12) == 0
	g.drift = pick(r, "", "", "", "report")
	return g
}

// least is how many guests there are besides the first.
func (p lawProfile) least() int { return bit2int(p.neighbour || p.restarts) }

func bit2int(b bool) int {
	if b {
		return 1
	}
	return 0
}

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

// edit changes one thing, as a person at the YAML does.
func (h *lawHousehold) edit(kind int, r *rand.Rand, now time.Time, snapshots []string) string {
	g := h.guests[r.IntN(len(h.guests))]
	switch kind {
	case 0, 1:
		g.memory = 256 * (1 + r.IntN(6))
	case 2:
		g.cores = 1 + r.IntN(4)
	case 3:
		g.tags = append(g.tags, pick(r, "blue", "green"))
		slices.Sort(g.tags)
		g.tags = slices.Compact(g.tags)
	case 4:
		if g.vm && g.rootfs == 0 {
			g.rootfs = 8
		} else if g.rootfs > 0 {
			g.rootfs += 2
		} else if g.section == "restores" {
			g.rootfs = 16
		}
	case 5:
		if g.mp0 > 0 {
			g.mp0 += r.IntN(3)
		} else if !g.bind && g.section == "restores" {
			g.mp0, g.backup = 5, true
		}
	case 6:
		g.state = pick(r, "running", "stopped", "")
	case 7:
		g.paused = !g.paused
	case 8:
		h.revision++
	case 9:
		if len(h.backups) > 0 {
			h.backups[r.IntN(len(h.backups))].keep = pick(r, "1", "2", "{daily: 1}")
		}
	case 10:
		if len(h.snapshots) > 0 {
			s := h.snapshots[r.IntN(len(h.snapshots))]
			if s.every == 0 {
				s.absent = !s.absent
			} else {
				s.keep = 1
			}
		}
	case 11:
		if len(snapshots) > 0 && !g.bind {
			g.rollback = fmt.Sprintf("{to: %s, requested: %s, loses: [%s]}", snapshots[r.IntN(len(snapshots))], now.UTC().Format(time.RFC3339), map[bool]string{false: "mp0, mp1", true: "scsi0, scsi1, scsi2"}[g.vm])
		}
	case 12:
		if r.IntN(3) == 0 {
			g.despite = now.UTC().Format(time.RFC3339)
		}
	case 14:
		g.tty = !g.tty // waits for a restart
	case 13:
		if i := slices.Index(h.guests, g); len(h.guests) > 1 && !h.needed(g.name) {
			h.guests = slices.Delete(h.guests, i, i+1)
		}
	}
	return g.name
}

// rename gives a guest another name, once, and says so.
func (h *lawHousehold) rename(g *lawWish) string {
	if g.was != "" || g.section != "restores" {
		return g.name
	}
	g.was, g.name = g.name, g.name+"-too"
	for _, s := range h.snapshots {
		if s.guest == g.was {
			s.guest = g.name
		}
	}
	for _, b := range h.backups {
		if b.guests == "["+g.was+"]" {
			b.guests = "[" + g.name + "]"
		}
	}
	for _, other := range h.guests {
		if i := slices.Index(other.needs, g.was); i >= 0 {
			other.needs[i] = g.name
		}
	}
	return g.was + " is now " + g.name
}

// needed reports whether another object names a guest.
func (h *lawHousehold) needed(name string) bool {
	return slices.ContainsFunc(h.guests, func(g *lawWish) bool { return slices.Contains(g.needs, name) }) ||
		slices.ContainsFunc(h.snapshots, func(s *lawSnap) bool { return s.guest == name }) ||
		slices.ContainsFunc(h.backups, func(b *lawBackup) bool { return b.guests == "["+name+"]" })
}

// yaml prints the household.
func (h *lawHousehold) yaml() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("node: pve1")
	if h.backupDisk || h.media {
		p("mounts:")
		if h.backupDisk {
			p("  backup: {uuid: %s, path: /mnt/usb/backup, storage: usb-backup}", lawBlue)
		}
		if h.media {
			p("  media: {uuid: %s, path: /mnt/usb/media}", lawMedia)
		}
	}
	if h.golden {
		p("golden:\n  debian:\n    vmid: 9000\n    template: local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst\n    rootfs: {storage: local-lvm, size: 8G}")
		p("    features: {keyctl: true, nesting: true}\n    config: {cores: 1, memory: 512, net0: {bridge: vmbr0, ip: dhcp}}\n    publish: {storage: local, revision: %d}", h.revision)
	}
	if h.alpine {
		p("  alpine:\n    vmid: 9001\n    template: local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz\n    rootfs: {storage: local-lvm, size: 2G}")
		p("    publish: {storage: local, revision: %d}", h.revision)
	}
	for _, section := range []string{"restores", "guests"} {
		head := false
		for _, g := range h.guests {
			if g.section != section {
				continue
			}
			if !head {
				p("%s:", section)
				head = true
			}
			g.print(p)
		}
		if h.far && head {
			p("  far%s: {node: pve2, vmid: %d%s, state: running}", section, map[string]int{"restores": 151, "guests": 150}[section], map[string]string{"restores": ", from: {newest: local}, storage: local-lvm", "guests": ", is: far"}[section])
		}
	}
	for i, s := range h.snapshots {
		if i == 0 {
			p("snapshots:")
		}
		switch {
		case s.absent:
			p("  %s: {guest: %s, ensure: absent}", s.name, s.guest)
		case s.every > 0:
			p("  %s: {guest: %s, every: %dh, keep: %d}", s.name, s.guest, s.every, s.keep)
		default:
			p("  %s: {guest: %s, taken: %s}", s.name, s.guest, cmp.Or(s.taken, "2026-11-22"))
		}
	}
	for i, x := range h.backups {
		if i == 0 {
			p("backups:")
		}
		when := fmt.Sprintf("every: %dh", x.every)
		if x.every == 0 {
			when = `at: "02:30"`
		}
		if x.keep != "" {
			when += ", keep: " + x.keep
		}
		if x.mode != "" {
			when += ", mode: " + x.mode
		}
		p("  %s: {guests: %s, storage: %s, %s}", x.name, x.guests, cmp.Or(x.storage, "usb-backup"), when)
	}
	return b.String()
}

func (g *lawWish) print(p func(string, ...any)) {
	p("  %s:\n    vmid: %d", g.name, g.vmid)
	field := func(key, value string) {
		if value != "" {
			p("    %s: %s", key, value)
		}
	}
	field("was", g.was)
	if g.absent {
		field("ensure", "absent")
		if g.noBackup {
			field("backup", "none")
		}
	}
	field("from", g.from)
	if g.vm {
		field("type", "vm")
	}
	if g.section == "restores" || g.vm && g.from != "" {
		field("storage", "local-lvm")
	}
	if g.rootfs > 0 && !g.vm {
		p("    rootfs: {size: %dG}", g.rootfs)
	}
	field("state", g.state)
	if g.state == "running" {
		field("restart", g.restart)
	}
	field("drift", g.drift)
	field("despite", g.despite)
	field("rollback", g.rollback)
	if g.paused {
		p("    paused: true")
	}
	if len(g.needs) > 0 && g.state == "running" {
		p("    needs: [%s]", strings.Join(g.needs, ", "))
	}
	p("    config:\n      memory: %d", g.memory)
	if g.cores > 0 {
		p("      cores: %d", g.cores)
	}
	if g.onboot {
		p("      onboot: true")
	}
	if g.protection {
		p("      protection: true")
	}
	if g.vm {
		g.printVM(p)
	}
	if g.ip && !g.vm {
		p("      net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.%d/24}", g.vmid-100)
	}
	if g.tty && !g.vm {
		p("      tty: 3")
	}
	if g.order > 0 {
		p("      startup: {order: %d}", g.order)
	}
	if len(g.tags) > 0 {
		p("      tags: [%s]", strings.Join(g.tags, ", "))
	}
	if g.description != "" {
		p("      description: %s", g.description)
	}
	switch {
	case g.volume != "":
		p("      mp0: {volume: %s, mp: /data, backup: true}", g.volume)
	case g.mp0 > 0:
		p("      mp0: {storage: local-lvm, size: %dG, mp: /data, backup: %t}", g.mp0, g.backup)
	case g.bind:
		p("      mp0: {mount: media, folder: library, mp: /media, ro: true}")
	}
}

const (
	lawBlue  = "6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11"
	lawMedia = "51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77"
)

// load checks the household as the agent does. One that the language refuses is nil:
// the agent would go on with the last good one.
func (h *lawHousehold) load(dir string) (*spec.Desired, error) {
	file := filepath.Join(dir, "household.yaml")
	if err := os.WriteFile(file, []byte(h.yaml()), 0o644); err != nil {
		return nil, err
	}
	return spec.Load(file)
}
