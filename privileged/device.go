package privileged

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// device is a block device as the kernel and udev describe it. Reading it does not wake a disk.
type device struct {
	path    string   // /dev/sdb1
	disk    string   // the whole disk that it is a part of, or itself
	number  string   // major:minor
	size    string   // in sectors of 512 bytes, as the kernel prints it
	seq     string   // of the whole disk: another number for every disk that was ever connected since the boot (kernel: diskseq)
	udev    string   // the entry in udev's database
	watched bool     // udev reads it again whenever a program that could write closes it
	holders []string // what the kernel built on it: dm-0, md0, bcache0
	swap    bool
}

// print is equal as long as nothing changed that the kernel and udev say of a device. Whether its content is the same, too, is for [device.vouches] to say.
func (d device) print() string { return strings.Join([]string{d.number, d.size, d.seq, d.udev}, "\n") }

// espType is how a GPT, and how an MBR, marks an EFI system partition.
var espType = regexp.MustCompile(`(?m)^(E:ID_)?PART_ENTRY_TYPE=(c12a7328-f81f-11d2-ba4b-00a0c93ec93b|0xef)$`)

// plainDisk are whole disks and their partitions. Whatever else the kernel calls a block device (loop, md, dm-, zram, nbd, ram, rbd, zd, bcache) is part
// of the host or of a guest, and is never mounted, whatever root's policy says.
var plainDisk = regexp.MustCompile(`\A/dev/((sd|vd|xvd|hd)[a-z]+[0-9]*|nvme[0-9]+n[0-9]+(p[0-9]+)?|mmcblk[0-9]+(p[0-9]+)?)\z`)

// deviceTable are the block devices of a host, with what is mounted in any of its mount namespaces.
type deviceTable struct {
	boot    string // of this boot of the host alone; "" where it is not known
	devices []device
	mounts  []mountLine // of every mount namespace; of the host's own first
	host    int         // how many of mounts are the host's own
	alone   bool        // the tables of the other namespaces were not read
}

// refusal says why the root helper never mounts a device, or "". It is about the device alone, whatever file system is on it; where it is mounted is
// another matter (mountedAs).
func (t deviceTable) refusal(p policy, name string) string {
	i := slices.IndexFunc(t.devices, func(d device) bool { return d.path == name })
	switch {
	case !plainDisk.MatchString(name):
		return name + " is not a disk or partition, but a device that the host or a guest created"
	case i < 0:
		return name + " no longer exists"
	case !slices.ContainsFunc(p.Disks, func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok }):
		return fmt.Sprintf("root's policy does not allow %s; it allows %s (disks in %s)", name, strings.Join(p.Disks, ", "), PolicyPath)
	}
	for _, d := range t.devices {
		if d.path == name || d.disk == name && t.devices[i].disk == name || d.path == t.devices[i].disk { // itself, its partitions, its disk
			if use := d.use(); use != "" {
				return use
			}
		}
		if d.path == name || d.disk != name && d.path != t.devices[i].disk {
			continue
		}
		if host, others := t.mountedAs(d); len(host)+len(others) > 0 {
			return fmt.Sprintf("%s, which overlaps %s, is mounted at %s", d.path, name, append(host, others...)[0])
		}
	}
	return ""
}

// use says what a device is used for without being mounted.
func (d device) use() string {
	switch {
	case len(d.holders) > 0:
		return fmt.Sprintf("%s is used by %s", d.path, strings.Join(d.holders, ", "))
	case d.swap:
		return d.path + " is swap space of this host"
	case strings.Contains(d.udev, "PART_ENTRY_TYPE=") && espType.MatchString(d.udev):
		return d.path + " is an EFI system partition"
	}
	return ""
}

// mountedAs says where a device is mounted on the host, and where in other mount namespaces.
func (t deviceTable) mountedAs(d device) (host, others []string) {
	for i, l := range t.mounts {
		if !l.of(d) {
			continue
		}
		if i < t.host {
			host = append(host, l.path)
		} else if !slices.Contains(others, l.path) {
			others = append(others, l.path)
		}
	}
	return host, others
}

// onHost says whether the host itself has a device mounted.
func (t deviceTable) onHost(d device) bool {
	return slices.ContainsFunc(t.mounts[:t.host], func(l mountLine) bool { return l.of(d) })
}

// of says whether a line of a mount table shows a device. A btrfs has a device number of its own, so its source counts too.
func (l mountLine) of(d device) bool {
	return l.source == d.path || l.major != 0 && d.number == fmt.Sprintf("%d:%d", l.major, l.minor)
}

// diskReader reads what is on the disks of the machine, and where they are mounted.
type diskReader struct{ reader }

// devices reads what the kernel and udev know of the block devices, in the order of their names.
func (r diskReader) devices() ([]device, error) {
	names, err := r.host.BlockDevices()
	if err != nil {
		return nil, r.failed(err, "cannot list the block devices")
	}
	names = slices.Clone(names)
	slices.Sort(names)
	swaps, err := r.read("/proc/swaps")
	if err != nil {
		return nil, err
	}
	watched, _ := r.host.ReadDir("/run/udev/watch") // by number, b8:17; without a udev nothing is
	var devices []device
	for _, name := range names {
		base := "/sys/class/block/" + strings.ReplaceAll(strings.TrimPrefix(name, "/dev/"), "/", "!")
		whole := parent(name)
		d := device{path: name, disk: whole, number: r.fact(base + "/dev"), size: r.fact(base + "/size")}
		d.seq = r.fact("/sys/class/block/" + strings.TrimPrefix(whole, "/dev/") + "/diskseq")
		if d.number != "" {
			d.udev = r.fact("/run/udev/data/b" + d.number)
			d.watched = slices.Contains(watched, "b"+d.number)
		}
		if d.holders, err = r.host.ReadDir(base + "/holders"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, r.failed(err, "cannot read the holders of "+name)
		}
		d.swap = slices.ContainsFunc(strings.Split(string(swaps), "\n"), func(line string) bool { return strings.HasPrefix(line, name+" ") || strings.HasPrefix(line, name+"\t") })
		devices = append(devices, d)
	}
	return devices, nil
}

// deviceTable joins the block devices with what is mounted.
func (r diskReader) deviceTable() (deviceTable, error) { return r.joined(r.host.MountTables) }

// hostTable joins the block devices with what the host itself has mounted.
func (r diskReader) hostTable() (deviceTable, error) {
	t, err := r.joined(func() ([][]byte, error) {
		table, err := r.host.MountInfo(1)
		return [][]byte{table}, err
	})
	t.alone = true
	return t, err
}

func (r diskReader) joined(mountTables func() ([][]byte, error)) (t deviceTable, err error) {
	if t.devices, err = r.devices(); err != nil {
		return deviceTable{}, err
	}
	t.boot = r.fact("/proc/sys/kernel/random/boot_id")
	tables, err := mountTables()
	if err != nil {
		return deviceTable{}, r.failed(err, "cannot read the mount tables")
	}
	for i, table := range tables {
		t.addMounts(table, i == 0)
	}
	return t, nil
}

// addMounts adds what a mount table shows of block devices: most lines are of the kernel's own file systems.
func (t *deviceTable) addMounts(table []byte, host bool) {
	var kept strings.Builder
	for line := range strings.SplitSeq(string(table), "\n") {
		if strings.Contains(line, " /dev/") || !strings.Contains(line, " 0:") {
			kept.WriteString(line + "\n")
		}
	}
	for _, l := range parseMountInfo([]byte(kept.String())) {
		if strings.HasPrefix(l.source, "/dev/") || l.major != 0 {
			t.mounts = append(t.mounts, l)
		}
	}
	if host {
		t.host = len(t.mounts)
	}
}
