package privileged

import (
	"fmt"
	"slices"
	"strings"
)

func (s *scene) unmountUSB() error {
	a := s.args
	if err := s.allowedPath("path"); err != nil {
		return err
	}
	unlock, err := s.local.lockFstab()
	if err != nil {
		return s.failed(err, "cannot lock the fstab")
	}
	defer unlock()
	table, err := s.hostMounts()
	if err != nil {
		return err
	}
	at, mounted := mountedAt(table, a["path"])
	if mounted && a["uuid"] != "" {
		if err := s.letGo(at); err != nil {
			return err
		}
	}
	if a["fstab"] == "1" {
		data, err := s.read(fstabPath)
		if err != nil {
			return err
		}
		if err := s.writeFstab(string(data), string(parseFstab(data).drop(a["name"]))); err != nil {
			return err
		}
	}
	if mounted || a["uuid"] == "" {
		return nil
	}
	return s.unheld()
}

// unheld makes sure that nobody has the disk of the request, which the host does not have mounted at its path: somebody may have unmounted it under a
// running guest.
func (s *scene) unheld() error {
	all, err := s.disksOf(false)
	if err != nil {
		return err
	}
	seen := slices.ContainsFunc(all, func(p probed) bool { return p.uuid == s.args["uuid"] })
	for _, p := range all {
		if p.silent && !seen {
			return &FailedError{Op: s.op, Reason: fmt.Sprintf("%s %s; it may be this disk, so whether that is safe to remove is not known", p.device, silence)}
		}
		if p.uuid != s.args["uuid"] {
			continue
		}
		if err := s.host.Exclusive(p.device); err != nil {
			return &FailedError{Op: s.op, Reason: fmt.Sprintf("%s is not mounted at %s, but still in use, so it is not safe to remove: %v", p.device, s.args["path"], err)}
		}
	}
	return nil
}

// letGo unmounts what is mounted at the path of the request, if it is the disk of the request and no guest has it.
func (s *scene) letGo(at mountLine) error {
	a := s.args
	gone, err := s.gone(at.source)
	if err != nil {
		return err
	}
	if gone {
		return s.unmountDead(at.path)
	}
	disk, ok, err := s.probe(at.source)
	if err != nil {
		return err
	}
	if disk.silent {
		return &FailedError{Op: s.op, Reason: fmt.Sprintf("%s, which is mounted at %s, %s. It is still mounted", at.source, at.path, silence)}
	}
	if !ok || disk.uuid != a["uuid"] {
		return s.refuse("uuid", fmt.Sprintf("%s is what is mounted at %s (UUID %s, label %q)", at.source, at.path, disk.uuid, disk.label), "it is not changed")
	}
	users, err := s.guestsOn(at)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return s.refuse("path", "running guests have it mounted: "+strings.Join(users, ", "), "Stop them first")
	}
	if err := s.host.SyncFS(at.path); err != nil {
		s.note("could not write %s out beforehand: %v", at.path, err)
	}
	for range 4 { // once, but for a disk that somebody mounted over itself
		if _, err := s.run(umountProgram, at.path); err != nil {
			return err
		}
		table, err := s.hostMounts()
		if err != nil {
			return err
		}
		if next, still := mountedAt(table, at.path); !still || next.source != at.source {
			break
		}
	}
	// umount answers 0 while another mount namespace still holds and writes the disk: only an exclusive open tells.
	busy, err := s.held(at.source)
	if err != nil {
		return err
	}
	if busy == nil {
		return nil
	}
	failed := &FailedError{Op: s.op, Reason: fmt.Sprintf("%s is still in use after it was unmounted, so it is not safe to remove: %v", at.source, busy)}
	args := []string{"-t", at.fstype}
	if o := plainOptions(at.options); o != "" {
		args = append(args, "-o", o)
	}
	if _, err := s.run(mountProgram, append(args, at.source, at.path)...); err != nil {
		s.note("%s could not be mounted again at %s: %v", at.source, at.path, err)
	} else {
		failed.Undone = append(failed.Undone, "it was mounted again")
	}
	return failed
}

// held says what still holds the disk of the request: the device that was mounted, or a further one of its file system.
func (s *scene) held(device string) (busy, err error) {
	if busy = s.host.Exclusive(device); busy != nil {
		return busy, nil
	}
	all, err := s.disksOf(false)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.uuid == s.args["uuid"] && p.device != device && p.member != "" {
			if busy = s.host.Exclusive(p.device); busy != nil {
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
func (s *scene) guestsOn(at mountLine) ([]string, error) {
	out, exit, err := s.host.Run(s.ctx, pct, []string{"list"}, nil)
	if err != nil || exit != 0 {
		return nil, &FailedError{Op: s.op, Program: pct, Args: []string{"list"}, Exit: exit, Output: tail(string(out), maxTail)}
	}
	var users []string
	for _, line := range strings.Split(string(out), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 || f[1] != "running" || vmid(f[0]) != "" {
			continue
		}
		table, err := s.tableOf(f[0])
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(table, func(l mountLine) bool { return l.major == at.major && l.minor == at.minor }) {
			users = append(users, fmt.Sprintf("%s (%s)", f[0], f[len(f)-1]))
		}
	}
	return users, nil
}
