package proxmox

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// canonical forms that a real node printed.
func TestPropertyStrings(t *testing.T) {
	parse := map[string]func(string) (string, error){
		"net":      func(s string) (string, error) { v, err := ParseNet(s); return v.String(), err },
		"mount":    func(s string) (string, error) { v, err := ParseMountPoint(s); return v.String(), err },
		"features": func(s string) (string, error) { v, err := ParseFeatures(s); return v.String(), err },
		"startup":  func(s string) (string, error) { v, err := ParseStartup(s); return v.String(), err },
		"device":   func(s string) (string, error) { v, err := ParseDevice(s); return v.String(), err },
	}
	for _, c := range []struct{ kind, in, want string }{
		{"net", "ip=dhcp,bridge=vmbr0,name=eth0,type=veth,hwaddr=BC:24:11:2F:BB:CB", "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:2F:BB:CB,ip=dhcp,type=veth"},
		{"net", "name=eth0,bridge=vmbr0,firewall=on,gw=10.0.0.1,ip=10.0.0.2/24", "name=eth0,bridge=vmbr0,firewall=1,gw=10.0.0.1,ip=10.0.0.2/24"},
		{"net", "name=eth0,trunks=1;2,shiny=new", "name=eth0,shiny=new,trunks=1;2"},
		{"mount", "backup=yes,mp=/data,volume=local-lvm:vm-111-disk-1,size=8192M", "local-lvm:vm-111-disk-1,mp=/data,backup=1,size=8G"},
		{"mount", "ctdir:100/vm-100-disk-0.raw,size=8G", "ctdir:100/vm-100-disk-0.raw,size=8G"},
		{"mount", "/mnt/usb/media/library,mp=/media,ro=1", "/mnt/usb/media/library,mp=/media,ro=1"},
		{"mount", "local:1,mp=/a,mountoptions=noatime;nodev", "local:1,mp=/a,mountoptions=noatime;nodev"},
		{"mount", "volume=/srv/a=b,mp=/a", "volume=/srv/a=b,mp=/a"},
		{"features", "nesting=true,keyctl=1,mount=nfs;cifs", "keyctl=1,mount=nfs;cifs,nesting=1"},
		{"startup", "3", "order=3"},
		{"startup", "up=30,order=2,down=5", "order=2,up=30,down=5"},
		{"device", "gid=104,path=/dev/dri/renderD128,deny-write=no", "/dev/dri/renderD128,deny-write=0,gid=104"},
		{"device", "/dev/ttyUSB0", "/dev/ttyUSB0"},
	} {
		got, err := parse[c.kind](c.in)
		if err != nil || got != c.want {
			t.Errorf("%s %q: %q, %v; want %q", c.kind, c.in, got, err, c.want)
		}
		if again, err := parse[c.kind](got); err != nil || again != got {
			t.Errorf("%s %q is not stable: %q, %v", c.kind, got, again, err)
		}
	}
	for _, c := range []struct{ kind, in, says string }{
		{"net", "eth0,bridge=vmbr0", "no key"},
		{"net", "name=eth0,name=eth1", "twice"},
		{"net", "name=eth0,firewall=maybe", "neither yes nor no"},
		{"net", "", "empty"},
		{"net", "name=", "lacks"},
		{"net", "name=eth0, bridge=vmbr0", "without spaces"},
		{"net", "name=eth0\nlxc.x,bridge=vmbr0", "control character"},
		{"mount", "local:1,mp=/a,size=8GB", "GiB"},
		{"startup", "soon", "not a number"},
		{"startup", "order=1,left=2", "order, up and down"},
		{"device", "/dev/a,/dev/b", "twice"},
	} {
		if got, err := parse[c.kind](c.in); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %q: %q, %v; want an error with %q", c.kind, c.in, got, err, c.says)
		}
	}
}

func TestMountPoint(t *testing.T) {
	for _, c := range []struct {
		in     string
		kind   MountKind
		backup bool
		volume string
		path   string
		size   Size
	}{
		{"local-lvm:vm-111-disk-0,size=16G", VolumeMount, true, "local-lvm:vm-111-disk-0", "", 16 * GiB},
		{"local-lvm:vm-111-disk-1,mp=/data,size=1G", VolumeMount, false, "local-lvm:vm-111-disk-1", "/data", GiB},
		{"local-lvm:vm-111-disk-1,mp=/data,backup=1", VolumeMount, true, "local-lvm:vm-111-disk-1", "/data", 0},
		{"/mnt/usb/media,mp=/media,backup=1", BindMount, false, "/mnt/usb/media", "/media", 0},
		{"/dev/sdb1,mp=/x", DeviceMount, false, "/dev/sdb1", "/x", 0},
	} {
		m, err := ParseMountPoint(c.in)
		size, sized := m.Size()
		if err != nil || m.Kind() != c.kind || m.Backup() != c.backup || m.Volume() != c.volume || m.Path() != c.path || size != c.size || sized != (c.size != 0) {
			t.Errorf("%q: %v %v %q %q %v %v, %v", c.in, m.Kind(), m.Backup(), m.Volume(), m.Path(), size, sized, err)
		}
	}
	if got := NewVolume("local-lvm", 16*GiB); got != "local-lvm:16" {
		t.Error(got)
	}
	if got := NewVolume("local-lvm", 512*MiB); got != "local-lvm:0.5" {
		t.Error(got)
	}
	if s, err := ParseStartup("order=3,up=5"); err != nil {
		t.Error(err)
	} else if n, ok := s.Order(); n != 3 || !ok {
		t.Error(n, ok)
	}
	if _, ok := (Startup{"up": "5"}).Order(); ok {
		t.Error("an order where none is said")
	}
}

// FuzzPropertyStrings holds that what parses prints in a stable form that
// means the same, with every sub-key still there.
func FuzzPropertyStrings(f *testing.F) {
	for _, s := range []string{
		"name=eth0,bridge=vmbr0,ip=dhcp", "local-lvm:vm-1-disk-0,mp=/data,backup=1,size=8G", "keyctl=1,nesting=1",
		"order=3,up=30", "/dev/dri/renderD128,gid=104", "a,b", "=,=", "volume=x=y", "size=0.1K", "volume= ", ",,a=1", "path=a,b",
	} {
		f.Add(s)
	}
	kinds := []struct {
		g     grammar
		parse func(string) (map[string]string, error)
		check func(string) error
	}{
		{netGrammar, netGrammar.parse, CheckNet}, {mountGrammar, parseMount, CheckMountPoint}, {featuresGrammar, featuresGrammar.parse, featuresGrammar.check}, {deviceGrammar, deviceGrammar.parse, deviceGrammar.check},
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := GuestConfig{Raw: map[string]string{"rootfs": s}}
		if root, _ := c.RootFS(); root.Volume() != c.RootVolume() {
			t.Fatalf("the volume of the rootfs %q is %q or %q", s, root.Volume(), c.RootVolume())
		}
		for part := range strings.SplitSeq(s, ",") {
			key, value, _ := strings.Cut(part, "=")
			if !NetSays(s, Net{key: value}) {
				continue
			}
			net, err := ParseNet(s)
			if word, ok := parseBool(value); ok && net[key] == word {
				value = word
			}
			if err != nil || net[key] != value {
				t.Fatalf("%q is said to have %s=%s, and is %v, %v", s, key, value, net, err)
			}
		}
		for _, k := range kinds {
			m, err := k.parse(s)
			if wrong := k.check(s); fmt.Sprint(wrong) != fmt.Sprint(err) {
				t.Fatalf("%s: %q is refused with %v, and its check says %v", k.g.what, s, err, wrong)
			}
			if err != nil {
				continue
			}
			printed := k.g.print(m)
			again, err := k.parse(printed)
			if err != nil || !maps.Equal(m, again) || k.g.print(again) != printed {
				t.Fatalf("%s: %q is %q, prints %q, which is %q, %v", k.g.what, s, m, printed, again, err)
			}
		}
	})
}

func TestNumberedKeysOnly(t *testing.T) {
	c := GuestConfig{Raw: map[string]string{
		"net0": "name=eth0", "net10": "name=eth1", "network": "x", "net01": "name=odd", "mp0": "local:1,mp=/a", "mpx": "y", "unused3": "local:v",
		"net2": "eth0,eth0,firewall=perhaps",
	}}
	if got := slices.Sorted(maps.Keys(c.Nets())); !slices.Equal(got, []int{0, 2, 10}) {
		t.Errorf("nets %v: one that is written oddly must not go missing", got)
	}
	if got := c.Unused(); len(got) != 1 || got[3] != "local:v" {
		t.Error(got)
	}
	if got := slices.Sorted(maps.Keys(c.Extra())); !slices.Equal(got, []string{"mpx", "net01", "network"}) {
		t.Error(got)
	}
}
