package host

import (
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
)

func runMount(p *process) (int, error) {
	opts, rest := p.flags("-t -o -U -L")
	n := p.n
	switch {
	case len(rest) == 1 && slices.Contains(strings.Split(opts["-o"], ","), "remount"):
		for _, m := range n.Mounts {
			if m.Target == path.Clean(rest[0]) {
				m.Options = machine.MountOptions(opts["-o"])
				return 0, nil
			}
		}
		return p.complain(32, "mount: %s: mount point not mounted or bad option.", rest[0]), nil
	case len(rest) == 0 && p.has(opts, "-a"):
		machine.MountFstab(n)
		return 0, nil
	case len(rest) == 0:
		for _, m := range n.Mounts {
			p.print("%s on %s type %s (%s)", m.Device, m.Target, m.FS, m.Options)
		}
		return 0, nil
	case len(rest) == 1 && opts["-U"] != "":
		rest = []string{"UUID=" + opts["-U"], rest[0]}
	case len(rest) == 1:
		for _, f := range n.FstabLines() {
			if path.Clean(f[1]) == path.Clean(rest[0]) || f[0] == rest[0] {
				if text := machine.MountDisk(n, strings.Trim(f[0], `"`), f[1], f[3]); text != "" {
					return p.complain(32, "%s", text), nil
				}
				return 0, nil
			}
		}
		return p.complain(1, "mount: %s: can't find in /etc/fstab.", rest[0]), nil
	}
	if kind := opts["-t"]; kind != "" {
		for _, d := range n.Disks {
			if !d.Absent && d.Device == rest[0] && d.FS != kind && !(d.FS == "ntfs" && kind == "ntfs3") {
				return p.complain(32, "mount: %s: wrong fs type, bad option, bad superblock on %s, missing codepage or helper program, or other error.", rest[1], rest[0]), nil
			}
		}
	}
	if text := machine.MountDisk(n, rest[0], rest[1], opts["-o"]); text != "" {
		return p.complain(32, "%s", text), nil
	}
	return 0, nil
}

func runUmount(p *process) (int, error) {
	opts, rest := p.flags("")
	if len(rest) == 0 {
		return p.complain(1, "umount: bad usage"), nil
	}
	for _, what := range rest {
		if text := machine.Unmount(p.cl, p.n, what, p.has(opts, "-l")); text != "" {
			return p.complain(32, "%s", text), nil
		}
	}
	return 0, nil
}

func runMountpoint(p *process) (int, error) {
	opts, rest := p.flags("")
	if len(rest) != 1 {
		return p.complain(1, "mountpoint: bad usage"), nil
	}
	yes := p.n.Mountpoint(rest[0])
	if !p.has(opts, "-q") {
		if yes {
			p.print("%s is a mountpoint", rest[0])
		} else {
			p.print("%s is not a mountpoint", rest[0])
		}
	}
	if !yes {
		return 32, nil
	}
	return 0, nil
}

func runFindmnt(p *process) (int, error) {
	opts, rest := p.flags("-o --output -S --source -T --target -M --mountpoint -t --types")
	columns := opts["-o"] + opts["--output"]
	if columns == "" {
		columns = "TARGET,SOURCE,FSTYPE,OPTIONS"
	}
	source := opts["-S"] + opts["--source"]
	target := opts["-M"] + opts["--mountpoint"]
	if len(rest) > 0 {
		target = rest[0]
	}
	cols := strings.Split(strings.ToUpper(columns), ",")
	found := false
	show := func(f []string) {
		if !found && !p.has(opts, "-n") && !p.has(opts, "--noheadings") {
			p.print("%s", strings.Join(cols, " "))
		}
		found = true
		p.print("%s", strings.Join(f, " "))
	}
	for _, m := range p.n.Mounts {
		if target != "" && m.Target != path.Clean(target) && m.Device != target || source != "" && m.Device != source && "UUID="+m.UUID != source {
			continue
		}
		if at := opts["-T"] + opts["--target"]; at != "" && p.n.MountAt(path.Clean(at)) != m {
			continue
		}
		var f []string
		for _, c := range cols {
			f = append(f, map[string]string{"TARGET": m.Target, "SOURCE": m.Device, "FSTYPE": m.FS, "OPTIONS": m.Options, "UUID": m.UUID}[c])
		}
		show(f)
	}
	if !found {
		return 1, nil
	}
	return 0, nil
}
