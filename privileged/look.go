package privileged

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// answerMounts reads no mount table but the host's own: of a node with a thousand guests there are a thousand others.
func answerMounts(r diskReader) (any, error) {
	t, err := r.hostTable()
	if err != nil {
		return nil, err
	}
	all, err := r.probeAll(t, t.unlisted())
	if err != nil {
		return nil, err
	}
	return r.mountsWith(all)
}

// mountsWith is the host's mount table joined with what is on the devices and with the fstab.
func (r diskReader) mountsWith(all []probed) ([]Mount, error) {
	text, err := r.host.MountInfo(1)
	if err != nil {
		return nil, r.failed(err, "cannot read the host's mount table")
	}
	data, err := r.read(fstabPath)
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
			p, err := r.sourceOf(l, all)
			if err != nil {
				return nil, err
			}
			m.UUID, m.Label, m.Silent = p.uuid, p.label, p.silent
			if p.uuid == "" {
				if m.Gone, err = r.gone(l.source); err != nil {
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

// sourceOf is what is on the device of a mount; one that was mounted at this moment is read.
func (r diskReader) sourceOf(l mountLine, all []probed) (probed, error) {
	if i := slices.IndexFunc(all, func(p probed) bool { return p.device == l.source }); i >= 0 {
		return all[i], nil
	}
	p, _, err := r.probe(l.source)
	return p, err
}

// disks is what is on every block device.
func (r diskReader) disks() ([]probed, error) {
	t, err := r.deviceTable()
	if err != nil {
		return nil, err
	}
	return r.probeAll(t, nil)
}

func answerDisks(r diskReader) (any, error) {
	t, err := r.deviceTable()
	if err != nil {
		return nil, err
	}
	all, err := r.probeAll(t, nil)
	if err != nil {
		return nil, err
	}
	p, err := r.policy()
	if err != nil {
		return nil, err
	}
	return t.list(all, p), nil
}

// list joins the devices of a table with what was read on them.
func (t deviceTable) list(all []probed, policy policy) []Disk {
	out := []Disk{}
	for i, known := range t.devices {
		p := all[i]
		if !p.shown() {
			continue
		}
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

func answerRunning(r diskReader) (any, error) {
	return r.local.running()
}

func answerGuestMounts(r diskReader) (any, error) {
	table, err := r.tableOf(r.args["vmid"])
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
func (r reader) tableOf(vmid string) ([]mountLine, error) {
	out, _, err := r.host.Run(r.ctx, lxcInfo, []string{"-n", vmid, "-p", "-H"}, nil)
	if err != nil {
		return nil, &FailedError{Op: r.op, Program: lxcInfo, Reason: err.Error()}
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || pid <= 1 { // it prints no number, or -1, for what does not run
		return nil, nil
	}
	data, err := r.host.MountInfo(pid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it ended meanwhile
	}
	if err != nil {
		return nil, &FailedError{Op: r.op, Reason: fmt.Sprintf("cannot read the mount table of guest %s: %v", vmid, err)}
	}
	return topmost(parseMountInfo(data)), nil
}

// mountPoint makes sure that the path of the request is allowed and that something is mounted there.
func (r reader) mountPoint() error {
	if err := r.allowedPath("path"); err != nil {
		return err
	}
	table, err := r.hostMounts()
	if err != nil {
		return err
	}
	if _, ok := mountedAt(table, r.args["path"]); !ok {
		return r.miss("path", "nothing is mounted there", "Plug the disk in")
	}
	return nil
}

func answerSyncMount(r diskReader) (any, error) {
	if err := r.mountPoint(); err != nil {
		return nil, err
	}
	if err := r.host.SyncFS(r.args["path"]); err != nil {
		return nil, &FailedError{Op: r.op, Reason: fmt.Sprintf("cannot write %s out: %v", r.args["path"], err)}
	}
	return struct{}{}, nil
}

func answerFolderInfo(r diskReader) (any, error) {
	if err := r.mountPoint(); err != nil {
		return nil, err
	}
	mode, _, err := r.host.Stat(r.args["path"] + "/" + r.args["folder"])
	if errors.Is(err, fs.ErrNotExist) {
		return Folder{}, nil
	}
	if err != nil {
		return nil, r.refuse("folder", err.Error(), "")
	}
	return Folder{Exists: true, IsDir: mode.IsDir(), Mode: mode}, nil
}
