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
	disks, err := s.disksOf(false)
	if err != nil {
		return nil, err
	}
	return s.mountsWith(disks)
}

// mountsWith is the host's mount table joined with what is on the devices and with the fstab.
func (s *scene) mountsWith(disks []probed) ([]Mount, error) {
	text, err := s.host.MountInfo(1)
	if err != nil {
		return nil, s.failed(err, "cannot read the host's mount table")
	}
	data, err := s.read(fstabPath)
	if err != nil {
		return nil, err
	}
	lines := parseFstab(data).entries()
	fstabFor := func(path string) (first *FstabLine) { // of two lines for a path the one that is not ours: it is in the way
		for i, l := range lines {
			if l.Path == path && (first == nil || first.Name != "" && l.Name == "") {
				first = &lines[i]
			}
		}
		return first
	}
	auto := automounts(text)
	out := []Mount{}
	seen := map[string]bool{}
	for _, l := range topmost(parseMountInfo(text)) {
		seen[l.path] = true
		m := Mount{Path: l.path, Mounted: true, Source: l.source, Root: l.root, FSType: l.fstype, Options: l.options, Major: l.major, Minor: l.minor, Auto: auto[l.path], Fstab: fstabFor(l.path)}
		if strings.HasPrefix(l.source, "/dev/") {
			p, err := s.sourceOf(l, disks)
			if err != nil {
				return nil, err
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
	for _, l := range lines {
		if strings.HasPrefix(l.Path, "/") && !seen[l.Path] {
			seen[l.Path] = true
			out = append(out, Mount{Path: l.Path, Auto: auto[l.Path], Fstab: fstabFor(l.Path)})
		}
	}
	for _, path := range sortedKeys(auto) {
		if !seen[path] {
			out = append(out, Mount{Path: path, Auto: true})
		}
	}
	return out, nil
}

// sourceOf is what is on the device of a mount; one that is no disk of the table, such as a logical volume, is read.
func (s *scene) sourceOf(l mountLine, disks []probed) (probed, error) {
	if i := slices.IndexFunc(disks, func(p probed) bool { return p.device == l.source }); i >= 0 {
		return disks[i], nil
	}
	p, _, err := s.probe(l.source)
	return p, err
}

// disksOf is what is on every block device, read again as a whole when again is set.
func (s *scene) disksOf(again bool) ([]probed, error) {
	t, err := s.deviceTable()
	if err != nil {
		return nil, err
	}
	return s.probeAll(t, again)
}

func (s *scene) disks() (any, error) {
	list, _, err := s.diskList(false)
	return list, err
}

// diskList is what [Disks] answers, and all that was read for it.
func (s *scene) diskList(again bool) ([]Disk, []probed, error) {
	t, err := s.deviceTable()
	if err != nil {
		return nil, nil, err
	}
	all, err := s.probeAll(t, again)
	if err != nil {
		return nil, nil, err
	}
	p, err := s.policy()
	if err != nil {
		return nil, nil, err
	}
	return t.list(all, p), all, nil
}

// list joins the devices of a table with what was read on them.
func (t deviceTable) list(all []probed, policy policy) []Disk {
	out := []Disk{}
	for i, p := range all {
		if !p.shown() {
			continue
		}
		known := t.devices[i]
		d := Disk{Device: p.device, Parent: known.disk, UUID: p.uuid, Label: p.label, FSType: p.fstype, Size: p.size, Silent: p.silent, Kinds: p.kinds, Member: p.member}
		d.Blocked = t.refusal(policy, p.device)
		if d.Blocked == "" && p.esp {
			d.Blocked = p.device + " is an EFI system partition"
		}
		d.Mounted, d.Others = t.mountedAs(known)
		if sectors, err := strconv.ParseInt(known.size, 10, 64); err == nil && sectors > 0 && sectors < 1<<50 {
			d.Size = sectors * 512
		}
		d.USB = slices.Contains(strings.Split(known.udev, "\n"), "E:ID_BUS=usb")
		out = append(out, d)
	}
	return out
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
