package host

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/backups"
	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

func runLxcInfo(p *process) (int, error) {
	opts, _ := p.flags("-n --name")
	id := opts["-n"] + opts["--name"]
	g := p.cl.Guests[notation.Atoi(id)]
	if g == nil || g.Node != p.n.Name {
		return p.complain(1, "%s doesn't exist", id), nil
	}
	if !g.Running {
		return 0, nil
	}
	if p.has(opts, "-H") {
		p.print("%d", g.PID)
	} else {
		p.print("PID:            %d", g.PID)
	}
	return 0, nil
}

func runSystemctl(p *process) (int, error) {
	if len(p.args) == 1 && p.args[0] == "daemon-reload" {
		seen := make(map[string]bool)
		for _, f := range p.n.FstabLines() {
			if seen[f[1]] {
				p.print("systemd-fstab-generator: Failed to create unit file '%s', as it already exists. Duplicate entry in '/etc/fstab'?", f[1])
			}
			seen[f[1]] = true
		}
		return 0, nil
	}
	if len(p.args) == 2 && p.args[0] == "restart" && p.args[1] == "pvedaemon" { // its workers go on, and nobody watches them
		for _, t := range p.cl.Running {
			t.Unwatched = t.Unwatched || t.Node == p.n
		}
		return 0, nil
	}
	if exit, done := enabledUnits(p); done {
		return exit, nil
	}
	return 0, fmt.Errorf("pvesim: systemctl %s: not on the simulated host", strings.Join(p.args, " "))
}

func runChattr(p *process) (int, error) {
	if len(p.args) != 2 || p.args[0] != "+i" && p.args[0] != "-i" {
		return p.complain(1, "Usage: chattr [+-=i] files..."), nil
	}
	d, rel := p.n.Inside(path.Clean(p.args[1]))
	if d == nil || !p.n.Exists(p.args[1]) {
		return p.complain(1, "chattr: No such file or directory while trying to stat %s", p.args[1]), nil
	}
	d.Locked = notation.Without(d.Locked, rel)
	if p.args[0] == "+i" {
		d.Locked = append(d.Locked, rel)
	}
	return 0, nil
}

func runSync(p *process) (int, error) {
	_, rest := p.flags("")
	if len(rest) == 0 {
		for _, d := range p.n.Disks {
			d.Sync()
		}
	}
	for _, f := range rest {
		if d, _ := p.n.Inside(f); d != nil && p.n.MountAt(f).Ghost == nil {
			d.Sync()
		}
	}
	return 0, nil
}

func runMkdir(p *process) (int, error) {
	_, rest := p.flags("-m")
	for _, dir := range rest {
		p.n.Mkdir(path.Clean(dir))
	}
	return 0, nil
}

func runRmdir(p *process) (int, error) {
	_, rest := p.flags("")
	for _, dir := range rest {
		if d, rel := p.n.Inside(path.Clean(dir)); d != nil {
			d.Folders = notation.Without(d.Folders, rel)
			d.Locked = notation.Without(d.Locked, rel)
		}
	}
	return 0, nil
}

func runCat(p *process) (int, error) {
	for _, f := range p.args {
		text, err := machine.ReadFile(p.cl, p.n, f)
		if err != nil {
			return p.complain(1, "cat: %s: No such file or directory", f), nil
		}
		p.out.Write(text)
	}
	return 0, nil
}

// runFlock holds one of PVE's locks: flock /run/lock/lxc/pve-config-101.lock sleep 60.
func runFlock(p *process) (int, error) {
	if len(p.args) != 3 || p.args[1] != "sleep" {
		return 0, errors.New("pvesim: flock FILE sleep SECONDS is all that the simulated host knows")
	}
	key := ""
	switch name := path.Base(p.args[0]); {
	case strings.HasPrefix(name, "pve-config-"):
		key = cluster.FlockKey(notation.Atoi(strings.TrimSuffix(strings.TrimPrefix(name, "pve-config-"), ".lock")))
	case strings.HasPrefix(name, "pve-migrate-"):
		key = "migrate/" + strings.TrimPrefix(name, "pve-migrate-")
	case name == "vzdump.lock":
		key = backups.LockKey(p.n)
	default:
		return 0, fmt.Errorf("pvesim: flock: no lock %s", p.args[0])
	}
	if p.cl.Locks[key] != "" {
		return 1, nil
	}
	p.cl.Locks[key] = "held by the host"
	p.cl.World.Events = append(p.cl.World.Events, &world.Event{At: p.cl.Now.Add(time.Duration(notation.Atoi(p.args[2])) * time.Second), Kind: "unlock", Key: key})
	return 0, nil
}

// runKill ends the worker of a task by its PID: with -9 it cleans nothing up.
func runKill(p *process) (int, error) {
	opts, rest := p.flags("")
	for _, pid := range rest {
		for _, t := range append([]*world.Task(nil), p.cl.Running...) {
			if strconv.Itoa(t.PID) != pid || t.Node != p.n {
				continue
			}
			if p.has(opts, "-9") || p.has(opts, "-KILL") {
				p.cl.End(t, "")
			} else {
				p.cl.Kill(t)
			}
		}
	}
	return 0, nil
}

func runRebootHost(p *process) (int, error) {
	guests.RebootNode(p.cl, p.n, true)
	return 0, nil
}

func runBlkid(p *process) (int, error) {
	opts, rest := p.flags("-o -U -L -s")
	disks := append([]*world.Disk(nil), p.n.Disks...)
	sort.Slice(disks, func(i, j int) bool { return disks[i].Device < disks[j].Device })
	found := false
	for _, d := range disks {
		if d.Absent || d.UUID == "" || len(rest) > 0 && !slices.Contains(rest, d.Device) {
			continue
		}
		if u := opts["-U"]; u != "" {
			if d.UUID == u {
				p.print("%s", d.Device)
				found = true
			}
			continue
		}
		if len(d.Left) > 0 {
			if opts["-o"] == "udev" {
				p.print("ID_FS_AMBIVALENT=filesystem:%s:1.0 filesystem:%s:1", d.FS, strings.Join(d.Left, ":1 filesystem:"))
			}
			return 8, nil
		}
		found = true
		if opts["-o"] != "export" {
			p.print(`%s: LABEL="%s" UUID="%s" TYPE="%s"`, d.Device, d.Label, d.UUID, d.FS)
			continue
		}
		p.print("DEVNAME=%s", d.Device)
		if d.Label != "" {
			p.print("LABEL=%s", strings.ReplaceAll(d.Label, " ", `\ `))
		}
		if sub := machine.Member(d); sub != "" {
			p.print("UUID_SUB=%s", sub)
		}
		p.print("UUID=%s\nVERSION=1.0\nBLOCK_SIZE=4096\nTYPE=%s\nUSAGE=filesystem\nPART_ENTRY_SIZE=%d", d.UUID, d.FS, d.Size/512)
	}
	if !found {
		return 2, nil
	}
	return 0, nil
}

// runMkfs makes an empty file system, of the kind in the program's name; udev's entry of the device is another one from then on.
func runMkfs(kind string) func(*process) (int, error) {
	return func(p *process) (int, error) {
		opts, rest := p.flags("-U -L")
		if opts["-U"] == "" {
			return 0, fmt.Errorf("pvesim: mkfs.%s without -U: not on the simulated host", kind)
		}
		for _, d := range p.n.Disks {
			if d.Absent || len(rest) != 1 || d.Device != rest[0] {
				continue
			}
			if slices.ContainsFunc(p.n.Mounts, func(m *world.Mount) bool { return m.Device == d.Device }) {
				return p.complain(1, "%s is mounted; will not make a filesystem here!", d.Device), nil
			}
			d.UUID, d.Label, d.FS, d.Left = opts["-U"], opts["-L"], kind, nil
			d.Used, d.Folders, d.Locked, d.Dirs, d.Files = 0, nil, nil, map[string]world.Store{"/": {}}, nil
			return 0, nil
		}
		return p.complain(1, "The file %s does not exist and no size was specified.", strings.Join(rest, " ")), nil
	}
}
