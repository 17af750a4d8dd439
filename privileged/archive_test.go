package privileged

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tarOf is a container's archive as vzdump makes it, of data that does not compress.
func tarOf(t *testing.T) []byte {
	t.Helper()
	data := make([]byte, 600<<10)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(data); i++ {
		data[i] = byte(r.Uint32())
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"./etc/vzdump/pct.conf", "./data"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// packed compresses as a file of this ending is; it skips the test where the program is not installed.
func packed(t *testing.T, ending string, data []byte) []byte {
	t.Helper()
	program := map[string][]string{".zst": {"zstd", "-q", "-c"}, ".lzo": {"lzop", "-c"}}[ending]
	switch {
	case ending == "":
		return data
	case ending == ".gz":
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(data)
		w.Close()
		return b.Bytes()
	}
	if _, err := exec.LookPath(program[0]); err != nil {
		t.Skipf("%s is not installed", program[0])
	}
	cmd := exec.Command(program[0], program[1:]...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const archiveName = "vzdump-lxc-201-2026_11_22-18_02_09.tar"

func archiveBox(t *testing.T) (testBox, string) {
	b := newBox(t)
	for _, name := range []string{"zstd", "lzop"} {
		if real, err := exec.LookPath(name); err == nil {
			b.program("/usr/bin/"+name, "exec "+real+` "$@"`)
		}
	}
	dir := b.root + "/mnt/usb/media/dump"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return b, dir
}

// An archive that lacks a part does not pass, whatever its compression; a whole one does.
func TestAnArchiveIsReadToItsEnd(t *testing.T) {
	whole := tarOf(t)
	for _, ending := range []string{"", ".gz", ".zst", ".lzo"} {
		t.Run("tar"+ending, func(t *testing.T) {
			b, dir := archiveBox(t)
			data := packed(t, ending, whole)
			hole := bytes.Clone(data)
			clear(hole[len(hole)/8 : len(hole)/4]) // blocks that never reached the disk
			for name, c := range map[string]struct {
				data []byte
				ok   bool
			}{
				"whole":          {data, true},
				"a third of it":  {data[:len(data)/3], false},
				"its last block": {data[:len(data)-512], false},
				"its last byte":  {data[:len(data)-1], false},
				"nothing":        {nil, false},
				"zeros":          {make([]byte, len(data)), false},
				"a hole":         {hole, ending == ""}, // plain tar has no checksum of its data
			} {
				if err := os.WriteFile(filepath.Join(dir, archiveName+ending), c.data, 0o644); err != nil {
					t.Fatal(err)
				}
				check, err := CheckArchive(t.Context(), b, testNode, "/mnt/usb/media", "dump/"+archiveName+ending)
				if err != nil || check.Unchecked != "" || (check.Fault == "") != c.ok {
					t.Errorf("%s: %+v, %v", name, check, err)
				}
			}
		})
	}
}

// What stands in an archive's place on a hostile disk is refused and not opened, and a program
// that hangs ends with the time that there is.
func TestWhatIsNoArchiveIsRefused(t *testing.T) {
	b, dir := archiveBox(t)
	secret := b.root + "/secret.tar"
	if err := os.WriteFile(secret, tarOf(t), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	link, fifo, folder := "vzdump-lxc-1-2026_11_22-18_02_09.tar", "vzdump-lxc-2-2026_11_22-18_02_09.tar", "vzdump-lxc-3-2026_11_22-18_02_09.tar"
	for _, err := range []error{os.Symlink(secret, at(link)), syscall.Mkfifo(at(fifo), 0o644), os.Mkdir(at(folder), 0o755),
		os.Symlink(b.root, b.root+"/mnt/usb/media/out"), os.WriteFile(b.root+"/"+archiveName, tarOf(t), 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ path, file, arg string }{
		{"/mnt/usb/media", "dump/" + link, "file"},
		{"/mnt/usb/media", "dump/" + fifo, "file"},
		{"/mnt/usb/media", "dump/" + folder, "file"},
		{"/mnt/usb/media", "dump/" + archiveName, "file"},
		{"/mnt/usb/media", "out/" + archiveName, "file"},
		{"/mnt/usb/media", "../../../" + archiveName, "file"},
		{"/mnt/usb/media", "dump/passwd", "file"},
		{"/mnt/usb/media", "/etc/" + archiveName, "file"},
		{"/mnt/other", archiveName, "path"},
		{"/etc", archiveName, "path"},
	} {
		var refused *RefusedError
		if _, err := CheckArchive(t.Context(), b, testNode, c.path, c.file); !errors.As(err, &refused) || refused.Arg != c.arg {
			t.Errorf("%s %s: %v", c.path, c.file, err)
		}
	}
	zst := archiveName + ".zst"
	if err := os.WriteFile(at(zst), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.program("/usr/bin/zstd", "exec sleep 100")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if check, err := CheckArchive(ctx, b, testNode, "/mnt/usb/media", "dump/"+zst); err == nil && check.Unchecked == "" {
		t.Errorf("a program that hangs: %+v", check)
	}
	if err := os.Remove(b.root + "/usr/bin/zstd"); err != nil {
		t.Fatal(err)
	}
	if check, err := CheckArchive(t.Context(), b, testNode, "/mnt/usb/media", "dump/"+zst); err != nil || !strings.Contains(check.Unchecked, "zstd is not installed") {
		t.Errorf("without zstd: %+v, %v", check, err)
	}
}
