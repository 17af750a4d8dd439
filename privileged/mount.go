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
	a := s.args
	if err := s.allowedPath("path"); err != nil {
		return err
	}
	unlock, err := s.local.lockFstab()
	if err != nil {
		return s.failed(err, "cannot lock the fstab")
	}
	defer unlock()
	disk, err := s.theDisk()
	if err != nil {
		return err
	}
	table, err := s.hostMounts()
	if err != nil {
		return err
	}
	for _, l := range table {
		if l.source == disk.device && l.path != a["path"] {
			return s.refuse("uuid", fmt.Sprintf("%s is mounted at %s", disk.device, l.path), "As root: umount "+quote(l.path))
		}
	}
	at, mounted := mountedAt(table, a["path"])
	if mounted && at.source != disk.device {
		gone, err := s.gone(at.source)
		if err != nil {
			return err
		}
		if !gone {
			other := at.source
			if p, ok, _ := s.probe(at.source); ok {
				other = fmt.Sprintf("%s (UUID %s, label %q)", at.source, p.uuid, p.label)
			}
			return s.refuse("path", "another file system is mounted there: "+other, "I leave it alone")
		}
	}
	before, after, err := s.planFstab(a["fstab"] == "1")
	if err != nil {
		return err
	}
	if mounted && at.source != disk.device { // what is left of a disk that was pulled
		if err := s.unmountDead(a["path"]); err != nil {
			return err
		}
		mounted = false
	}
	if !mounted {
		immutable, err := s.host.MakeMountPoint(a["path"])
		if err != nil {
			return s.failed(err, "cannot make the mount point "+a["path"])
		}
		if !immutable {
			s.note("the empty mount point %s could not be made immutable: while the disk is away, what is written there fills the disk below", a["path"])
		}
	}
	if err := s.writeFstab(before, after); err != nil {
		return err
	}
	if mounted {
		return nil
	}
	if err := s.mount(disk); err != nil {
		err = s.failed(err, "cannot mount "+disk.device)
		failed := &FailedError{}
		if errors.As(err, &failed) && before != after {
			if e := s.writeFstab(after, before); e != nil {
				s.note("our line in %s could not be taken back: %v", fstabPath, e)
			} else {
				failed.Undone = append(failed.Undone, "our line in "+fstabPath+" was taken back")
			}
		}
		return err
	}
	return nil
}

// theDisk is the one disk that bears the UUID of the request, with a file system that may be mounted.
func (s *scene) theDisk() (probed, error) {
	a := s.args
	all, err := s.probeAll()
	if err != nil {
		return probed{}, err
	}
	var disks []probed
	var devices, silent []string
	for _, p := range all {
		if p.silent {
			silent = append(silent, p.device)
		} else if p.uuid == a["uuid"] {
			disks = append(disks, p)
			devices = append(devices, p.device)
		} else if strings.EqualFold(p.uuid, a["uuid"]) {
			return probed{}, s.refuse("uuid", "the disk writes it "+p.uuid, "Write it so")
		}
	}
	switch len(disks) {
	case 0:
		if len(silent) > 0 {
			return probed{}, s.miss("uuid", fmt.Sprintf("no disk with this UUID is to be seen, and %s %s", strings.Join(silent, ", "), silence), "Look: dmesg")
		}
		return probed{}, s.miss("uuid", "no disk with this UUID is plugged in", "Plug it in")
	case 1:
	default:
		return probed{}, s.refuse("uuid", "several disks bear this UUID: "+strings.Join(devices, ", "), "Unplug all but one, or give one a new UUID (tune2fs -U random)")
	}
	disk := disks[0]
	kind := disk.fstype
	if kind == "ntfs" { // the driver in the kernel has another name than the file system
		kind = "ntfs3"
	}
	if !slices.Contains(fileSystems, kind) {
		return probed{}, s.refuse("uuid", fmt.Sprintf("%s holds %s", disk.device, disk.fstype), "The fence mounts "+strings.Join(fileSystems, ", "))
	}
	if want := a["fstype"]; want != "" && want != kind {
		return probed{}, s.refuse("fstype", fmt.Sprintf("%s holds %s", disk.device, disk.fstype), "Say "+kind+", or leave it out")
	}
	disk.fstype = kind
	return disk, nil
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
func (s *scene) planFstab(keep bool) (before, after string, err error) {
	data, err := s.read(fstabPath)
	if err != nil {
		return "", "", err
	}
	a := s.args
	f := parseFstab(data)
	for _, l := range f.entries() {
		if l.Name == a["name"] {
			continue
		}
		whose := "somebody else's"
		if l.Name != "" {
			whose = "that of " + l.Name
		}
		if l.Path == a["path"] {
			return "", "", s.refuse("path", fmt.Sprintf("%s has a line for it that is %s: %s", fstabPath, whose, clip(l.Text, 200)), "Take that line out, or choose another path")
		}
		if spec := strings.ReplaceAll(l.Spec, `"`, ""); keep && strings.EqualFold(spec, "UUID="+a["uuid"]) {
			return "", "", s.refuse("uuid", fmt.Sprintf("%s has a line for it that is %s: %s", fstabPath, whose, clip(l.Text, 200)), "Take that line out, or declare another disk")
		}
	}
	if keep {
		return string(data), string(f.set(a["name"], fstabEntry(a["name"], a["uuid"], a["path"], a["fstype"], a["options"]))), nil
	}
	return string(data), string(f.drop(a["name"])), nil
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
func (s *scene) mount(disk probed) error {
	a := s.args
	args := []string{"-t", disk.fstype}
	var options []string
	for _, o := range strings.Split(a["options"], ",") {
		if o != "" && o != "nofail" && o != "defaults" && !strings.HasPrefix(o, "x-") {
			options = append(options, o)
		}
	}
	if len(options) > 0 {
		args = append(args, "-o", strings.Join(options, ","))
	}
	_, failed := s.run(mountProgram, append(args, disk.device, a["path"])...)
	table, err := s.hostMounts()
	if err != nil {
		return err
	}
	at, ok := mountedAt(table, a["path"])
	if failed != nil && !(ok && at.source == disk.device) { // systemd may have been faster, by the line that it just read
		return failed
	}
	if !ok || at.source != disk.device {
		return &FailedError{Op: s.op, Reason: fmt.Sprintf("mount answered 0, but %s is not what is mounted at %s", disk.device, a["path"])}
	}
	if p, ok, err := s.probe(disk.device); err != nil || !ok || p.uuid != a["uuid"] {
		if _, e := s.run(umountProgram, a["path"]); e != nil {
			s.note("%s is still mounted: %v", a["path"], e)
		}
		if p.silent {
			return &FailedError{Op: s.op, Reason: disk.device + " " + silence}
		}
		return &FailedError{Op: s.op, Reason: fmt.Sprintf("%s was exchanged for another disk while it was being mounted", disk.device)}
	}
	return nil
}
