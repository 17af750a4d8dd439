package privileged

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"syscall"
)

// Bounds of what is read in a container, all of which is the container's to make.
const (
	maxHashed  = 1 << 30 // bytes of a file that are summed up
	maxFiles   = 100_000 // names below a folder
	maxFolders = 64      // folders within each other
)

// file answers the probe of a file.
func (c *inside) file(ctx context.Context, name string, hash bool) (map[string]string, error) {
	handle, err := c.find(name)
	if err != nil {
		return missing(err)
	}
	defer handle.Close()
	st, err := stored(handle, syscall.S_IFREG)
	if err != nil {
		return nothing(err), nil
	}
	found := map[string]string{"size": strconv.FormatInt(st.Size, 10), "modified": strconv.FormatInt(st.Mtim.Sec, 10)}
	if !hash {
		return found, nil
	}
	if st.Size > maxHashed {
		return nothing(fmt.Errorf("it is larger than %d MiB, which are not summed up", maxHashed>>20)), nil
	}
	f, err := reopened(handle, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(&until{ctx, f}, maxHashed+1))
	switch {
	case err != nil:
		return nil, err
	case n > maxHashed:
		return nothing(errors.New("it grows while it is read")), nil
	}
	found["sha256"] = hex.EncodeToString(sum.Sum(nil))
	return found, nil
}

// missing is the answer for what could not be opened; what was not looked at is an error.
func missing(err error) (map[string]string, error) {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nothing(errors.New("it does not exist")), nil
	case errors.Is(err, syscall.ELOOP):
		return nothing(errors.New("a link on the way is not followed")), nil
	}
	return nil, err
}

// until reads until ctx ends.
type until struct {
	ctx  context.Context
	from io.Reader
}

func (u *until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.from.Read(p)
}

// newest answers which file below a folder was changed last. Links are not followed, nor is what is mounted below it, unless it keeps files too.
func (c *inside) newest(ctx context.Context, name string) (map[string]string, error) {
	handle, err := c.find(name)
	if err != nil {
		return missing(err)
	}
	defer handle.Close()
	if _, err := stored(handle, syscall.S_IFDIR); err != nil {
		return nothing(err), nil
	}
	w := walker{ctx: ctx}
	if err := w.walk(handle, name, 0); err != nil {
		var much *tooMuch
		if errors.As(err, &much) {
			return nothing(err), nil
		}
		return nil, err
	}
	if w.files == 0 {
		return nothing(errors.New("there is no file below it")), nil
	}
	return map[string]string{"file": w.file, "modified": strconv.FormatInt(w.modified, 10), "files": strconv.Itoa(w.files)}, nil
}

type tooMuch struct{ what string }

func (e *tooMuch) Error() string { return "there are more than " + e.what + " below it" }

// walker goes through folders and keeps the file that was changed last.
type walker struct {
	ctx      context.Context
	seen     int // names
	files    int
	file     string
	modified int64
}

func (w *walker) walk(handle *os.File, at string, depth int) error {
	if depth > maxFolders {
		return &tooMuch{strconv.Itoa(maxFolders) + " folders within each other"}
	}
	dir, err := reopened(handle, syscall.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		names, err := dir.Readdirnames(500)
		for _, name := range names {
			if w.seen++; w.seen > maxFiles {
				return &tooMuch{strconv.Itoa(maxFiles) + " names"}
			}
			if err := w.entry(dir, name, path.Join(at, name), depth); err != nil {
				return err
			}
		}
		if err != nil || len(names) == 0 {
			if err == io.EOF {
				err = nil
			}
			return err
		}
	}
}

func (w *walker) entry(dir *os.File, name, at string, depth int) error {
	st, err := statAt(int(dir.Fd()), name)
	if err != nil {
		return nil // it went meanwhile
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		if w.files++; w.files == 1 || st.Mtim.Sec > w.modified {
			w.file, w.modified = at, st.Mtim.Sec
		}
	case syscall.S_IFDIR:
		fd, err := openPart(int(dir.Fd()), name)
		if err != nil {
			return nil
		}
		handle := os.NewFile(uintptr(fd), at)
		defer handle.Close()
		if _, err := stored(handle, syscall.S_IFDIR); err != nil {
			return nil
		}
		return w.walk(handle, at, depth+1)
	}
	return nil
}
