package lifecycle

import (
	"fmt"
	"sort"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

const tarCommand = "command 'lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- tar xpf - %s--totals --one-file-system -p --sparse --numeric-owner --acls --xattrs '--xattrs-include=user.*' '--xattrs-include=security.capability' '--warning=no-file-ignored' '--warning=no-xattr-write' -C /var/lib/lxc/%s/rootfs --skip-old-files --anchored --exclude './dev/*'' failed: exit code 2"

// endRestore is the unpacking's end and what follows it.
func endRestore(cl *cluster.Cluster, t *world.Task, g *world.Guest) error {
	archive := t.Args["archive"]
	v, _, err := places.Find(cl, t.Node, archive)
	if err != nil {
		return err
	}
	flag := ""
	if strings.HasSuffix(archive, ".zst") {
		flag = "--zstd "
	}
	failed := fmt.Errorf(tarCommand, flag, t.ID)
	if v == nil || v.Whole > 0 {
		return cutOff(cl, t, g, v, failed)
	}
	created := t.Created()
	for _, m := range created { // one that was named, and then destroyed with the old guest
		if vol, p, err := places.Find(cl, t.Node, m.Volid()); err != nil || vol == nil {
			_, name, _ := strings.Cut(m.Volid(), ":")
			if err == nil {
				err = fmt.Errorf("no such logical volume %s/%s", p.Storage.VolumeGroup(), name)
			}
			return err
		}
	}
	total, full := unpack(cl, t, v, created)
	if full {
		return failed
	}
	g.Inside = v.Inside.Copy()
	t.Logf("Total bytes read: %d (%s, 90MiB/s)", total, notation.Binary(total))
	t.Logf("merging backed-up and given configuration..")
	return merge(cl, t, g, lxcconf.Parse(v.Config))
}

// cutOff is the unpacking of an archive that is gone or not all there: v is nil, or what is left.
func cutOff(cl *cluster.Cluster, t *world.Task, g *world.Guest, v *world.Volume, failed error) error {
	if strings.HasSuffix(t.Args["archive"], ".zst") {
		t.Logf("/*stdin*\\ : Read error (39) : premature end ")
	}
	t.Logf("tar: Unexpected EOF in archive")
	t.Logf("tar: Unexpected EOF in archive")
	t.Logf("tar: Error is not recoverable: exiting now")
	if v == nil || t.Args["ignore-unpack-errors"] != "1" {
		return failed
	}
	t.Logf("merging backed-up and given configuration..")
	t.Logf("/etc/os-release file not found and autodetection failed, falling back to 'unmanaged'")
	old := lxcconf.Parse(v.Config)
	t.Logf("got unexpected ostype (unmanaged != %s)", old.Vals["ostype"])
	old.Section.Set("ostype", "unmanaged")
	return merge(cl, t, g, old)
}

// unpack puts the parts of an archive into the volumes, each into the deepest one that its
// path lies in; total is in bytes, full reports that a volume had no room left.
func unpack(cl *cluster.Cluster, t *world.Task, v *world.Volume, created []lxcconf.MountPoint) (total int64, full bool) {
	parts := append([]world.Part(nil), v.Parts...)
	sort.SliceStable(parts, func(i, j int) bool { return len(parts[i].Path) < len(parts[j].Path) })
	for _, p := range parts {
		total += p.Used
		vol := holder(cl, t.Node, created, p.Path)
		if vol == nil {
			continue
		}
		exact := false
		for _, m := range created {
			exact = exact || m.Path == p.Path && (t.Args["keep:"+m.Key] == "" || vol.Data == world.EmptyData)
		}
		if exact {
			vol.Data, vol.Bare = p.Data, p.Bare
		} else {
			vol.Data = world.Imprint(vol.Data, "with", p.Path, p.Data)
		}
		vol.Used += p.Used
		if vol.Size > 0 && vol.Used > vol.Size-vol.Size/20 || crowded(cl, t.Node, created) {
			t.Logf("tar: .%s: Cannot write: No space left on device", strings.TrimSuffix(p.Path, "/")+"/root/.profile")
			t.Logf("tar: Exiting with failure status due to previous errors")
			return total, true
		}
	}
	return total, false
}

// holder is the deepest of the volumes that a path lies in.
func holder(cl *cluster.Cluster, n *world.Node, created []lxcconf.MountPoint, path string) *world.Volume {
	var best *world.Volume
	depth := -1
	for _, m := range created {
		if world.Under(path, m.Path) && len(m.Path) > depth {
			if vol, _, _ := places.Find(cl, n, m.Volid()); vol != nil {
				best, depth = vol, len(m.Path)
			}
		}
	}
	return best
}
