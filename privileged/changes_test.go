package privileged

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
)

const oneVersion = `{"starttime": 1764000000, "clinfo": 1, "vmlist": 7, "storage.cfg": 1, "user.cfg": 3, "datacenter.cfg": 1, "ha/manager_status": 40, "kvstore": {"pve1": {"tasklist": 90}}}`

// quietBox is a machine that shows all that marks are made of.
func quietBox(t *testing.T) testBox {
	b := newBox(t)
	b.write("/etc/pve/.version", oneVersion, 0o440)
	b.write("/var/log/pve/tasks/active", "UPID:pve1:1 1 6922 OK\n", 0o640)
	b.write("/var/log/pve/tasks/index", "UPID:pve1:1 6922 OK\n", 0o644)
	b.write("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n", 0o444)
	for _, guest := range []string{"lxc/201", "qemu.slice/300.scope"} {
		b.write("/sys/fs/cgroup/"+guest+"/cgroup.procs", "", 0o644)
	}
	b.write("/sys/class/block/sdb1/dev", "8:17\n", 0o444)
	b.write("/run/udev/data/b8:17", "E:ID_BUS=usb\n", 0o644)
	return b
}

func (b testBox) renew(name, text string) {
	b.t.Helper()
	b.write(name+".new", text, 0o640)
	if err := os.Rename(b.root+name+".new", b.root+name); err != nil {
		b.t.Fatal(err)
	}
}

// A mark is another one after a change of what it stands for, and of nothing else.
func TestChanges(t *testing.T) {
	version := func(old, new string) func(testBox) {
		return func(b testBox) { b.renew("/etc/pve/.version", strings.Replace(oneVersion, old, new, 1)) }
	}
	remove := func(name string) func(testBox) {
		return func(b testBox) {
			if err := os.RemoveAll(b.root + name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(testBox)
		marks  string // that are others then
	}{
		"nothing":                  {func(testBox) {}, ""},
		"a config":                 {version(`"vmlist": 7`, `"vmlist": 8`), "Cluster"},
		"the users":                {version(`"user.cfg": 3`, `"user.cfg": 4`), "Cluster"},
		"the storages":             {version(`"storage.cfg": 1`, `"storage.cfg": 2`), "Cluster"},
		"pmxcfs":                   {version("1764000000", "1764000001"), "Cluster"},
		"a file of a later PVE":    {version(`"clinfo": 1`, `"clinfo": 1, "new.cfg": 1`), "Cluster"},
		"figures of pvestatd":      {version(`"tasklist": 90`, `"tasklist": 91`), ""},
		"the HA manager's state":   {version(`"ha/manager_status": 40`, `"ha/manager_status": 41`), ""},
		"a task, with equal lines": {func(b testBox) { b.renew("/var/log/pve/tasks/active", "UPID:pve1:1 1 6922 OK\n") }, "Tasks"},
		"a task's end":             {func(b testBox) { b.write("/var/log/pve/tasks/index", "UPID:pve1:1 6922 OK\nUPID", 0o644) }, "Tasks"},
		"no task yet":              {remove("/var/log/pve/tasks"), "Tasks"},
		"a container's start":      {func(b testBox) { b.write("/sys/fs/cgroup/lxc/202/cgroup.procs", "", 0o644) }, "Guests"},
		"a container's end":        {remove("/sys/fs/cgroup/lxc/201"), "Guests"},
		"a VM's end":               {remove("/sys/fs/cgroup/qemu.slice/300.scope"), "Guests"},
		"a group within a group":   {func(b testBox) { b.write("/sys/fs/cgroup/lxc/201/ns/init.scope/cgroup.procs", "", 0o644) }, ""},
		"a group of no guest":      {func(b testBox) { b.write("/sys/fs/cgroup/lxc/other/cgroup.procs", "", 0o644) }, ""},
		"a disk's contents":        {func(b testBox) { b.write("/run/udev/data/b8:17", "E:ID_BUS=usb\nI:2\n", 0o644) }, "Disks"},
		"a disk": {func(b testBox) {
			b.write("/proc/partitions", "   8        0  500 sda\n   8        2  500 sda2\n", 0o644)
		}, "Disks"},
		"a mount":       {func(b testBox) { b.write("/proc/1/mountinfo", "22 1 8:2 / / rw - ext4 /dev/sda2 rw\n", 0o644) }, "Disks"},
		"the fstab":     {func(b testBox) { b.write(fstabPath, oldTable+"# a comment\n", 0o644) }, "Disks"},
		"root's policy": {func(b testBox) { b.write(PolicyPath, `{"disks": ["/dev/sdb1"]}`, 0o644) }, "Disks"},
	} {
		t.Run(name, func(t *testing.T) {
			b := quietBox(t)
			marks := func() Marks {
				m, err := Changes(t.Context(), b, testNode)
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			before := marks()
			c.change(b)
			now := marks()
			var changed []string
			old, new := reflect.ValueOf(before), reflect.ValueOf(now)
			for i := range old.NumField() {
				if old.Field(i).String() == "" {
					t.Errorf("%s has no mark", old.Type().Field(i).Name)
				}
				if old.Field(i).String() != new.Field(i).String() {
					changed = append(changed, old.Type().Field(i).Name)
				}
			}
			if got := strings.Join(changed, " "); got != c.marks {
				t.Errorf("changed: %q, want %q", got, c.marks)
			}
			if data, _ := json.Marshal(now); len(data) > 300 {
				t.Errorf("the answer has %d bytes", len(data))
			}
			if calls, _ := os.ReadFile(b.root + "/calls"); len(calls) > 0 {
				t.Errorf("programs were run:\n%s", calls)
			}
		})
	}
}

// A restart between two looks is noticed: the cgroup is another one.
func TestChangesShowARestart(t *testing.T) {
	b := quietBox(t)
	before, err := Changes(t.Context(), b, testNode)
	if err != nil {
		t.Fatal(err)
	}
	group := b.root + "/sys/fs/cgroup/lxc/201"
	if err := os.Rename(group, b.root+"/old"); err != nil { // its number is not free meanwhile, as in the kernel
		t.Fatal(err)
	}
	b.write("/sys/fs/cgroup/lxc/201/cgroup.procs", "", 0o644)
	if now, err := Changes(t.Context(), b, testNode); err != nil || now.Guests == before.Guests {
		t.Errorf("%+v, %v", now, err)
	}
}

// Where a mark cannot be read there is none of them, and an error that names the file.
func TestChangesOfAHostileHost(t *testing.T) {
	link := func(name, target string) func(testBox) {
		return func(b testBox) {
			if err := os.RemoveAll(b.root + name); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, b.root+name); err != nil {
				t.Fatal(err)
			}
		}
	}
	version := func(text string) func(testBox) {
		return func(b testBox) { b.renew("/etc/pve/.version", text) }
	}
	for name, c := range map[string]struct {
		spoil func(testBox)
		says  string
	}{
		"no version":                {func(b testBox) { os.Remove(b.root + "/etc/pve/.version") }, "/etc/pve/.version"},
		"an empty version":          {version(""), "not what PVE writes"},
		"not JSON":                  {version("starttime: 1"), "not what PVE writes"},
		"half a version":            {version(oneVersion[:40]), "not what PVE writes"},
		"a list":                    {version("[]"), "not what PVE writes"},
		"no numbers":                {version(`{"starttime": "1", "vmlist": -1, "storage.cfg": 1.5, "user.cfg": null}`), "no number starttime"},
		"a number without end":      {version(`{"starttime": ` + strings.Repeat("9", 5000) + `}`), "no number starttime"},
		"a huge version":            {version(`{"x": "` + strings.Repeat("x", maxVersion) + `"}`), "longer than 256 KiB"},
		"anybody's version":         {func(b testBox) { os.Chmod(b.root+"/etc/pve/.version", 0o666) }, "may be written by others"},
		"the tasks are a link":      {link("/var/log/pve/tasks/active", "/etc/shadow"), "a symbolic link"},
		"their directory is a link": {link("/var/log/pve/tasks", "/etc"), "a symbolic link"},
		"the tasks are a directory": {func(b testBox) {
			link("/var/log/pve/tasks/index", "x")(b)
			os.Remove(b.root + "/var/log/pve/tasks/index")
			os.Mkdir(b.root+"/var/log/pve/tasks/index", 0o755)
		}, "not a file"},
		"cgroup v1":                  {func(b testBox) { os.Remove(b.root + "/sys/fs/cgroup/cgroup.controllers") }, "no cgroup v2"},
		"a guest's cgroup is a link": {link("/sys/fs/cgroup/lxc/201", "/etc"), "a symbolic link"},
		"no mount table":             {func(b testBox) { os.Remove(b.root + "/proc/1/mountinfo") }, "mount table"},
	} {
		t.Run(name, func(t *testing.T) {
			b := quietBox(t)
			c.spoil(b)
			m, err := Changes(t.Context(), b, testNode)
			if err == nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 400 || m != (Marks{}) {
				t.Errorf("%+v, %v; want %q", m, err, c.says)
			}
		})
	}
}

// FuzzVersion: whatever stands in .version, its mark is short, and has a line for each counter but those that rise by themselves.
func FuzzVersion(f *testing.F) {
	f.Add([]byte(oneVersion))
	f.Add([]byte(`{"starttime":1,"vmlist":1,"storage.cfg":1,"user.cfg":1,"kvstore":{"a\nb":1},"x\n\"y\" 5":6}`))
	f.Add([]byte(`{"starttime":1,"starttime":2,"vmlist":1e3,"storage.cfg":18446744073709551616,"user.cfg":-0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		mark, err := versionMark(data)
		if (err == nil) != (mark != "") {
			t.Fatalf("%q, %v", mark, err)
		}
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("%d letters of error", len(err.Error()))
			}
			return
		}
		for _, name := range restless {
			if strings.Contains(mark, `"`+name+`"`) {
				t.Errorf("%q counts %s", mark, name)
			}
		}
		lines := strings.Split(strings.TrimSuffix(mark, "\n"), "\n")
		for i, line := range lines {
			if !strings.HasPrefix(line, `"`) || i > 0 && lines[i-1] == line {
				t.Errorf("line %q in %q", line, mark)
			}
		}
		var all map[string]json.RawMessage
		if json.Unmarshal(data, &all) != nil || len(lines) > len(all) {
			t.Errorf("%d lines of %q", len(lines), data)
		}
	})
}
