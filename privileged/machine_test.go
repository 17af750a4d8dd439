package privileged

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// editorVar makes the test binary one that edits the fstab below a directory until it is killed.
const editorVar = "FELHOM_TEST_EDIT_FSTAB"

func TestMain(m *testing.M) {
	if root := os.Getenv(editorVar); root != "" {
		machine := NewMachine(root)
		for {
			for _, step := range []string{"set", "drop"} {
				data, err := machine.ReadFile(fstabPath)
				if err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				next := parseFstab(data).drop("backup")
				if step == "set" {
					next = parseFstab(data).set("backup", usbLine)
				}
				if err := machine.ReplaceFile(fstabPath, data, next); err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
			}
		}
	}
	os.Exit(m.Run())
}

// A kill -9 at any point of an edit leaves the old or the new file, whole, with its mode.
func TestKilledWhileEditing(t *testing.T) {
	box := newBox(t)
	table := oldTable + strings.Repeat("# "+strings.Repeat("x", 100)+"\n", 500) // long enough to be written in pieces
	box.write("/etc/fstab", table, 0o640)
	if err := os.Chmod(box.root+fstabPath, 0o640); err != nil {
		t.Fatal(err)
	}
	with := string(parseFstab([]byte(table)).set("backup", usbLine))
	seen := map[bool]int{}
	for range 60 {
		editor := exec.Command(os.Args[0])
		editor.Env = append(os.Environ(), editorVar+"="+box.root)
		var out strings.Builder
		editor.Stdout = &out
		if err := editor.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(10+rand.IntN(30)) * time.Millisecond) // any moment is right
		editor.Process.Kill()
		editor.Wait()
		if out.Len() > 0 {
			t.Fatal(out.String())
		}
		got, err := os.ReadFile(box.root + fstabPath)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != table && string(got) != with {
			t.Fatalf("neither the old nor the new file: %d bytes", len(got))
		}
		info, err := os.Stat(box.root + fstabPath)
		if err != nil || info.Mode().Perm() != 0o640 {
			t.Fatalf("its mode is %v", info.Mode())
		}
		seen[string(got) == with]++
	}
	t.Logf("old %d times, new %d times", seen[false], seen[true])
	if names, _ := filepath.Glob(box.root + "/etc/.*"); len(names) > 1 {
		t.Errorf("left behind: %q", names)
	}
}

func TestReplaceFile(t *testing.T) {
	box := newBox(t)
	m := NewMachine(box.root)
	if err := m.ReplaceFile(fstabPath, []byte("something else"), []byte("x")); err == nil || !strings.Contains(err.Error(), "changed in between by another program") {
		t.Errorf("%v", err)
	}
	if got, _ := os.ReadFile(box.root + fstabPath); string(got) != oldTable {
		t.Errorf("written: %q", got)
	}
	if err := m.ReplaceFile("/etc/new", nil, []byte("x")); err != nil {
		t.Errorf("a new file: %v", err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, box.root+"/etc/link"); err != nil {
		t.Fatal(err)
	}
	if err := m.ReplaceFile("/etc/link", []byte("outside"), []byte("x")); err == nil {
		t.Error("a symbolic link was replaced")
	}
	// What a killed editor left beside, even as a link, is not written through.
	if err := os.Symlink(outside, box.root+"/etc/.fstab.felhom-new"); err != nil {
		t.Fatal(err)
	}
	if err := m.ReplaceFile(fstabPath, []byte(oldTable), []byte(oldTable+"# x\n")); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(outside); string(got) != "outside" {
		t.Errorf("written through the link: %q", got)
	}
	for _, mode := range []fs.FileMode{0o664, 0o646} {
		if err := os.Chmod(box.root+fstabPath, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := m.ReadFile(fstabPath); err == nil {
			t.Errorf("a file that others may write (%o) was believed", mode)
		}
	}
}

// A directory on the way that becomes a symbolic link and back, all the time: the mount point is made where it belongs or not at all.
func TestSwappedSymlinks(t *testing.T) {
	box := newBox(t)
	m := NewMachine(box.root)
	outside := t.TempDir()
	a, b := box.root+"/mnt/swap", box.root+"/mnt/swap.link"
	if err := os.MkdirAll(a, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, b); err != nil {
		t.Fatal(err)
	}
	if err := renameExchange(a, b); err != nil {
		t.Skipf("skipped: names cannot be exchanged here: %v", err)
	}
	var stop atomic.Bool
	defer stop.Store(true)
	done := make(chan int, 1)
	go func() {
		n := 0
		for ; !stop.Load(); n++ {
			renameExchange(a, b)
		}
		done <- n
	}()
	made, refused := 0, 0
	for i := 0; made < 200 || refused < 200; i++ {
		path := fmt.Sprintf("/mnt/swap/disk%d", i%7)
		if _, err := m.MakeMountPoint(path); err != nil {
			refused++
		} else {
			made++
		}
		if mode, _, err := m.Stat("/mnt/swap/etc"); err == nil {
			t.Fatalf("looked through the link: %v", mode)
		}
		if names, _ := os.ReadDir(outside); len(names) > 0 {
			t.Fatalf("made through the link: %v", names)
		}
	}
	stop.Store(true)
	t.Logf("%d swaps, %d made, %d refused", <-done, made, refused)
}

func TestStat(t *testing.T) {
	box := newBox(t)
	m := NewMachine(box.root)
	if err := os.Symlink("/etc", box.root+"/mnt/link"); err != nil {
		t.Fatal(err)
	}
	if mode, _, err := m.Stat("/mnt/usb/media"); err != nil || !mode.IsDir() {
		t.Errorf("%v %v", mode, err)
	}
	if mode, _, err := m.Stat("/etc/fstab"); err != nil || !mode.IsRegular() {
		t.Errorf("%v %v", mode, err)
	}
	for _, missing := range []string{"/mnt/none", "/mnt/none/none"} {
		if _, _, err := m.Stat(missing); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", missing, err)
		}
	}
	for _, link := range []string{"/mnt/link", "/mnt/link/fstab", "/mnt/link/pve/local"} {
		if _, _, err := m.Stat(link); !errors.Is(err, errSymlink) {
			t.Errorf("%s: %v", link, err)
		}
	}
	if _, _, err := m.Stat("/etc/fstab/x"); err == nil || errors.Is(err, errSymlink) {
		t.Errorf("below a file: %v", err)
	}
}

func TestRun(t *testing.T) {
	box := newBox(t)
	m := NewMachine(box.root)
	box.write("/bin/show", "#!/bin/sh\necho \"$# $1\"; env | sort; ps -o sid= -p $$ 2>/dev/null | tr -d ' '; echo warning >&2; exit 3\n", 0o755)
	t.Setenv("SECRET", "x")
	t.Setenv("LD_LIBRARY_PATH", "/nowhere")
	var lines []string
	out, exit, err := m.Run(t.Context(), "/bin/show", []string{"a b; $(id)", "-x"}, func(l string) { lines = append(lines, l) })
	if err != nil || exit != 3 {
		t.Fatalf("%d %v", exit, err)
	}
	if !strings.HasPrefix(string(out), "2 a b; $(id)\n") || strings.Contains(string(out), "SECRET") || strings.Contains(string(out), "LD_LIBRARY") || !strings.Contains(string(out), "LC_ALL=C\n") {
		t.Errorf("%s", out)
	}
	if !strings.HasSuffix(string(out), "warning\n") || len(lines) == 0 || lines[0] != "2 a b; $(id)" {
		t.Errorf("%q %q", out, lines)
	}
	if _, _, err := m.Run(t.Context(), "show", nil, nil); err == nil {
		t.Error("a relative program was run")
	}
	if _, _, err := m.Run(t.Context(), "/bin/none", nil, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing program: %v", err)
	}
	box.write("/bin/killed", "#!/bin/sh\nkill -9 $$\n", 0o755)
	if _, exit, err := m.Run(t.Context(), "/bin/killed", nil, nil); err != nil || exit != 128+int(syscall.SIGKILL) {
		t.Errorf("%d %v", exit, err)
	}
}

func TestBlockDevices(t *testing.T) {
	box := newBox(t)
	box.write("/proc/partitions", "major minor  #blocks  name\n\n 7 0 0 loop0\n 7 1 1024 loop1\n 8 0 5 sda\n 8 1 5 sda1\n 259 0 5 nvme0n1\n 259 1 5 nvme0n1p1\n 252 3 5 dm-3\n 230 16 5 zd16\n 230 17 5 zd16p1\n 43 1 5 nbd0p1\n 11 0 5 sr0\n 9 127 5 md127\n 1 0 5 ram0\n 104 0 5 cciss!c0d0\n", 0o644)
	got, err := NewMachine(box.root).BlockDevices()
	if want := "/dev/loop1 /dev/sda /dev/sda1 /dev/nvme0n1 /dev/nvme0n1p1 /dev/md127 /dev/cciss/c0d0"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("%v %v", got, err)
	}
	for device, want := range map[string]string{"/dev/sdb1": "/dev/sdb", "/dev/sdb": "/dev/sdb", "/dev/nvme0n1p2": "/dev/nvme0n1", "/dev/nvme0n1": "/dev/nvme0n1", "/dev/mmcblk0p1": "/dev/mmcblk0", "/dev/loop0": "/dev/loop0", "/dev/md127": "/dev/md127"} {
		if got := parent(device); got != want {
			t.Errorf("parent(%s) = %s, want %s", device, got, want)
		}
	}
}

// renameExchange swaps two names at once (renameat2(2), RENAME_EXCHANGE).
func renameExchange(a, b string) error {
	number, ok := map[string]uintptr{"amd64": 316, "arm64": 276}[runtime.GOARCH]
	if !ok {
		return errors.ErrUnsupported
	}
	from, err := syscall.BytePtrFromString(a)
	if err != nil {
		return err
	}
	to, err := syscall.BytePtrFromString(b)
	if err != nil {
		return err
	}
	const here, exchange = ^uintptr(99), 2 // AT_FDCWD
	if _, _, errno := syscall.Syscall6(number, here, uintptr(unsafe.Pointer(from)), here, uintptr(unsafe.Pointer(to)), exchange, 0); errno != 0 {
		return errno
	}
	return nil
}
