package privileged

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

const (
	mountProgram  = "/usr/bin/mount"
	umountProgram = "/usr/bin/umount"
	systemctl     = "/usr/bin/systemctl"
	lxcInfo       = "/usr/bin/lxc-info"
)

func (s *scene) hostMounts() ([]mountLine, error) {
	data, err := s.host.MountInfo(1)
	if err != nil {
		return nil, &FailedError{Op: s.op, Reason: "cannot read the host's mount table: " + err.Error()}
	}
	return parseMountInfo(data), nil
}

func (s *scene) mountUSB() error {
	if err := s.allowedPath("path"); err != nil {
		return err
	}
	unlock, err := s.local.lockFstab()
	if err != nil {
		return s.failed(err, "cannot lock the fstab")
	}
	defer unlock()
	m := mountSpecOf(s.args)
	disks, at, err := s.mountable(m)
	if err != nil {
		return err
	}
	m = m.On(disks[0])
	before, after, err := s.planFstab(m)
	if err != nil {
		return err
	}
	if at.Mounted && at.Gone { // what is left of a disk that was pulled
		if err := s.unmountDead(m.Path); err != nil {
			return err
		}
		at.Mounted = false
	}
	if !at.Mounted {
		if err := s.freeDisk(disks); err != nil {
			return err
		}
		immutable, err := s.host.MakeMountPoint(m.Path)
		if err != nil {
			return s.failed(err, "cannot make the mount point "+m.Path)
		}
		if !immutable {
			s.note("the empty mount point %s could not be made immutable: while the disk is disconnected, writes to it fill the disk below", m.Path)
		}
	}
	if err := s.writeFstab(before, after); err != nil {
		return err
	}
	if at.Mounted {
		return s.harden(at)
	}
	if err := s.mount(disks); err != nil {
		err = s.failed(err, "cannot mount "+disks[0].Device)
		failed := &FailedError{}
		if errors.As(err, &failed) && before != after {
			if e := s.writeFstab(after, before); e != nil {
				s.note("the agent's line in %s could not be removed again: %v", fstabPath, e)
			} else {
				failed.Undone = append(failed.Undone, "the agent's line in "+fstabPath+" was taken back")
			}
		}
		return err
	}
	return nil
}

// mountSpecOf is a request as its sender had it.
func mountSpecOf(a map[string]string) MountSpec {
	m := MountSpec{Name: a["name"], UUID: a["uuid"], Path: a["path"], FSType: a["fstype"], Fstab: a["fstab"] == "1"}
	if a["options"] != "" {
		m.Options = strings.Split(a["options"], ",")
	}
	return m
}

// mountable is the disk of the request, as it is now, and what is mounted at its path. What is remembered of disks decides nothing alone: the disk that it
// names is read again, and all of them before the request is refused.
func (s *scene) mountable(m MountSpec) (disks []Disk, at Mount, err error) {
	for _, again := range []bool{false, true} {
		list, all, err := s.diskList(again)
		if err != nil {
			return nil, at, err
		}
		mounts, err := s.mountsWith(all)
		if err != nil {
			return nil, at, err
		}
		found, refused := Mountable(m, list, mounts)
		if refused != nil && (again || s.local.Dir == "") {
			return nil, at, refused
		}
		if refused != nil {
			continue
		}
		if p, ok, err := s.probe(found[0].Device); err != nil || p.silent {
			return nil, at, s.failed(errors.Join(err, errors.New(found[0].Device+" "+silence)), "cannot read the disk")
		} else if !ok || p.uuid != m.UUID {
			continue
		}
		if i := slices.IndexFunc(mounts, func(at Mount) bool { return at.Path == m.Path }); i >= 0 {
			at = mounts[i]
		}
		return found, at, nil
	}
	return nil, at, s.miss("uuid", "the disk was exchanged for another one at this moment", "connect it again")
}

// freeDisk makes sure that nothing has the disk: the kernel knows of more than any table shows.
func (s *scene) freeDisk(disks []Disk) error {
	for _, d := range disks {
		if err := s.host.Exclusive(d.Device); err != nil {
			return s.refuse("uuid", fmt.Sprintf("%s is in use: %v", d.Device, err), "find its user: lsblk "+d.Device+"; lsns -t mnt")
		}
	}
	return nil
}

// Hardened says whether a mount gives no user of the host root by what is on the disk.
func Hardened(at Mount) bool {
	return !slices.ContainsFunc(safeOptions, func(o string) bool { return !slices.Contains(at.Options, o) })
}

// harden takes the power to give root from a disk that somebody mounted without nosuid and nodev.
func (s *scene) harden(at Mount) error {
	if Hardened(at) {
		return nil
	}
	options := append([]string{"remount", "bind"}, safeOptions...)
	for _, o := range []string{"ro", "noexec", "noatime", "nodiratime"} { // a remount sets all of them
		if slices.Contains(at.Options, o) && !(o == "ro" && slices.Contains(at.Options, "rw")) {
			options = append(options, o)
		}
	}
	_, err := s.run(mountProgram, "-o", strings.Join(options, ","), at.Path)
	return err
}

// gone says whether a device that is still mounted is no longer there.
func (s *scene) gone(device string) (bool, error) {
	if !strings.HasPrefix(device, "/dev/") {
		return false, nil
	}
	devices, err := s.host.BlockDevices()
	if err != nil {
		return false, s.failed(err, "cannot list the block devices")
	}
	if slices.Contains(devices, device) {
		return false, nil
	}
	_, err = s.host.Stat(device)
	return errors.Is(err, fs.ErrNotExist), nil
}

func (s *scene) unmountDead(at string) error {
	if _, err := s.run(umountProgram, at); err == nil {
		return nil
	}
	// Something still has files open on a disk that is no longer there: no more can be lost by letting go of it.
	if _, err := s.run(umountProgram, "-l", at); err != nil {
		return err
	}
	s.note("the disk that was mounted at %s is gone; something still has files of it open", at)
	return nil
}

// planFstab is the fstab as it is and as it is to be: with the line of this request, or without any line of this object.
func (s *scene) planFstab(m MountSpec) (before, after string, err error) {
	data, err := s.read(fstabPath)
	if err != nil {
		return "", "", err
	}
	f := parseFstab(data)
	for _, l := range f.entries() {
		if refused := m.otherLine(l); refused != nil {
			return "", "", refused
		}
	}
	if line := FstabEntry(m); line != "" {
		return string(data), string(f.set(m.Name, line)), nil
	}
	return string(data), string(f.drop(m.Name)), nil
}

// writeFstab replaces the fstab and lets systemd read it, where systemd runs.
func (s *scene) writeFstab(before, after string) error {
	if before == after {
		return nil
	}
	if err := s.host.ReplaceFile(fstabPath, []byte(before), []byte(after)); err != nil {
		return s.failed(err, "cannot write "+fstabPath)
	}
	if mode, err := s.host.Stat("/run/systemd/system"); err == nil && mode.IsDir() {
		if _, err := s.run(systemctl, "daemon-reload"); err != nil {
			s.note("%s is written, but systemd did not read it: %v. As root: systemctl daemon-reload", fstabPath, err)
		}
	}
	return nil
}

// mount mounts the disk and makes sure that it is what is then seen at the path.
func (s *scene) mount(disks []Disk) error {
	a, disk := s.args, disks[0]
	options := slices.Clone(safeOptions)
	for _, o := range strings.Split(a["options"], ",") {
		if o != "" && o != "nofail" && o != "defaults" && !strings.HasPrefix(o, "x-") && !slices.Contains(safeOptions, o) {
			options = append(options, o)
		}
	}
	_, failed := s.run(mountProgram, "-t", disk.driver(), "-o", strings.Join(options, ","), disk.Device, a["path"])
	table, err := s.hostMounts()
	if err != nil {
		return err
	}
	at, ok := mountedAt(table, a["path"])
	right := ok && slices.ContainsFunc(disks, func(d Disk) bool { return d.Device == at.source })
	if failed != nil && !right { // systemd may have been faster, by the line that it just read
		return failed
	}
	if !right {
		return &FailedError{Op: s.op, Reason: fmt.Sprintf("mount answered 0, but %s is not what is mounted at %s", disk.Device, a["path"])}
	}
	if p, ok, err := s.probe(at.source); err != nil || !ok || p.uuid != a["uuid"] {
		if _, e := s.run(umountProgram, a["path"]); e != nil {
			s.note("%s is still mounted: %v", a["path"], e)
		}
		if p.silent {
			return &FailedError{Op: s.op, Reason: at.source + " " + silence}
		}
		return &FailedError{Op: s.op, Reason: fmt.Sprintf("%s was exchanged for another disk while it was being mounted", at.source)}
	}
	return nil
}
