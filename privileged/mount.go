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

func (r reader) hostMounts() ([]mountLine, error) {
	data, err := r.host.MountInfo(1)
	if err != nil {
		return nil, &FailedError{Op: r.op, Reason: "cannot read the host's mount table: " + err.Error()}
	}
	return parseMountInfo(data), nil
}

func mountUSB(j *job) error {
	if err := j.allowedPath("path"); err != nil {
		return err
	}
	unlock, err := j.local.lockFstab()
	if err != nil {
		return j.failed(err, "cannot lock the fstab")
	}
	defer unlock()
	m := mountSpecOf(j.args)
	disks, at, err := j.mountable(m)
	if err != nil {
		return err
	}
	m = m.On(disks[0])
	text, err := j.read(fstabPath)
	if err != nil {
		return err
	}
	before := string(text)
	after, refused := m.fstabOf(text)
	if refused != nil {
		return refused
	}
	if at.Mounted && at.Gone { // what is left of a disk that was pulled
		if err := j.unmountDead(m.Path); err != nil {
			return err
		}
		at.Mounted = false
	}
	if !at.Mounted {
		if err := j.freeDisk(disks); err != nil {
			return err
		}
		if err := j.makeMountPoint(m.Path); err != nil {
			return err
		}
	}
	if err := j.writeFstab(before, after); err != nil {
		return err
	}
	if at.Mounted {
		return j.harden(at)
	}
	if err := j.mount(disks); err != nil {
		err = j.failed(err, "cannot mount "+disks[0].Device)
		failed := &FailedError{}
		if errors.As(err, &failed) && before != after {
			if e := j.writeFstab(after, before); e != nil {
				j.note("the agent's line in %s could not be removed again: %v", fstabPath, e)
			} else {
				failed.Undone = append(failed.Undone, "the agent's line in "+fstabPath+" was taken back")
			}
		}
		return err
	}
	return nil
}

func (j *job) makeMountPoint(at string) error {
	immutable, err := j.machine.MakeMountPoint(at)
	if err != nil {
		return j.failed(err, "cannot make the mount point "+at)
	}
	if !immutable {
		j.note("the empty mount point %s could not be made immutable: while the disk is disconnected, writes to it fill the disk below", at)
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

// mountable is the disk of the request, as it is now, and what is mounted at its path.
func (r diskReader) mountable(m MountSpec) (disks []Disk, at Mount, err error) {
	t, err := r.deviceTable()
	if err != nil {
		return nil, at, err
	}
	all, err := r.probeAll(t, t.unlisted())
	if err != nil {
		return nil, at, err
	}
	mounts, err := r.mountsWith(all)
	if err != nil {
		return nil, at, err
	}
	p, err := r.policy()
	if err != nil {
		return nil, at, err
	}
	disks, refused := Mountable(m, t.list(all, p), mounts)
	if refused != nil {
		return nil, at, refused
	}
	if i := slices.IndexFunc(mounts, func(at Mount) bool { return at.Path == m.Path }); i >= 0 {
		at = mounts[i]
	}
	return disks, at, nil
}

// freeDisk makes sure that nothing has the disk: the kernel knows of more than any table shows.
func (r diskReader) freeDisk(disks []Disk) error {
	for _, d := range disks {
		if err := r.host.Exclusive(d.Device); err != nil {
			return r.refuse("uuid", fmt.Sprintf("%s is in use: %v", d.Device, err), "find its user: lsblk "+d.Device+"; lsns -t mnt")
		}
	}
	return nil
}

// Hardened says whether a mount gives no user of the host root by what is on the disk.
func Hardened(at Mount) bool {
	return !slices.ContainsFunc(safeOptions, func(o string) bool { return !slices.Contains(at.Options, o) })
}

// harden takes the power to give root from a disk that somebody mounted without nosuid and nodev.
func (j *job) harden(at Mount) error {
	if Hardened(at) {
		return nil
	}
	options := append([]string{"remount", "bind"}, safeOptions...)
	for _, o := range []string{"ro", "noexec", "noatime", "nodiratime"} { // a remount sets all of them
		if slices.Contains(at.Options, o) && !(o == "ro" && slices.Contains(at.Options, "rw")) {
			options = append(options, o)
		}
	}
	_, err := j.run(mountProgram, "-o", strings.Join(options, ","), at.Path)
	return err
}

// gone says whether a device that is still mounted is no longer there.
func (r reader) gone(device string) (bool, error) {
	if !strings.HasPrefix(device, "/dev/") {
		return false, nil
	}
	devices, err := r.host.BlockDevices()
	if err != nil {
		return false, r.failed(err, "cannot list the block devices")
	}
	if slices.Contains(devices, device) {
		return false, nil
	}
	_, _, err = r.host.Stat(device)
	return errors.Is(err, fs.ErrNotExist), nil
}

func (j *job) unmountDead(at string) error {
	if _, err := j.run(umountProgram, at); err == nil {
		return nil
	}
	// Something still has files open on a disk that is no longer there: no more can be lost by letting go of it.
	if _, err := j.run(umountProgram, "-l", at); err != nil {
		return err
	}
	j.note("the disk that was mounted at %s is gone; something still has files of it open", at)
	return nil
}

// writeFstab replaces the fstab and lets systemd read it, where systemd runs.
func (j *job) writeFstab(before, after string) error {
	if before == after {
		return nil
	}
	if err := j.machine.ReplaceFile(fstabPath, []byte(before), []byte(after)); err != nil {
		return j.failed(err, "cannot write "+fstabPath)
	}
	if mode, _, err := j.host.Stat("/run/systemd/system"); err == nil && mode.IsDir() {
		if _, err := j.run(systemctl, "daemon-reload"); err != nil {
			j.note("%s is written, but systemd did not read it: %v. As root: systemctl daemon-reload", fstabPath, err)
		}
	}
	return nil
}

// mount mounts the disk and makes sure that it is what is then seen at the path.
func (j *job) mount(disks []Disk) error {
	a, disk := j.args, disks[0]
	options := slices.Clone(safeOptions)
	for _, o := range strings.Split(a["options"], ",") {
		if o != "" && o != "nofail" && o != "defaults" && !strings.HasPrefix(o, "x-") && !slices.Contains(safeOptions, o) {
			options = append(options, o)
		}
	}
	for _, d := range disks {
		j.local.forget(d.Device)
	}
	_, failed := j.run(mountProgram, "-t", disk.driver(), "-o", strings.Join(options, ","), disk.Device, a["path"])
	table, err := j.hostMounts()
	if err != nil {
		return err
	}
	at, ok := mountedAt(table, a["path"])
	right := ok && slices.ContainsFunc(disks, func(d Disk) bool { return d.Device == at.source })
	if failed != nil && !right { // systemd may have been faster, by the line that it just read
		return failed
	}
	if !right {
		return &FailedError{Op: j.op, Reason: fmt.Sprintf("mount answered 0, but %s is not what is mounted at %s", disk.Device, a["path"])}
	}
	if p, ok, err := j.probe(at.source); err != nil || !ok || p.uuid != a["uuid"] {
		if _, e := j.run(umountProgram, a["path"]); e != nil {
			j.note("%s is still mounted: %v", a["path"], e)
		}
		if p.silent {
			return &FailedError{Op: j.op, Reason: at.source + " " + silence}
		}
		return &FailedError{Op: j.op, Reason: fmt.Sprintf("%s was exchanged for another disk while it was being mounted", at.source)}
	}
	return nil
}
