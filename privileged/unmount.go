package privileged

import (
	"fmt"
	"slices"
	"strings"
)

func unmountUSB(j *job) error {
	a := j.args
	if err := j.allowedPath("path"); err != nil {
		return err
	}
	unlock, err := j.local.lockFstab()
	if err != nil {
		return j.failed(err, "cannot lock the fstab")
	}
	defer unlock()
	table, err := j.hostMounts()
	if err != nil {
		return err
	}
	at, mounted := mountedAt(table, a["path"])
	if mounted && a["uuid"] != "" {
		if err := j.letGo(at); err != nil {
			return err
		}
	}
	if a["fstab"] == "1" {
		data, err := j.read(fstabPath)
		if err != nil {
			return err
		}
		if err := j.writeFstab(string(data), string(parseFstab(data).drop(a["name"]))); err != nil {
			return err
		}
	}
	if mounted || a["uuid"] == "" {
		return nil
	}
	return j.unheld()
}

// unheld makes sure that nobody has the disk of the request, which the host does not have mounted at its path: somebody may have unmounted it under a
// running guest.
func (r diskReader) unheld() error {
	all, err := r.disks()
	if err != nil {
		return err
	}
	seen := slices.ContainsFunc(all, func(p probed) bool { return p.uuid == r.args["uuid"] })
	for _, p := range all {
		if p.silent && !seen {
			return &FailedError{Op: r.op, Reason: fmt.Sprintf("%s %s; it may be this disk, so whether that is safe to remove is not known", p.device, silence)}
		}
		if p.uuid != r.args["uuid"] {
			continue
		}
		if err := r.host.Exclusive(p.device); err != nil {
			return &FailedError{Op: r.op, Reason: fmt.Sprintf("%s is not mounted at %s, but still in use, so it is not safe to remove: %v", p.device, r.args["path"], err)}
		}
	}
	return nil
}

// letGo unmounts what is mounted at the path of the request, if it is the disk of the request and no guest has it.
func (j *job) letGo(at mountLine) error {
	a := j.args
	gone, err := j.gone(at.source)
	if err != nil {
		return err
	}
	if gone {
		return j.unmountDead(at.path)
	}
	disk, ok, err := j.probe(at.source)
	if err != nil {
		return err
	}
	if disk.silent {
		return &FailedError{Op: j.op, Reason: fmt.Sprintf("%s, which is mounted at %s, %s. It is still mounted", at.source, at.path, silence)}
	}
	if !ok || disk.uuid != a["uuid"] {
		return j.refuse("uuid", fmt.Sprintf("%s is what is mounted at %s (UUID %s, label %q)", at.source, at.path, disk.uuid, disk.label), "it is not changed")
	}
	users, err := j.guestsOn(at)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return j.refuse("path", "running guests have it mounted: "+strings.Join(users, ", "), "Stop them first")
	}
	if err := j.host.SyncFS(at.path); err != nil {
		j.note("could not write %s out beforehand: %v", at.path, err)
	}
	j.local.forget(at.source)
	if err := j.unmount(at); err != nil {
		return err
	}
	// umount answers 0 while another mount namespace still holds and writes the disk: only an exclusive open tells.
	busy, err := j.held(at)
	if err != nil {
		return err
	}
	if busy == nil {
		return nil
	}
	return j.mountAgain(at, busy)
}

// unmount unmounts a disk: once, but for one that somebody mounted over itself.
func (j *job) unmount(at mountLine) error {
	for range 4 {
		if _, err := j.run(umountProgram, at.path); err != nil {
			return err
		}
		table, err := j.hostMounts()
		if err != nil {
			return err
		}
		if next, still := mountedAt(table, at.path); !still || next.source != at.source {
			break
		}
	}
	return nil
}

// mountAgain takes the unmounting of a disk back that is still in use, and says so.
func (j *job) mountAgain(at mountLine, busy error) error {
	failed := &FailedError{Op: j.op, Reason: fmt.Sprintf("%s is still in use after it was unmounted, so it is not safe to remove: %v", at.source, busy)}
	args := []string{"-t", at.fstype}
	if o := plainOptions(at.options); o != "" {
		args = append(args, "-o", o)
	}
	if _, err := j.run(mountProgram, append(args, at.source, at.path)...); err != nil {
		j.note("%s could not be mounted again at %s: %v", at.source, at.path, err)
	} else {
		failed.Undone = append(failed.Undone, "it was mounted again")
	}
	return failed
}

// held says what still holds the disk of the request: the device that was mounted, or a further one of its file system.
// Only a btrfs has several: for another one no sleeping disk is woken.
func (r diskReader) held(at mountLine) (busy, err error) {
	if busy = r.host.Exclusive(at.source); busy != nil || at.fstype != "btrfs" {
		return busy, nil
	}
	all, err := r.disks()
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.uuid == r.args["uuid"] && p.device != at.source && p.member != "" {
			if busy = r.host.Exclusive(p.device); busy != nil {
				return busy, nil
			}
		}
	}
	return nil, nil
}

// plainOptions are the mount options of a mount table that every file system takes.
func plainOptions(options []string) string {
	var plain []string
	for _, o := range options {
		switch o {
		case "ro", "noatime", "nodiratime", "relatime", "lazytime", "nosuid", "nodev", "noexec":
			plain = append(plain, o)
		}
	}
	return strings.Join(plain, ",")
}

// guestsOn are the running containers that have this file system mounted, as "112 (jellyfin)".
func (r reader) guestsOn(at mountLine) ([]string, error) {
	out, exit, err := r.host.Run(r.ctx, pct, []string{"list"}, nil)
	if err != nil || exit != 0 {
		return nil, &FailedError{Op: r.op, Program: pct, Args: []string{"list"}, Exit: exit, Output: tail(string(out), maxTail)}
	}
	var users []string
	for _, line := range strings.Split(string(out), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 || f[1] != "running" || vmid(f[0]) != "" {
			continue
		}
		table, err := r.tableOf(f[0])
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(table, func(l mountLine) bool { return l.major == at.major && l.minor == at.minor }) {
			users = append(users, fmt.Sprintf("%s (%s)", f[0], f[len(f)-1]))
		}
	}
	return users, nil
}
