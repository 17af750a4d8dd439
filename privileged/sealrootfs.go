package privileged

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// hostKeyUnit makes SSH host keys at the first boot of a copy.
const hostKeyUnit = `# Written by felhom-agent when this container was sealed: every copy of it makes SSH host keys of its own.
[Unit]
Description=Make SSH host keys of this container's own
ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key
Before=ssh.service sshd.service ssh.socket

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target ssh.service sshd.service
`

const hostKeyName = "felhom-ssh-host-keys.service"

// SealRootfs implements [Host]. Every access goes through [os.Root]: the container's symbolic links cannot lead out of it.
func (m *Machine) SealRootfs(name string) (done []string, err error) {
	handle, err := m.walk(name)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", handle.Fd()))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return seal(root)
}

func seal(root *os.Root) (done []string, err error) {
	etc, err := root.Lstat("etc")
	if err != nil || !etc.IsDir() {
		return nil, errors.Join(errors.New("there is no root file system of a container: no directory etc"), err)
	}
	owner := etc.Sys().(*syscall.Stat_t) // the container's root, as the host numbers it
	step := func(what string, err error) error {
		if err == nil {
			done = append(done, what)
		}
		return err
	}

	if info, err := root.Lstat("etc/machine-id"); err == nil || exists(root, "usr/lib/systemd/systemd") {
		if err == nil && !info.Mode().IsRegular() {
			if err := root.Remove("etc/machine-id"); err != nil {
				return done, err
			}
		}
		if err := step("machine-id is empty", write(root, "etc/machine-id", "", owner)); err != nil {
			return done, err
		}
	}
	// A second copy of it; systemd and D-Bus make it anew. Usually a link to the first.
	if info, err := root.Lstat("var/lib/dbus/machine-id"); err == nil && info.Mode().IsRegular() {
		if err := step("D-Bus machine-id is gone", root.Remove("var/lib/dbus/machine-id")); err != nil {
			return done, err
		}
	}
	for _, twin := range []string{"var/lib/systemd/random-seed", "var/lib/systemd/credential.secret"} {
		if info, err := root.Lstat(twin); err == nil && !info.IsDir() {
			if err := step(path.Base(twin)+" is gone", root.Remove(twin)); err != nil {
				return done, err
			}
		}
	}
	keys := 0
	for _, dir := range []string{"etc/ssh", "etc/dropbear"} {
		n, err := removeKeys(root, dir)
		keys += n
		if err != nil {
			return done, err
		}
	}
	if keys > 0 {
		done = append(done, fmt.Sprintf("%d SSH host key files are gone", keys))
	}
	if exists(root, "usr/lib/systemd/systemd") && exists(root, "usr/bin/ssh-keygen") {
		if err := step("new SSH host keys are made at the first boot", writeUnit(root, owner)); err != nil {
			return done, err
		}
	}
	return done, nil
}

// exists follows links as far as they stay within the container.
func exists(root *os.Root, name string) bool {
	_, err := root.Stat(name)
	return err == nil
}

func removeKeys(root *os.Root, dir string) (n int, err error) {
	d, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	names, err := d.Readdirnames(-1)
	d.Close()
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		key := strings.HasPrefix(name, "ssh_host_") && (strings.HasSuffix(name, "_key") || strings.HasSuffix(name, "_key.pub")) ||
			strings.HasPrefix(name, "dropbear_") && strings.HasSuffix(name, "_host_key")
		if !key {
			continue
		}
		if err := root.Remove(dir + "/" + name); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// writeUnit puts the first-boot unit in its place and enables it as its [Install] section says.
func writeUnit(root *os.Root, owner *syscall.Stat_t) error {
	if err := mkdirs(root, "etc/systemd/system/multi-user.target.wants", owner); err != nil {
		return err
	}
	if err := write(root, "etc/systemd/system/"+hostKeyName, hostKeyUnit, owner); err != nil {
		return err
	}
	for _, unit := range []string{"multi-user.target", "ssh.service", "sshd.service"} {
		dir := "etc/systemd/system/" + unit + ".wants"
		if err := mkdirs(root, dir, owner); err != nil {
			return err
		}
		link := dir + "/" + hostKeyName
		if err := root.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := root.Symlink("../"+hostKeyName, link); err != nil {
			return err
		}
		if err := root.Lchown(link, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	return nil
}

// mkdirs makes a directory and those that lead to it, owned by the container's root.
func mkdirs(root *os.Root, dir string, owner *syscall.Stat_t) error {
	at := ""
	for _, part := range strings.Split(dir, "/") {
		at = path.Join(at, part)
		err := root.Mkdir(at, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := root.Lchown(at, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	return nil
}

// write replaces a file by a new one: a link or a file with many names in its place is not written through.
func write(root *os.Root, name, text string, owner *syscall.Stat_t) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Chown(int(owner.Uid), int(owner.Gid)), f.Chmod(0o644), f.Sync(), f.Close())
}
