package privileged

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// noDisk are RAM disks, optical drives, and the volumes of volume managers with their partitions, which on this host are the guests' own.
var noDisk = regexp.MustCompile(`\A(ram|zram|sr|fd|dm-|zd|nbd|rbd|drbd)[0-9]+(p[0-9]+)?\z`)

// BlockDevices implements [Host]: what the kernel lists, without what holds no file system of a disk.
func (m *Machine) BlockDevices() ([]string, error) {
	data, err := os.ReadFile(m.root + "/proc/partitions")
	if err != nil {
		return nil, err
	}
	var devices []string
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] == "major" || f[2] == "0" {
			continue
		}
		if !noDisk.MatchString(f[3]) {
			devices = append(devices, "/dev/"+strings.ReplaceAll(f[3], "!", "/"))
		}
	}
	return devices, nil
}

// MountInfo implements [Host].
func (m *Machine) MountInfo(pid int) ([]byte, error) {
	data, err := os.ReadFile(m.root + "/proc/" + strconv.Itoa(pid) + "/mountinfo")
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL) { // it ended while it was read
		return nil, fs.ErrNotExist
	}
	return data, err
}

// MountTables implements [Host]. A process that ends meanwhile is passed over: its namespace ends with it, or another process is in it too.
func (m *Machine) MountTables() ([][]byte, error) {
	host, err := m.MountInfo(1)
	if err != nil {
		return nil, err
	}
	tables := [][]byte{host}
	own, _ := os.Readlink(m.root + "/proc/1/ns/mnt")
	seen := map[string]bool{own: true}
	names, err := m.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		namespace, err := os.Readlink(m.root + "/proc/" + name + "/ns/mnt")
		if err != nil || seen[namespace] {
			continue
		}
		table, err := m.MountInfo(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		seen[namespace] = true
		tables = append(tables, table)
	}
	return tables, nil
}

// ReadDir implements [Host].
func (m *Machine) ReadDir(name string) ([]string, error) {
	dir, err := os.Open(m.root + name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}
