package privileged

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
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

// The folders of a container in which the seal works, and the files there that make copies of it twins.
const (
	etc     = "etc"
	units   = "etc/systemd/system"
	dbus    = "var/lib/dbus"
	systemd = "var/lib/systemd"
)

var (
	sealedFolders = append([]string{etc, dbus, systemd, units, "etc/ssh", "etc/dropbear"}, wants...)
	wants         = []string{units + "/multi-user.target.wants", units + "/ssh.service.wants", units + "/sshd.service.wants"}
)

// SealRootfs implements [Host]. No link of the container is followed, and nothing is opened that could keep the one who opens it waiting. Where the
// storage below hangs, the end of ctx ends the waiting.
func (m *Machine) SealRootfs(ctx context.Context, name string) (done []string, err error) {
	handle, err := m.walk(name)
	if err != nil {
		return nil, err
	}
	type ending struct {
		done []string
		err  error
	}
	ended := make(chan ending, 1)
	go func() {
		defer handle.Close()
		done, err := seal(ctx, int(handle.Fd()))
		ended <- ending{done, err}
	}()
	select {
	case e := <-ended:
		return e.done, e.err
	case <-ctx.Done():
	}
	select {
	case e := <-ended:
		return e.done, e.err
	case <-time.After(time.Second): // it hangs in the kernel
		return nil, ctx.Err()
	}
}

// A sealing is one thing that the seal does.
type sealing struct {
	what string // for people; empty: not worth a word
	do   func() error
}

// seal looks at everything first: what is refused has changed nothing.
func seal(ctx context.Context, fd int) (done []string, err error) {
	r := &rootfs{ctx: ctx, fd: fd, folders: map[string]*os.Root{}}
	defer r.close()
	todo, err := r.survey()
	if err != nil {
		return nil, err
	}
	for _, step := range todo {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		if err := step.do(); err != nil {
			return done, err
		}
		if step.what != "" {
			done = append(done, step.what)
		}
	}
	return done, nil
}

// survey says what is to be done, or what is in the way.
func (r *rootfs) survey() (todo []sealing, err error) {
	for _, dir := range sealedFolders {
		if r.folders[dir], err = r.folder(dir); err != nil {
			return nil, err
		}
	}
	if r.folders[etc] == nil {
		return nil, errors.New("there is no root file system of a container: no directory etc")
	}
	info, err := r.folders[etc].Lstat(".")
	if err != nil {
		return nil, err
	}
	r.owner = info.Sys().(*syscall.Stat_t)
	here, err := r.file(etc, "machine-id", 0)
	if err != nil {
		return nil, err
	}
	if here || r.program("usr/lib/systemd/systemd") {
		todo = append(todo, sealing{"machine-id is empty", func() error { return r.write(etc, "machine-id", "") }})
	}
	// A second copy of it; systemd and D-Bus make it again. Usually a link to the first.
	for _, twin := range []struct {
		dir, name, what string
		also            fs.FileMode
	}{{dbus, "machine-id", "D-Bus machine-id is gone", fs.ModeSymlink}, {systemd, "random-seed", "random-seed is gone", 0}, {systemd, "credential.secret", "credential.secret is gone", 0}} {
		here, err := r.file(twin.dir, twin.name, twin.also)
		if err != nil {
			return nil, err
		}
		if here {
			todo = append(todo, sealing{twin.what, func() error { return r.folders[twin.dir].Remove(twin.name) }})
		}
	}
	keys, err := r.keys()
	if err != nil {
		return nil, err
	}
	todo = append(todo, keys...)
	if !r.program("usr/lib/systemd/systemd") || !r.program("usr/bin/ssh-keygen") {
		return todo, nil
	}
	return todo, r.surveyUnit(&todo)
}

// keys finds the SSH host keys.
func (r *rootfs) keys() (todo []sealing, err error) {
	count := 0
	for _, dir := range []string{"etc/ssh", "etc/dropbear"} {
		names, err := r.names(dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			key := strings.HasPrefix(name, "ssh_host_") && (strings.HasSuffix(name, "_key") || strings.HasSuffix(name, "_key.pub")) ||
				strings.HasPrefix(name, "dropbear_") && strings.HasSuffix(name, "_host_key")
			if !key {
				continue
			}
			if _, err := r.file(dir, name, 0); err != nil {
				return nil, err
			}
			todo = append(todo, sealing{"", func() error { return r.folders[dir].Remove(name) }})
			count++
		}
	}
	if count > 0 {
		todo[count-1].what = fmt.Sprintf("%d SSH host key files are gone", count)
	}
	return todo, nil
}

// surveyUnit adds the first-boot unit, enabled as its [Install] section says.
func (r *rootfs) surveyUnit(todo *[]sealing) error {
	if _, err := r.file(units, hostKeyName, 0); err != nil {
		return err
	}
	steps := []sealing{{"", func() error { return r.mkdirs(units) }}, {"", func() error { return r.write(units, hostKeyName, hostKeyUnit) }}}
	for _, dir := range wants {
		if here, err := r.entry(dir, hostKeyName); err != nil {
			return err
		} else if here != nil && here.Mode().Type() != fs.ModeSymlink {
			return &UnexpectedError{path.Join(dir, hostKeyName), typeName(here.Mode()), "a link"}
		}
		steps = append(steps, sealing{"", func() error { return r.enable(dir) }})
	}
	steps[len(steps)-1].what = "new SSH host keys are made at the first boot"
	*todo = append(*todo, steps...)
	return nil
}

func (r *rootfs) enable(dir string) error {
	if err := r.mkdirs(dir); err != nil {
		return err
	}
	at := r.folders[dir]
	if err := at.Remove(hostKeyName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := at.Symlink("../"+hostKeyName, hostKeyName); err != nil {
		return err
	}
	return at.Lchown(hostKeyName, int(r.owner.Uid), int(r.owner.Gid))
}
