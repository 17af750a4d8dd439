package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What the desired state may be in all. Real ones have some ten files and some
// ten KiB; without limits a folder could take the memory of the host.
const (
	mostFiles = 2000
	mostBytes = 8 << 20
)

// file is one file as read.
type file struct {
	name string
	text []byte
}

// Fingerprint is the SHA-256 (hex) over names and contents of what Load would
// read. It equals Desired.Hash and finds changes where the kernel tells
// nothing, as on network file systems.
func Fingerprint(path string) (string, error) {
	var f faults
	files, _ := readFiles(path, &f)
	return fingerprint(files), f.err()
}

func fingerprint(files []file) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%q %d\n", f.name, len(f.text))
		h.Write(f.text)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// wanted tells the files of the language from what editors and package
// managers leave beside them.
func wanted(name string) bool {
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml"))
}

// leavings are the endings of what editors and package managers leave behind.
var leavings = []string{"~", "#", ".swp", ".bak", ".tmp", ".orig", ".rej", ".dpkg-new", ".dpkg-old", ".dpkg-dist", ".dpkg-tmp", ".md"}

// expected tells whether a name that is not read is one of those that nobody
// takes for a part of the desired state.
func expected(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "README") || strings.HasPrefix(name, "LICENSE") {
		return true
	}
	return slices.ContainsFunc(leavings, func(end string) bool { return strings.HasSuffix(name, end) })
}

const mostPassedOver = 20 // names

// listFolder returns the names of the files to read, and of what is passed over
// although somebody may think that it is read, each sorted.
func listFolder(dir string) (names, passedOver []string, err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	defer folder.Close()
	for {
		entries, err := folder.ReadDir(500)
		for _, e := range entries {
			switch name := e.Name(); {
			case wanted(name) && !e.IsDir():
				names = append(names, name)
			case expected(name) || len(passedOver) == mostPassedOver:
			case e.IsDir():
				passedOver = append(passedOver, name+"/")
			default:
				passedOver = append(passedOver, name)
			}
		}
		if len(names) > mostFiles {
			return nil, nil, errFiles
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			slices.Sort(passedOver)
			return names, passedOver, nil
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

func readFiles(path string, f *faults) (files []file, passedOver []string) {
	info, err := os.Stat(path)
	if err != nil {
		f.add(unreadable(path, err))
		return nil, nil
	}
	if !info.IsDir() { // it was named, so it may be a link
		text, err := readText(path, mostBytes, os.Stat, os.OpenFile)
		if err != nil {
			f.add(unreadable(filepath.Base(path), err))
			return nil, nil
		}
		return []file{{filepath.Base(path), text}}, nil
	}
	names, passedOver, err := listFolder(path)
	if err != nil {
		f.add(unreadable(path, err))
		return nil, nil
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		f.add(unreadable(path, err))
		return nil, nil
	}
	defer root.Close()
	left := int64(mostBytes)
	for _, name := range names {
		text, err := readInside(root, name, left)
		switch {
		case errors.Is(err, errFolder): // a link to one
			passedOver = append(passedOver, name+"/")
			continue
		case errors.Is(err, errLarge):
			f.add(unreadable(name, err))
			return files, passedOver
		case err != nil:
			e := unreadable(name, err)
			if errors.Is(err, fs.ErrNotExist) { // its name was there
				e.Message, e.Fix = "is a link to a file that does not exist", "Correct the link, or remove it."
			}
			f.add(e)
			continue
		}
		left -= int64(len(text))
		files = append(files, file{name, text})
	}
	if len(files) == 0 && len(f.list) == 0 {
		f.add(&Error{File: path, Message: "holds no .yaml file", Fix: "Declare what you want in files whose names end in .yaml; hidden files and folders are not read." + only(passedOver)})
	}
	return files, passedOver
}

// only says what is there instead.
func only(passedOver []string) string {
	if len(passedOver) == 0 {
		return ""
	}
	return " There is " + list(passedOver) + "."
}

var (
	errFolder  = errors.New("is a folder")
	errSpecial = errors.New("is not a regular file")
	errOutside = errors.New("is a link that leaves the folder")
	errLarge   = fmt.Errorf("makes the desired state larger than %d MiB", mostBytes>>20)
	errFiles   = fmt.Errorf("holds more than %d .yaml files", mostFiles)
)

// readInside reads a file of a folder. A link is followed inside of the folder
// alone, as Kubernetes' links to ..data are: what a link outside leads to was
// not put there by who may write to the folder.
func readInside(root *os.Root, name string, most int64) ([]byte, error) {
	text, err := readText(name, most, root.Stat, root.OpenFile)
	info, lstatErr := root.Lstat(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) || lstatErr != nil || info.Mode()&fs.ModeSymlink == 0 {
		return text, err
	}
	if errors.Is(err, errFolder) || errors.Is(err, errSpecial) || errors.Is(err, errLarge) {
		return nil, err
	}
	// A root follows no absolute link, not even one to a file in itself.
	dir, dirErr := filepath.EvalSymlinks(root.Name())
	target, err := filepath.EvalSymlinks(filepath.Join(root.Name(), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	inside, relErr := filepath.Rel(dir, target)
	if err != nil || dirErr != nil || relErr != nil || !filepath.IsLocal(inside) {
		return nil, errOutside
	}
	return readText(inside, most, root.Stat, root.OpenFile)
}

// readDeadline is for what calls itself a regular file and has nothing to give,
// as /proc/kmsg.
const readDeadline = 2 * time.Second

// readText reads a regular file of at most so many bytes, and never waits for
// one: its size is not believed, since those of /proc have none and no end.
func readText(name string, most int64, stat func(string) (fs.FileInfo, error), open func(string, int, fs.FileMode) (*os.File, error)) ([]byte, error) {
	fits := func(info fs.FileInfo, err error) error {
		switch {
		case err != nil:
			return err
		case info.IsDir():
			return errFolder
		case !info.Mode().IsRegular():
			return errSpecial
		case info.Size() > most:
			return errLarge
		}
		return nil
	}
	if err := fits(stat(name)); err != nil { // before it is opened: to open a device may do something
		return nil, err
	}
	f, err := open(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := fits(f.Stat()); err != nil { // it may have been exchanged
		return nil, err
	}
	_ = f.SetReadDeadline(time.Now().Add(readDeadline)) // fails for those that never wait
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = errLarge
	}
	return text, err
}

func unreadable(name string, err error) *Error {
	e := &Error{File: name, Message: err.Error()}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Message, e.Fix = "does not exist", "Create a folder there with at least one .yaml file, or give the path of yours."
	case errors.Is(err, fs.ErrPermission):
		e.Message, e.Fix = "may not be read", "Let the agent's user read it: chmod a+r for a file, a+rx for a folder."
	case errors.Is(err, errSpecial):
		e.Fix = "Replace it by an ordinary text file, or remove it."
	case errors.Is(err, errOutside):
		e.Fix = "Copy the file into the folder, or remove the link."
	case errors.Is(err, errLarge), errors.Is(err, errFiles):
		e.Fix = "Remove what does not belong to it."
	default:
		e.Fix = "Correct that and try again."
	}
	return e
}
