package privileged

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ArchiveTime is how long the check of one archive may take at most. It reads the whole file.
const ArchiveTime = 30 * time.Minute

// An ArchiveCheck is what the contents of an archive tell of it.
type ArchiveCheck struct {
	Fault     string `json:"fault,omitempty"`     // what is wrong with it; "" when it is whole
	Unchecked string `json:"unchecked,omitempty"` // why its contents tell nothing
}

// CheckArchive reads an archive of vzdump from its begin to its end, as `zstd -t` does: file is below path, where something is mounted. A file that was
// cut off, or of which a part is missing, does not pass. Plain tar has no checksum of its data; of it only the structure and the end are checked.
func CheckArchive(ctx context.Context, a Asker, node, mount, file string) (ArchiveCheck, error) {
	return ask[ArchiveCheck](ctx, a, Query{Node: node, Name: "CheckArchive", Args: map[string]string{"path": mount, "file": file}})
}

var archiveFile = regexp.MustCompile(`^vzdump-lxc-[0-9]+-[0-9]{4}_[0-9]{2}_[0-9]{2}-[0-9]{2}_[0-9]{2}_[0-9]{2}\.tar(\.zst|\.gz|\.lzo)?$`)

func archivePath(v string) string {
	if !archiveFile.MatchString(path.Base(v)) {
		return "it must be an archive of vzdump: FOLDER/vzdump-lxc-VMID-TIME.tar.zst"
	}
	return relativePath(v)
}

func answerCheckArchive(r diskReader) (any, error) {
	if err := r.mountPoint(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.ctx, ArchiveTime)
	defer cancel()
	fault, unchecked, err := r.host.CheckArchive(ctx, r.args["path"]+"/"+r.args["file"])
	var odd *UnexpectedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, r.miss("file", "there is no such file", "")
	case errors.Is(err, errSymlink), errors.As(err, &odd):
		return nil, r.refuse("file", err.Error(), "")
	case ctx.Err() != nil:
		return ArchiveCheck{Unchecked: fmt.Sprintf("its check did not end within %s", ArchiveTime)}, nil
	case err != nil:
		return nil, &FailedError{Op: r.op, Reason: fmt.Sprintf("cannot read %s: %v", r.args["file"], err)}
	}
	return ArchiveCheck{Fault: fault, Unchecked: unchecked}, nil
}

// CheckArchive implements [Host]: it opens the file without following a link, and each program gets the open file, never a path.
func (m *Machine) CheckArchive(ctx context.Context, name string) (fault, unchecked string, err error) {
	dir, err := m.walk(path.Dir(name))
	if err != nil {
		return "", "", err
	}
	defer dir.Close()
	base := path.Base(name)
	mode, err := lstatAt(int(dir.Fd()), base)
	switch {
	case err != nil:
		return "", "", &fs.PathError{Op: "open", Path: name, Err: err}
	case !mode.IsRegular():
		return "", "", &UnexpectedError{name, typeName(mode), "a file"}
	}
	fd, err := syscall.Openat(int(dir.Fd()), base, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return "", "", &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() { // exchanged meanwhile
		return "", "", &UnexpectedError{name, "no longer a file", "a file"}
	}
	switch path.Ext(base) {
	case ".zst":
		return testWith(ctx, m.root, f, "/usr/bin/zstd", "-t", "-q", "-")
	case ".lzo":
		return testWith(ctx, m.root, f, "/usr/bin/lzop", "-t", "-q")
	case ".gz":
		z, err := gzip.NewReader(endingWith{ctx, f})
		if err == nil {
			_, err = io.Copy(io.Discard, z)
		}
		return faultOf(ctx, err)
	}
	return faultOf(ctx, testTar(ctx, f))
}

// testTar goes from header to header of a plain tar to its end, which is two blocks of zeros (GNU tar, Basic Tar Format). The standard library's reader
// takes the end of the file for an end too, and brings packages that this program must not have.
func testTar(ctx context.Context, f *os.File) error {
	r := bufio.NewReaderSize(endingWith{ctx, f}, 1<<20)
	block := make([]byte, tarBlock)
	for entries := 0; ; entries++ {
		if _, err := io.ReadFull(r, block); err != nil {
			return err
		}
		if bytes.Equal(block, make([]byte, tarBlock)) {
			if entries == 0 {
				return errors.New("it begins with zeros")
			}
			_, err := io.ReadFull(r, block)
			if err == nil && !bytes.Equal(block, make([]byte, tarBlock)) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		size, err := tarSize(block)
		if err != nil {
			return err
		}
		for more := block[156] == 'S' && block[482] != 0; more; { // GNU's old form of sparse files: the map goes on
			if _, err := io.ReadFull(r, block); err != nil {
				return err
			}
			more = block[504] != 0
		}
		if _, err := io.CopyN(io.Discard, r, (size+tarBlock-1)/tarBlock*tarBlock); err != nil {
			return err
		}
	}
}

const tarBlock = 512

// tarSize checks a header by its sum and returns how many bytes follow it.
func tarSize(header []byte) (int64, error) {
	sum := int64(8 * ' ')
	for i, c := range header {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	octal := func(field []byte) (int64, error) {
		return strconv.ParseInt(strings.Trim(string(field), " \x00"), 8, 64)
	}
	if noted, err := octal(header[148:156]); err != nil || noted != sum {
		return 0, errors.New("a header in it is damaged")
	}
	field := header[124:136]
	size, err := int64(0), error(nil)
	if field[0] == 0x80 { // base 256, of files of 8 GiB and more
		for _, c := range field[1:] {
			size = size<<8 | int64(c)
		}
	} else {
		size, err = octal(field)
	}
	if err != nil || size < 0 || size > 1<<53 {
		return 0, errors.New("a header in it is damaged")
	}
	return size, nil
}

// endingWith ends with its context.
type endingWith struct {
	ctx context.Context
	r   io.Reader
}

func (r endingWith) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func faultOf(ctx context.Context, read error) (fault, unchecked string, err error) {
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case read == nil:
		return "", "", nil
	case errors.Is(read, io.ErrUnexpectedEOF), errors.Is(read, io.EOF):
		return "its end is missing", "", nil
	case errors.Is(read, syscall.EIO):
		return "the disk cannot read it: " + read.Error(), "", nil
	}
	return "its contents do not pass their checksum: " + read.Error(), "", nil
}

// testWith has a program test an open file, behind everybody else who wants the processor.
func testWith(ctx context.Context, root string, f *os.File, program string, args ...string) (fault, unchecked string, err error) {
	if _, err := os.Stat(root + program); err != nil {
		return "", program + " is not installed, so its contents are not checked", nil
	}
	var warnings capped
	cmd := exec.CommandContext(ctx, root+program, args...)
	cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stderr = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}, "/", f, &warnings
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return "", "", err
	}
	syscall.Setpriority(syscall.PRIO_PROCESS, cmd.Process.Pid, 19) // best effort
	err = cmd.Wait()
	var bad *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case errors.As(err, &bad):
		return "its contents are not complete: " + printable(clip(lastLine(strings.TrimSpace(warnings.String())), 120)), "", nil
	}
	return "", "", err
}
