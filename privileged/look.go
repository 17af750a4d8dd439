package privileged

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

func (s *scene) mounts() (any, error) {
	table, err := s.hostMounts()
	if err != nil {
		return nil, err
	}
	data, err := s.read(fstabPath)
	if err != nil {
		return nil, err
	}
	lines := parseFstab(data).entries()
	fstabFor := func(path string) *FstabLine {
		i := slices.IndexFunc(lines, func(l FstabLine) bool { return l.Path == path })
		if i < 0 {
			return nil
		}
		return &lines[i]
	}
	known := map[string]probed{}
	out := []Mount{}
	seen := map[string]bool{}
	for _, l := range topmost(table) {
		seen[l.path] = true
		m := Mount{Path: l.path, Mounted: true, Source: l.source, Root: l.root, FSType: l.fstype, Options: l.options, Major: l.major, Minor: l.minor, Fstab: fstabFor(l.path)}
		if strings.HasPrefix(l.source, "/dev/") {
			p, ok := known[l.source]
			if !ok {
				if p, _, err = s.probe(l.source); err != nil {
					return nil, err
				}
				known[l.source] = p
			}
			m.UUID, m.Label, m.Silent = p.uuid, p.label, p.silent
			if p.uuid == "" {
				if m.Gone, err = s.gone(l.source); err != nil {
					return nil, err
				}
			}
		}
		out = append(out, m)
	}
	for i, l := range lines {
		if strings.HasPrefix(l.Path, "/") && !seen[l.Path] {
			seen[l.Path] = true
			out = append(out, Mount{Path: l.Path, Fstab: &lines[i]})
		}
	}
	return out, nil
}

func (s *scene) disks() (any, error) {
	all, err := s.probeAll()
	if err != nil {
		return nil, err
	}
	table, err := s.hostMounts()
	if err != nil {
		return nil, err
	}
	table = topmost(table)
	out := []Disk{}
	for _, p := range all {
		d := Disk{Device: p.device, Parent: parent(p.device), UUID: p.uuid, Label: p.label, FSType: p.fstype, Size: p.size, Silent: p.silent}
		for _, l := range table {
			if l.source == p.device {
				d.Mounted = append(d.Mounted, l.path)
			}
		}
		base := strings.TrimPrefix(p.device, "/dev/")
		if sectors, err := s.number("/sys/class/block/" + base + "/size"); err == nil && sectors > 0 {
			d.Size = sectors * 512
		}
		if number, err := s.host.ReadFile("/sys/class/block/" + base + "/dev"); err == nil {
			if udev, err := s.host.ReadFile("/run/udev/data/b" + strings.TrimSpace(string(number))); err == nil {
				d.USB = slices.Contains(strings.Split(string(udev), "\n"), "E:ID_BUS=usb")
			}
		}
		out = append(out, d)
	}
	return out, nil
}

func (s *scene) number(path string) (int64, error) {
	data, err := s.host.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}

func (s *scene) running() (any, error) {
	return s.local.running()
}

func (s *scene) guestMounts() (any, error) {
	table, err := s.tableOf(s.args["vmid"])
	if err != nil {
		return nil, err
	}
	out := []GuestMount{}
	for _, l := range table {
		out = append(out, GuestMount{Path: l.path, Root: l.root, Source: l.source, FSType: l.fstype, Major: l.major, Minor: l.minor})
	}
	return out, nil
}

// tableOf is the mount table of a running guest's first process; none when it does not run.
func (s *scene) tableOf(vmid string) ([]mountLine, error) {
	out, _, err := s.host.Run(s.ctx, lxcInfo, []string{"-n", vmid, "-p", "-H"}, nil)
	if err != nil {
		return nil, &FailedError{Op: s.op, Program: lxcInfo, Reason: err.Error()}
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || pid <= 1 { // it prints no number, or -1, for what does not run
		return nil, nil
	}
	data, err := s.host.MountInfo(pid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it ended meanwhile
	}
	if err != nil {
		return nil, &FailedError{Op: s.op, Reason: fmt.Sprintf("cannot read the mount table of guest %s: %v", vmid, err)}
	}
	return topmost(parseMountInfo(data)), nil
}

// mountPoint makes sure that the path of the request is allowed and that something is mounted there.
func (s *scene) mountPoint() error {
	if err := s.allowedPath("path"); err != nil {
		return err
	}
	table, err := s.hostMounts()
	if err != nil {
		return err
	}
	if _, ok := mountedAt(table, s.args["path"]); !ok {
		return s.miss("path", "nothing is mounted there", "Plug the disk in")
	}
	return nil
}

func (s *scene) syncMount() (any, error) {
	if err := s.mountPoint(); err != nil {
		return nil, err
	}
	if err := s.host.SyncFS(s.args["path"]); err != nil {
		return nil, &FailedError{Op: s.op, Reason: fmt.Sprintf("cannot write %s out: %v", s.args["path"], err)}
	}
	return struct{}{}, nil
}

func (s *scene) folderInfo() (any, error) {
	if err := s.mountPoint(); err != nil {
		return nil, err
	}
	mode, err := s.host.Stat(s.args["path"] + "/" + s.args["folder"])
	if errors.Is(err, fs.ErrNotExist) {
		return Folder{}, nil
	}
	if err != nil {
		return nil, s.refuse("folder", err.Error(), "")
	}
	return Folder{Exists: true, IsDir: mode.IsDir(), Mode: mode}, nil
}
