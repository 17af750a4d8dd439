package privileged

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

const (
	pvesm = "/usr/sbin/pvesm"

	maxTemplate = 4 << 30 // bytes; those of Proxmox have 3 to 600 MiB
)

// TemplateSpec is a container template of which a copy is to be kept beside the recovery kits of a backup storage.
type TemplateSpec struct {
	Name     string // as in [KitSpec]
	Path     string // of the storage
	Mounted  bool
	Template string // its volume id
	SHA512   string // what it must have; "": PVE does not know it
}

// KeepTemplate copies a template as root, all of it or nothing.
func KeepTemplate(node string, t TemplateSpec) Op {
	a := args{}
	a.set("name", t.Name)
	a.set("path", t.Path)
	a.flag("mounted", t.Mounted)
	a.set("template", t.Template)
	a.set("sha512", t.SHA512)
	return Op{Node: node, Name: "KeepTemplate", Args: a}
}

// keepTemplate is the root helper's side of [KeepTemplate]. Where the file is, PVE says, not who asks.
func keepTemplate(j *job) error {
	if err := j.writable(); err != nil {
		return err
	}
	out, err := j.run(pvesm, "path", j.args["template"])
	if err != nil {
		return err
	}
	from, name := strings.TrimSpace(string(out)), path.Base(j.args["template"])
	if !path.IsAbs(from) || path.Clean(from) != from || path.Base(from) != name || strings.ContainsAny(from, "\n\x00") {
		return j.refuse("template", "pvesm path does not say where it is", "")
	}
	err = j.machine.KeepTemplate(j.args["path"], j.node, from, j.args["sha512"], maxTemplate)
	if err != nil {
		return j.failed(err, "cannot copy "+name+" to "+j.args["path"])
	}
	return nil
}

// KeepTemplate implements [Host]. A kill leaves at most a file that begins with a dot, which the next copy replaces.
func (m *Machine) KeepTemplate(dir, node, from, sum string, most int64) error {
	folder, err := openRoot(m, path.Dir(from))
	if err != nil {
		return err
	}
	defer folder.Close()
	name := path.Base(from)
	source, err := openRegular(folder, name, most)
	if err != nil {
		return err
	}
	defer source.Close()
	root, err := openRoot(m, dir)
	if err != nil {
		return err
	}
	defer root.Close()
	base := path.Join(KitFolder, node)
	for _, at := range []string{KitFolder, base, path.Join(base, KitTemplates)} {
		if err := makeFolder(root, at); err != nil {
			return err
		}
	}
	return copyNew(root, path.Join(base, KitTemplates, name), source, sum, most)
}

// openRoot opens a directory that no link leads to, so that nothing leads out of it.
func openRoot(m *Machine, dir string) (*os.Root, error) {
	handle, err := m.walk(dir)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", handle.Fd()))
}

// openRegular opens a regular file, and never waits for anything else.
func openRegular(folder *os.Root, name string, most int64) (*os.File, error) {
	fits := func(info fs.FileInfo, err error) error {
		switch {
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is not a regular file", name)
		case info.Size() > most:
			return fmt.Errorf("%s has %d MiB; at most %d are copied", name, info.Size()>>20, most>>20)
		}
		return nil
	}
	if err := fits(folder.Lstat(name)); err != nil {
		return nil, err
	}
	f, err := folder.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := fits(f.Stat()); err != nil { // it may have been exchanged
		f.Close()
		return nil, err
	}
	return f, nil
}

// copyNew puts a copy of a file at its place, where another size or nothing is. sum is the SHA-512 that it must have, or "".
func copyNew(root *os.Root, to string, from *os.File, sum string, most int64) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if have, err := root.Lstat(to); err == nil && have.Mode().IsRegular() && have.Size() == info.Size() {
		return nil
	}
	beside := path.Join(path.Dir(to), "."+path.Base(to))
	if err := root.RemoveAll(beside); err != nil {
		return err
	}
	f, err := root.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	hash := sha512.New()
	n, err := io.Copy(io.MultiWriter(f, hash), io.LimitReader(from, most+1))
	err = errors.Join(err, f.Sync(), f.Close())
	switch have := hex.EncodeToString(hash.Sum(nil)); {
	case err != nil:
	case n > most:
		err = fmt.Errorf("it grew while it was copied, beyond %d MiB", most>>20)
	case sum != "" && have != sum:
		err = fmt.Errorf("its SHA-512 begins with %s and not with %s: it is not the file that Proxmox has published; download it again", have[:12], sum[:12])
	}
	if err != nil {
		return errors.Join(err, root.RemoveAll(beside))
	}
	if err := root.Rename(beside, to); err != nil {
		return err
	}
	return syncFolder(root, path.Dir(to))
}
