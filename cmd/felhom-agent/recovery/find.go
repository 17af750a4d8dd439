package recovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/spec"
)

// peek is where a disk is mounted, read-only, to see whether it has a kit.
const peek = "/run/felhom-recovery"

// fileSystems are what may have a kit on it.
var fileSystems = []string{"ext4", "ext3", "ext2", "xfs", "btrfs", "f2fs", "vfat", "exfat", "ntfs"}

// A found kit is one on a disk or in a folder.
type found struct {
	kit   *kit.Kit
	where string // for people; the folder, where it is in one
	uuid  string // of its disk; "": it is in a folder that was named
}

// find reads the kits of the disks that are connected, the newest first; of from alone, where it is a folder or a UUID.
func find(ctx context.Context, h Host, from string) (kits []found, refused []error, err error) {
	take := func(dir, where, uuid string) error {
		disk, done, err := h.Disk(dir)
		if err != nil {
			return fmt.Errorf("%s cannot be read: %w", where, err)
		}
		defer done()
		all, bad := kit.Find(disk)
		for _, k := range all {
			kits = append(kits, found{k, where, uuid})
		}
		for _, err := range bad {
			refused = append(refused, fmt.Errorf("on %s: %w", where, err))
		}
		return nil
	}
	if strings.HasPrefix(from, "/") {
		err := take(from, from, "")
		return sortFound(kits), refused, err
	}
	node, err := h.NodeName()
	if err != nil {
		return nil, nil, fmt.Errorf("this is not a node of Proxmox VE: %w", err)
	}
	disks, err := privileged.Disks(ctx, h.Root(), node)
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	for _, d := range disks {
		if from != "" && !strings.EqualFold(d.UUID, from) || d.UUID == "" || seen[d.UUID] || !slices.Contains(fileSystems, d.FSType) {
			continue
		}
		seen[d.UUID] = true
		where := fmt.Sprintf("%s (%s)", label(&d), d.Device)
		if len(d.Mounted) > 0 && d.Mounted[0] != peek {
			err = take(d.Mounted[0], where, d.UUID)
		} else {
			err = peeked(ctx, h, d.Device, len(d.Mounted) > 0, func() error { return take(peek, where, d.UUID) })
		}
		if err != nil {
			refused = append(refused, err)
		}
	}
	return sortFound(kits), refused, nil
}

func sortFound(kits []found) []found {
	slices.SortStableFunc(kits, func(a, b found) int { return kit.Newer(a.kit, b.kit) })
	return kits
}

// peeked mounts a disk read-only while read runs, without any power that what is on it could have. left says that one that was killed has it mounted.
func peeked(ctx context.Context, h Host, device string, left bool, read func() error) error {
	lines := [][]string{{mkdir, "-p", peek}, {mount, "-o", "ro,nosuid,nodev,noexec", device, peek}}
	if left {
		lines = nil
	}
	for _, line := range lines {
		if out, exit, err := h.Run(ctx, line[0], line[1:]...); err != nil || exit != 0 {
			return errors.Join(fmt.Errorf("%s cannot be read: %s", device, lastLine(out)), err)
		}
	}
	err := read()
	if out, exit, e := h.Run(context.WithoutCancel(ctx), umount, peek); e != nil || exit != 0 {
		err = errors.Join(err, fmt.Errorf("%s is still mounted at %s: %s", device, peek, lastLine(out)), e)
	}
	return err
}

// load checks the desired state of a kit as if its YAML had been typed here, with the folders that its fence.json allows.
func load(k *kit.Kit) (*spec.Desired, error) {
	dir, err := os.MkdirTemp("", "felhom-recovery-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	files := k.DesiredFiles()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o600); err != nil {
			return nil, err
		}
	}
	var l spec.Loader
	if policy := k.Policy(); policy != nil {
		if folders, err := privileged.FoldersOf(policy); err == nil {
			l.Roots, l.IDMap = folders.Roots, folders.IDMap
		}
	}
	want, err := l.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("the desired state of the kit is refused: %s", quote.Text(err.Error()))
	}
	return want, nil
}

// wrongHost says why a kit must not be used on this host, and what to do; "" where nothing stands against it.
func wrongHost(k *kit.Kit, want *spec.Desired, have *State, owner string, onto bool) string {
	if k.Node != have.Node && owner != k.Owner {
		return fmt.Sprintf("the kit is of the node %s and this host is %s. Install Proxmox VE with the node name %s; or adopt its guests with --take-over %s", k.Node, have.Node, k.Node, k.Owner)
	}
	if onto || have.Mark.Kit == digest(k) { // this recovery has begun: what exists may be of its own making
		return ""
	}
	declared := map[int]string{}
	for name, g := range want.Restores {
		declared[int(g.VMID)] = name
	}
	for name, g := range want.Guests {
		declared[int(g.VMID)] = name
	}
	for name, g := range want.Golden {
		declared[int(g.VMID)] = name
	}
	var others, used []string
	for _, g := range have.Guests {
		foreign := slices.ContainsFunc(g.Owners, func(o string) bool { return o != k.Owner })
		managed := slices.Contains(g.Owners, k.Owner)
		switch {
		case foreign:
			others = append(others, fmt.Sprintf("%d (%s, of %s)", g.VMID, g.Name, strings.Join(g.Owners, ", ")))
		case declared[g.VMID] != "" && !managed:
			used = append(used, fmt.Sprintf("%d (%s; %s in the kit)", g.VMID, g.Name, declared[g.VMID]))
		}
	}
	switch {
	case len(others) > 0:
		return quote.Sprintf("this host has guests with other ownership markers: %s. Nothing was changed; to go on beside them: --yes --onto-existing", strings.Join(others, ", "))
	case len(used) > 0:
		return quote.Sprintf("VMIDs of the kit are used on this host: %s. Nothing was changed; to recover the others: --yes --onto-existing", strings.Join(used, ", "))
	}
	return ""
}
