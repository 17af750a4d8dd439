package privileged

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// KeepKit implements [Host]: a new folder, each file and the folders written out, then a rename. A kill at any point leaves the older kits as they are, and
// at most a folder that begins with a dot, which the next kit removes. The disk is whoever's it was: no link of it is followed out of it.
func (m *Machine) KeepKit(dir, node, name string, files map[string][]byte, keep int) error {
	root, err := openRoot(m, dir)
	if err != nil {
		return err
	}
	defer root.Close()
	base := path.Join(KitFolder, node)
	for _, at := range []string{KitFolder, base} {
		if err := makeFolder(root, at); err != nil {
			return err
		}
	}
	kits, err := sweepKits(root, base)
	if err != nil {
		return err
	}
	if !slices.Contains(kits, name) { // else it is there already, whole
		if err := writeKit(root, base, name, files); err != nil {
			return err
		}
		kits = append(kits, name)
	}
	slices.Sort(kits)
	for _, old := range kits[:max(0, len(kits)-keep)] {
		if err := root.RemoveAll(path.Join(base, old)); err != nil {
			return err
		}
	}
	return keepPackage(m.root, root, base)
}

// makeFolder makes sure of a folder that is no link.
func makeFolder(root *os.Root, name string) error {
	if err := root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := root.Lstat(name)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder: remove it from the disk", name)
	}
	return err
}

// sweepKits lists the kits in a folder, and removes what one that was interrupted has left.
func sweepKits(root *os.Root, base string) (kits []string, err error) {
	folder, err := root.Open(base)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	for {
		names, err := folder.Readdirnames(500)
		for _, name := range names {
			if unfinished, ok := strings.CutPrefix(name, "."); ok && isKit(unfinished) {
				if err := root.RemoveAll(path.Join(base, name)); err != nil {
					return nil, err
				}
			}
			if isKit(name) && len(kits) < 1000 {
				kits = append(kits, name)
			}
		}
		if err == io.EOF {
			return kits, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func isKit(name string) bool {
	_, err := time.Parse(KitTime, name)
	return err == nil
}

// writeKit writes a kit beside its place and puts it there.
func writeKit(root *os.Root, base, name string, files map[string][]byte) error {
	beside := path.Join(base, "."+name)
	folders := map[string]bool{beside: true}
	if err := root.Mkdir(beside, 0o700); err != nil {
		return err
	}
	err := func() error {
		for _, file := range sortedKeys(files) {
			to := path.Join(beside, file)
			for dir := path.Dir(to); dir != base; dir = path.Dir(dir) {
				folders[dir] = true
			}
			if err := root.MkdirAll(path.Dir(to), 0o700); err != nil {
				return err
			}
		}
		if err := writeFiles(root, beside, files); err != nil {
			return err
		}
		for _, dir := range slices.Backward(sortedKeys(folders)) {
			if err := syncFolder(root, dir); err != nil {
				return err
			}
		}
		return root.Rename(beside, path.Join(base, name))
	}()
	if err != nil {
		return errors.Join(err, root.RemoveAll(beside))
	}
	return syncFolder(root, base)
}

// writeFiles writes new files, several at once: a disk writes them out in little more time than one.
func writeFiles(root *os.Root, dir string, files map[string][]byte) error {
	names, failed := make(chan string), make(chan error)
	const writers = 8
	for range writers {
		go func() {
			var err error
			for name := range names {
				err = errors.Join(err, writeNew(root, path.Join(dir, name), files[name]))
			}
			failed <- err
		}()
	}
	for name := range files {
		names <- name
	}
	close(names)
	var err error
	for range writers {
		err = errors.Join(err, <-failed)
	}
	return err
}

// writeNew writes a file that is not there yet, and has it on the disk.
func writeNew(root *os.Root, name string, text []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncFolder(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems cannot sync a folder
		return err
	}
	return nil
}

// keepPackage copies the package that is installed beside the kits, so that a new host needs nothing but the disk.
func keepPackage(machine string, root *os.Root, base string) error {
	packages, _ := filepath.Glob(machine + PackagePath + "/felhom-agent_*.deb")
	for _, file := range packages {
		name := filepath.Base(file)
		if err := trusted(machine, path.Join(PackagePath, name)); err != nil {
			return err
		}
		text, err := os.Open(file)
		if err != nil {
			return err
		}
		err = copyNew(root, path.Join(base, name), text, "", 256<<20)
		text.Close()
		if err != nil {
			return fmt.Errorf("the copy of %s: %w", name, err)
		}
	}
	return nil
}
