package privileged

import (
	"fmt"
	"slices"
	"strings"
)

// Mountable says which disk [MountUSBByUUID] mounts for m, or why it refuses. A plan asks it with what [Disks] and [Mounts] answered, and the root helper
// asks it again before it acts: what a plan promises is not refused, as long as nothing changed. The first disk is the one to mount; the others are the
// further devices of its file system.
func Mountable(m MountSpec, disks []Disk, mounts []Mount) ([]Disk, *RefusedError) {
	refuse := func(arg, value, reason, fix string) ([]Disk, *RefusedError) {
		return nil, &RefusedError{Op: "MountUSBByUUID", Arg: arg, Value: value, Reason: reason, Fix: fix}
	}
	var found []Disk
	for _, d := range disks {
		if d.UUID == m.UUID {
			found = append(found, d)
		} else if strings.EqualFold(d.UUID, m.UUID) {
			return refuse("uuid", m.UUID, fmt.Sprintf("the UUID of %s is %s", d.Device, d.UUID), "uuid: "+d.UUID)
		}
	}
	if len(found) == 0 {
		_, missing := refuse("uuid", m.UUID, "no connected disk has this UUID"+Unreadable(disks), "connect it")
		missing.Missing = true
		return nil, missing
	}
	kind := found[0].driver()
	if !slices.Contains(fileSystems, kind) {
		return refuse("uuid", m.UUID, fmt.Sprintf("%s holds %s", found[0].Device, holds(found[0].FSType)), "declare a disk with "+strings.Join(fileSystems, ", "))
	}
	if m.FSType != "" && m.FSType != kind {
		return refuse("fstype", m.FSType, fmt.Sprintf("%s holds %s", found[0].Device, found[0].FSType), "fstype: "+kind+", or leave it out")
	}
	if len(found) > 1 && !oneFileSystem(found) {
		return refuse("uuid", m.UUID, fmt.Sprintf("%s have the same UUID %s: one is a copy of the other", devicesOf(found), m.UUID), copyFix(found))
	}
	for _, d := range found {
		if d.Blocked != "" {
			return refuse("uuid", m.UUID, d.Blocked, "declare another disk")
		}
		here := slices.Contains(d.Mounted, m.Path)
		for _, at := range d.Mounted {
			if at != m.Path {
				return refuse("uuid", m.UUID, fmt.Sprintf("the disk %s (%s) is mounted at %s", m.UUID, d.Device, at), "as root: umount "+quote(at)+", or declare that path")
			}
		}
		if len(d.Others) > 0 && !here && !atPath(m, mounts) {
			return refuse("uuid", m.UUID, fmt.Sprintf("%s is mounted in another mount namespace, of a guest or a service, at %s", d.Device, strings.Join(d.Others, ", ")),
				"stop the guest or service that has it: findmnt -A, lsns -t mnt")
		}
	}
	if refused := pathTaken(m, mounts); refused != nil {
		return nil, refused
	}
	return found, nil
}

// pathTaken says what at the path of a mount, or in /etc/fstab, is not its own.
func pathTaken(m MountSpec, mounts []Mount) *RefusedError {
	for _, at := range mounts {
		refused := &RefusedError{Op: "MountUSBByUUID", Arg: "path", Value: m.Path}
		if at.Fstab != nil {
			if other := m.otherLine(*at.Fstab); other != nil {
				return other
			}
		}
		if at.Path != m.Path {
			continue
		}
		switch {
		case at.Auto && !at.Mounted:
			refused.Reason, refused.Fix = "an automount unit serves "+m.Path, at.stopAutomount()+", or choose another path"
		case at.Mounted && at.Silent:
			refused.Reason, refused.Fix = fmt.Sprintf("%s, which is mounted there, %s", at.Source, silence), "see dmesg"
		case at.Mounted && !at.Gone && at.UUID != m.UUID:
			other := at.Source
			if at.UUID != "" {
				other = fmt.Sprintf("%s (UUID %s, label %q)", at.Source, at.UUID, at.Label)
			}
			refused.Reason, refused.Fix = "another file system is mounted there: "+other, "as root: umount "+quote(m.Path)+", or choose another path"
		default:
			continue
		}
		return refused
	}
	return nil
}

// stopAutomount is how root ends the automount unit at a path. One that a line of /etc/fstab made cannot be disabled.
func (at Mount) stopAutomount() string {
	verb := "disable --now"
	if at.Fstab != nil && strings.Contains(at.Fstab.Text, "x-systemd.automount") {
		verb = "stop"
	}
	return "as root: systemctl " + verb + ` "$(systemd-escape -p --suffix=automount ` + quote(at.Path) + `)"`
}

func atPath(m MountSpec, mounts []Mount) bool {
	return slices.ContainsFunc(mounts, func(at Mount) bool { return at.Path == m.Path && at.Mounted && at.UUID == m.UUID })
}

// otherLine refuses a mount whose path or disk a line of /etc/fstab that is not its own has; nil for any other line.
func (m MountSpec) otherLine(l FstabLine) *RefusedError {
	line := clip(strings.Join(strings.Fields(l.Text), " "), 200)
	switch {
	case l.Name == m.Name:
	case l.Path == m.Path:
		return &RefusedError{Op: "MountUSBByUUID", Arg: "path", Value: m.Path, Reason: fmt.Sprintf("%s belongs to another line of %s: %s", m.Path, fstabPath, line),
			Fix: "remove that line: the agent writes its own; or choose another path"}
	case m.Fstab && strings.EqualFold(strings.ReplaceAll(l.Spec, `"`, ""), "UUID="+m.UUID):
		return &RefusedError{Op: "MountUSBByUUID", Arg: "uuid", Value: m.UUID, Reason: fmt.Sprintf("the disk %s belongs to another line of %s: %s", m.UUID, fstabPath, line),
			Fix: "remove that line: the agent writes its own; or declare path: " + l.Path}
	}
	return nil
}

// On is m for the disk that it mounts: the driver in the kernel has another name than some file systems, and /etc/fstab must name the driver.
func (m MountSpec) On(d Disk) MountSpec {
	if m.FSType == "" && d.driver() != d.FSType {
		m.FSType = d.driver()
	}
	return m
}

// driver is what the kernel calls the file system of a disk.
func (d Disk) driver() string {
	if d.FSType == "ntfs" {
		return "ntfs3"
	}
	return d.FSType
}

// oneFileSystem says whether several devices with one UUID are the devices of one file system and not copies.
func oneFileSystem(disks []Disk) bool {
	members := map[string]bool{}
	for _, d := range disks {
		if d.FSType != "btrfs" || d.Member == "" || members[d.Member] {
			return false
		}
		members[d.Member] = true
	}
	return true
}

// copyFix is how a copy of a file system gets a UUID of its own.
func copyFix(disks []Disk) string {
	tool := map[string]string{"ext2": "tune2fs -U random", "ext3": "tune2fs -U random", "ext4": "tune2fs -U random", "xfs": "xfs_admin -U generate", "btrfs": "btrfstune -u"}[disks[0].FSType]
	if tool == "" {
		return "disconnect all but one"
	}
	return fmt.Sprintf("disconnect all but one, or give the copy a UUID of its own (%s DEVICE, unmounted)", tool)
}

// Unreadable goes on from "is not connected" where disks do not say what is on them, so that one of them may be it; "" where all do.
func Unreadable(disks []Disk) string {
	var silent, mixed []string
	for _, d := range disks {
		if d.Silent {
			silent = append(silent, d.Device)
		}
		if len(d.Kinds) > 0 {
			mixed = append(mixed, fmt.Sprintf("%s (%s)", d.Device, strings.Join(d.Kinds, ", ")))
		}
	}
	text := ""
	if len(silent) > 0 {
		text += fmt.Sprintf(", or is one that does not answer (%s: it or its cable may be failing; see dmesg)", strings.Join(silent, ", "))
	}
	if len(mixed) > 0 {
		text += fmt.Sprintf(", or is one with the signatures of several file systems: %s (wipefs DEVICE lists them, wipefs -o OFFSET DEVICE removes an old one)", strings.Join(mixed, ", "))
	}
	return text
}

// holds names what is on a disk that is not mounted, in words that say what it is.
func holds(fstype string) string {
	switch fstype {
	case "crypto_LUKS":
		return "an encrypted volume (crypto_LUKS), which the root helper does not open"
	case "LVM2_member":
		return "a part of an LVM volume group (LVM2_member), no file system"
	case "zfs_member":
		return "a part of a ZFS pool (zfs_member), no file system of its own"
	case "linux_raid_member":
		return "a part of a RAID (linux_raid_member), no file system of its own"
	case "swap":
		return "swap space"
	}
	return fstype + ", which the root helper does not mount"
}

func devicesOf(disks []Disk) string {
	var devices []string
	for _, d := range disks {
		devices = append(devices, d.Device)
	}
	if len(devices) < 2 {
		return strings.Join(devices, "")
	}
	return strings.Join(devices[:len(devices)-1], ", ") + " and " + devices[len(devices)-1]
}
