package privileged

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rootKinds are what a container's owner can put at a path.
var rootKinds = []string{"a file", "a folder", "a link", "a FIFO", "a socket", "a device"}

// plant puts something of a kind at a path below dir, unless a thing that stands in its way is no folder. It reports whether it could.
func plant(t testing.TB, dir, name, kind string) bool {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if root.MkdirAll(path.Dir(name), 0o755) != nil {
		return false
	}
	if info, err := root.Lstat(path.Dir(name)); err != nil || !info.IsDir() {
		return false
	}
	at := filepath.Join(dir, name)
	switch kind {
	case "a file":
		var f *os.File
		if f, err = root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			f.WriteString("secret")
			f.Close()
		}
	case "a folder":
		err = root.Mkdir(name, 0o755)
	case "a link":
		err = root.Symlink("/etc", name)
	case "a FIFO":
		err = syscall.Mknod(at, syscall.S_IFIFO|0o600, 0)
	case "a socket":
		err = syscall.Mknod(at, syscall.S_IFSOCK|0o600, 0)
	case "a device":
		err = syscall.Mknod(at, syscall.S_IFCHR|0o666, 1<<8|3)
	}
	return err == nil
}

// rootPaths are all that the seal has to do with, each with the kinds that may stand there.
var rootPaths = map[string][]string{
	"etc":                                {"a folder"},
	"var":                                {"a folder"},
	"var/lib/dbus":                       {"a folder"},
	"var/lib/systemd":                    {"a folder"},
	"etc/ssh":                            {"a folder"},
	"etc/dropbear":                       {"a folder"},
	"etc/systemd":                        {"a folder"},
	"etc/systemd/system":                 {"a folder"},
	wants[0]:                             {"a folder"},
	wants[1]:                             {"a folder"},
	wants[2]:                             {"a folder"},
	"etc/machine-id":                     {"a file"},
	"var/lib/dbus/machine-id":            {"a file", "a link"},
	"var/lib/systemd/random-seed":        {"a file"},
	"var/lib/systemd/credential.secret":  {"a file"},
	"etc/ssh/ssh_host_rsa_key":           {"a file"},
	"etc/ssh/ssh_host_rsa_key.pub":       {"a file"},
	"etc/dropbear/dropbear_rsa_host_key": {"a file"},
	units + "/" + hostKeyName:            {"a file"},
	wants[0] + "/" + hostKeyName:         {"a link"},
	wants[2] + "/" + hostKeyName:         {"a link"},
}

// Whatever stands where the seal expects another thing is refused with its path, at once, and nothing was changed.
func TestSealRefusesOddObjects(t *testing.T) {
	for name, allowed := range rootPaths {
		for _, kind := range rootKinds {
			dir := t.TempDir()
			if !plant(t, dir, name, kind) {
				t.Skipf("skipped: %s cannot be made here", kind)
			}
			tree(t, dir, "usr/lib/systemd/systemd", "usr/bin/ssh-keygen")
			if name != "etc" {
				tree(t, dir, "etc/hostname")
			}
			before := listing(t, dir)
			_, err := sealed(t, dir)
			if slices.Contains(allowed, kind) {
				if err != nil {
					t.Errorf("%s at %s: %v", kind, name, err)
				}
				continue
			}
			var odd *UnexpectedError
			if !errors.As(err, &odd) || odd.Path != name || odd.Is != kind {
				t.Errorf("%s at %s: %v", kind, name, err)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("%s at %s: refused, but changed:\n%s", kind, name, after)
			}
		}
	}
}

func TestSealRefusesEndlessFolder(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, "etc/ssh/")
	for i := range maxEntries + 300 {
		if err := syscall.Mknod(fmt.Sprintf("%s/etc/ssh/%d", dir, i), syscall.S_IFIFO|0o600, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sealed(t, dir); err == nil || !strings.Contains(err.Error(), "etc/ssh") {
		t.Errorf("%v", err)
	}
}

// sealBox is a box whose pct mounts the container 201 as rootfs says, below its own root.
func sealBox(t *testing.T, mount string) (testBox, Op) {
	box := newBox(t)
	tree(t, box.root, "var/lib/lxc/201/rootfs/etc/machine-id")
	box.program(pct, `case "$1" in status) echo "status: stopped";; mount) `+mount+`;; esac; exit 0`)
	return box, SealGolden(testNode, SealSpec{VMID: 201, Object: "web", Owner: "home"})
}

// A FIFO where a folder should be: refused with the path and what to do, the container is unmounted again, and its queue is free.
func TestSealRefusalUnmounts(t *testing.T) {
	box, op := sealBox(t, ":")
	plant(t, box.root, "var/lib/lxc/201/rootfs/etc/ssh", "a FIFO")
	for range 2 {
		_, err := box.do(op)
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.Contains(refused.Reason, "etc/ssh is a FIFO; expected a folder") || !strings.Contains(refused.Fix, "/var/lib/lxc/201/rootfs/etc/ssh") {
			t.Fatalf("%v", err)
		}
	}
	if got := strings.Count(box.calls(), pct+" unmount 201"); got != 2 {
		t.Errorf("unmounted %d times:\n%s", got, box.calls())
	}
	if list, err := Running(t.Context(), box, testNode); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
}

// A mount that never ends is ended at the deadline of who asked, in order: killed, unmounted, the queue freed, and said.
func TestSealDeadline(t *testing.T) {
	box, op := sealBox(t, "sleep 600")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r, err := box.Do(ctx, op, nil)
	if err == nil || r.StillRunning != nil || !strings.Contains(err.Error(), "took too long") {
		t.Errorf("%+v %v", r, err)
	}
	box.Wait()
	if !strings.HasSuffix(box.calls(), pct+" unmount 201") {
		t.Errorf("%s", box.calls())
	}
	if list, err := Running(t.Context(), box, testNode); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
}

// A folder of the host that the container binds where the seal removes files is not sealed: pct mount mounts it, too.
func TestSealRefusesBinds(t *testing.T) {
	for at, bad := range map[string]bool{"/etc/ssh": true, "/etc": true, "/var": true, "/media": false, "/etc/ssh/other": false} {
		box, op := sealBox(t, ":")
		box.write("/etc/pve/nodes/"+testNode+"/lxc/201.conf", conf(testMarker)+"mp3: /mnt/usb/media/library,mp="+at+"\n", 0o640)
		_, err := box.do(op)
		if refused := errors.As(err, new(*RefusedError)); refused != bad || !bad && err != nil {
			t.Errorf("%s: %v", at, err)
		}
		if bad && strings.Contains(box.calls(), "mount") {
			t.Errorf("%s: %s", at, box.calls())
		}
	}
}

// FuzzContainerRoot shapes a container's root as its owner could: every two bytes put a kind of thing at a path. The seal ends, leaves nothing
// outside changed, and either did its work or changed nothing.
func FuzzContainerRoot(f *testing.F) {
	names := sortedKeys(rootPaths)
	names = append(names, "usr", "usr/lib/systemd/systemd", "usr/bin/ssh-keygen", "etc/ssh/ssh_host_ed25519_key", "var/lib", "etc/systemd/system/x")
	f.Add([]byte{3, 3, 9, 1})
	f.Add([]byte{21, 0, 22, 0, 23, 0, 7, 4, 2, 2})
	for i := range names {
		for k := range rootKinds {
			f.Add([]byte{byte(i), byte(k), 25, 0, 26, 0})
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		box := t.TempDir()
		dir := filepath.Join(box, "rootfs")
		tree(t, box, "rootfs/", "outside/machine-id")
		for i := 0; i+1 < len(data) && i < 64; i += 2 {
			plant(t, dir, names[int(data[i])%len(names)], rootKinds[int(data[i+1])%len(rootKinds)])
		}
		before := listing(t, box)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := NewMachine(dir).SealRootfs(ctx, "/")
		if ctx.Err() != nil {
			t.Fatal("it did not end")
		}
		after := listing(t, box)
		if err != nil {
			if after != before {
				t.Errorf("%v, but it changed\n%s\nto\n%s", err, before, after)
			}
			return
		}
		if keys, _ := filepath.Glob(dir + "/etc/*/ssh_host_*_key*"); len(keys) > 0 {
			t.Errorf("left: %q", keys)
		}
		if id, err := os.ReadFile(dir + "/etc/machine-id"); err == nil && len(id) > 0 {
			t.Errorf("machine-id %q", id)
		}
		if id, err := os.ReadFile(box + "/outside/machine-id"); err != nil || len(id) == 0 {
			t.Errorf("it left the container: %q %v", id, err)
		}
	})
}
