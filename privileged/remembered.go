package privileged

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// remembered is what was read on a device, and by what it is known that nothing else can be there now. It is written into a file for the next process of
// the root helper, and answers queries alone.
type remembered struct {
	Print  string   `json:"print"`            // deviceTable.fingerprint
	Others bool     `json:"others,omitempty"` // it was mounted in other namespaces alone, when these were read last
	At     int64    `json:"at"`               // when it was read, in nanoseconds of Unix time
	UUID   string   `json:"uuid,omitempty"`
	Label  string   `json:"label,omitempty"`
	FSType string   `json:"fstype,omitempty"`
	Member string   `json:"member,omitempty"`
	Kinds  []string `json:"kinds,omitempty"`
	ESP    bool     `json:"esp,omitempty"`
	Size   int64    `json:"size,omitempty"` // bytes
	Silent bool     `json:"silent,omitempty"`
}

// rememberedAs is what was found on a device now, of which something else may have been remembered before.
func (t deviceTable) rememberedAs(p probed, d device, before remembered, at time.Time) remembered {
	others := t.othersAlone(d)
	if t.alone {
		others = before.Others
	}
	return remembered{t.fingerprint(d), others, at.UnixNano(), p.uuid, p.label, p.fstype, p.member, p.kinds, p.esp, p.size, p.silent}
}

func (m remembered) probed(device string) probed {
	return probed{device: device, uuid: m.UUID, label: m.Label, fstype: m.FSType, member: m.Member, kinds: m.Kinds, esp: m.ESP, size: m.Size, silent: m.Silent}
}

// onePass is how soon after each other the queries of one pass come.
const onePass = 5 * time.Second

// trusts says whether what is remembered of a device answers for reading it. Nothing that the kernel and udev say of it may have changed, and:
//
//   - it was read for the same pass, whatever came of that; or
//   - it was read since the boot, is not mounted on the host, and udev would have noticed a writer ([device.vouches]).
//
// What the host has mounted is read in every pass: only so is it seen that it no longer answers. That wakes no disk: while it is mounted, the kernel keeps
// the blocks that blkid reads. So is a disk that did not answer, which may answer again without any other sign.
func (t deviceTable) trusts(m remembered, d device, now time.Time) bool {
	if m.Print != t.fingerprint(d) || !t.alone && m.Others != t.othersAlone(d) {
		return false
	}
	if age := now.Sub(time.Unix(0, m.At)); age >= 0 && age < onePass {
		return true
	}
	return t.boot != "" && !t.onHost(d) && d.vouches(m)
}

// fingerprint is equal as long as nothing changed that the kernel and udev say of a device, and the host has it mounted or not, as it had. The numbers of the
// kernel begin again at each boot.
func (t deviceTable) fingerprint(d device) string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%q %q %t", t.boot, d.print(), t.onHost(d))))
}

// othersAlone says whether a device is mounted in other namespaces alone. It is read again when that changes: a file system that is mounted is written by the
// kernel, of which udev is not told.
func (t deviceTable) othersAlone(d device) bool {
	host, others := t.mountedAs(d)
	return len(host) == 0 && len(others) > 0
}

// vouches says whether udev found on a device what is remembered of it, and tells of each later change. systemd-udevd watches disks and their partitions
// (OPTIONS+="watch" in its 60-block.rules: loop, mmcblk, nvme, sd, vd, xvd and others, not hd or what a module made of another kind) with inotify for
// IN_CLOSE_WRITE. When a program that could write closes the device, it has the rules read it again (udev-watch.c), and its partitions too when it was the
// whole disk. The watches are links in /run/udev/watch. It names what it found ID_FS_UUID and so on (udev-builtin-blkid.c), and has no word for a device
// with the signatures of several file systems, so that one is always read.
//
// udev is late: a device that was closed just now has the old entry for some tenths of a second, but then what is read does not agree with it. It is not told
// of what a guest writes to a whole disk that it was given, before that guest stops.
func (d device) vouches(m remembered) bool {
	if d.number == "" || d.seq == "" || !d.watched || m.Silent || len(m.Kinds) > 0 {
		return false
	}
	said := map[string]string{}
	for line := range strings.SplitSeq(d.udev, "\n") {
		if key, value, ok := strings.Cut(line, "="); ok {
			said[key] = value
		}
	}
	return d.udev != "" && said["E:ID_FS_UUID"] == m.UUID && said["E:ID_FS_TYPE"] == m.FSType && said["E:ID_FS_UUID_SUB"] == m.Member
}

// recall reads what earlier queries found; nothing where that cannot be read, for then every disk is read.
func (l *Local) recall() map[string]remembered {
	if l.Dir == "" {
		return map[string]remembered{}
	}
	data, err := readMemory(l.memoryFile())
	if err != nil {
		return map[string]remembered{}
	}
	return parseMemory(data)
}

// mostMemory is what the memory of some thousand devices takes, in bytes; a file that has more is not it.
const mostMemory = 1 << 20

// readMemory reads a file that only this user can have written.
func readMemory(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || int(stat.Uid) != os.Geteuid() || info.Size() > mostMemory {
		return nil, errors.New("it is not what was written")
	}
	return io.ReadAll(io.LimitReader(f, mostMemory))
}

// parseMemory reads what is remembered of devices, without what cannot have been written for one.
func parseMemory(data []byte) map[string]remembered {
	memory := map[string]remembered{}
	if json.Unmarshal(data, &memory) != nil || memory == nil {
		return map[string]remembered{}
	}
	maps.DeleteFunc(memory, func(device string, m remembered) bool { return !m.sound(device) })
	return memory
}

// sound says whether this may be remembered of a device: what is longer than any file system has it is not.
func (m remembered) sound(device string) bool {
	long := func(s string) bool { return len(s) > 1024 }
	return strings.HasPrefix(device, "/dev/") && !long(device) && len(m.Print) == 2*sha256.Size && m.Size >= 0 && len(m.Kinds) <= 64 &&
		!slices.ContainsFunc(m.Kinds, func(kind string) bool { return kind != printable(kind) }) &&
		!slices.ContainsFunc([]string{m.UUID, m.Label, m.FSType, m.Member}, long)
}

// remember keeps what was found for the next process. That it cannot is no error: the disks are read again.
func (l *Local) remember(memory map[string]remembered) {
	if l.Dir == "" {
		return
	}
	maps.DeleteFunc(memory, func(device string, m remembered) bool { return !m.sound(device) })
	data, err := json.Marshal(memory)
	if err != nil || len(data) > mostMemory || os.MkdirAll(l.Dir, 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(l.Dir, "devices-") // two processes may end a query at the same time
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if errors.Join(err, f.Close()) != nil || os.Rename(f.Name(), l.memoryFile()) != nil {
		os.Remove(f.Name())
	}
}

// forget has a device read again that an operation writes to.
func (l *Local) forget(device string) {
	memory := l.recall()
	if _, ok := memory[device]; ok {
		delete(memory, device)
		l.remember(memory)
	}
}

func (l *Local) memoryFile() string { return filepath.Join(l.Dir, "devices.known") }
