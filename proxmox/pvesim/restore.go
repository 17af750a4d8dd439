package pvesim

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// A wanted is one volume that a creation makes.
type wanted struct {
	mountPoint
	storage string
	size    int64
}

// runCreate is the worker of a creation and of a restore.
func (s *Sim) runCreate(t *task) error {
	g, err := s.taskGuest(t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if t.Type == "vzrestore" {
			err = s.beginRestore(t, g)
		} else {
			err = s.beginCreate(t)
		}
		if err != nil {
			return err
		}
		if t.Type == "vzrestore" {
			return s.then(t, 0.1)
		}
		return s.then(t, 1)
	}
	if t.Type == "vzrestore" && t.Phase == 1 {
		if err := s.openArchive(t); err != nil {
			return err
		}
		return s.then(t, 0.9)
	}
	if t.Type == "vzrestore" {
		err = s.endRestore(t, g)
	} else {
		err = s.endCreate(t, g)
	}
	if err != nil {
		return err
	}
	if p := s.pool(t.Args["pool"]); p != nil && !contains(p.VMs, g.VMID) { // with the whole config (measured, 9.2.11)
		p.VMs = append(p.VMs, g.VMID)
		s.acl.forget()
	}
	g.Filled = s.now.Unix()
	if t.Args["start"] == "1" { // a task of its own, whose end is not this one's
		s.start(t.node, "vzstart", t.ID, t.User, 0, nil)
	}
	return errDone
}

// request are the config keys that the caller gave.
func (t *task) request() map[string]string {
	set := make(map[string]string)
	for k, v := range t.Args {
		if key, ok := strings.CutPrefix(k, "p:"); ok {
			set[key] = v
		}
	}
	return set
}

// allocate makes the volumes that are wanted and notes them in the task: what is
// noted is freed when it fails.
func (s *Sim) allocate(t *task, want []wanted) error {
	for _, w := range want {
		if w.storage == "" { // a volume that is there already
			t.Args["new:"+w.key], t.Args["keep:"+w.key] = w.print(), "1"
			continue
		}
		volid, lines, err := s.alloc(t.node, t.vmid(), w.storage, w.size)
		if err != nil {
			return err
		}
		t.Log = append(t.Log, lines...)
		w.props["volume"], w.props["size"] = volid, formatSize(w.size)
		t.Args["new:"+w.key] = w.print()
	}
	return nil
}

// created are the volumes that the task made.
func (t *task) created() []mountPoint {
	var all []mountPoint
	for k, v := range t.Args {
		if key, ok := strings.CutPrefix(k, "new:"); ok {
			if m, err := parseMountPoint(key, v); err == nil {
				all = append(all, m)
			}
		}
	}
	sort.Slice(all, func(i, j int) bool { return mpOrder(all[i].key) < mpOrder(all[j].key) })
	return all
}

// mpOrder sorts rootfs first and then by number.
func mpOrder(key string) int {
	if key == "rootfs" {
		return -1
	}
	return atoi(strings.TrimPrefix(key, "mp"))
}

// requested are the mount points of the request; binds and devices come apart, since
// they are put in after the unpacking.
func requested(set map[string]string) (want []wanted, later map[string]string, err error) {
	later = make(map[string]string)
	for k, v := range set {
		kind := strings.TrimRight(k, "0123456789")
		if k != "rootfs" && (kind != "mp" || k == kind) {
			continue
		}
		m, err := parseMountPoint(k, v)
		if err != nil {
			return nil, nil, err
		}
		if m.kind() != "volume" {
			later[k] = m.print()
			continue
		}
		w := wanted{mountPoint: m}
		if d := newDiskRE.FindStringSubmatch(m.volid()); d != nil {
			w.storage, w.size = d[1], parseSize(d[2]+"G")
		} else {
			w.storage = "" // an existing volume
		}
		want = append(want, w)
	}
	sort.Slice(want, func(i, j int) bool { return mpOrder(want[i].key) < mpOrder(want[j].key) })
	return want, later, nil
}

// beginRestore recovers the config, checks what only the archive could tell, and
// makes the volumes; over an existing guest it then destroys the old ones.
func (s *Sim) beginRestore(t *task, g *guest) error {
	archive := t.Args["archive"]
	t.log("recovering backed-up configuration from '%s'", archive)
	v, p, err := s.volume(t.node, archive)
	if err != nil {
		return err
	}
	if v == nil {
		return fmt.Errorf("volume '%s' does not exist", archive)
	}
	if err := p.lacksKey(v); err != nil {
		return err
	}
	if v.Garbage || v.Unfinished {
		t.log("zstd: /*stdin*\\: unsupported format ")
		t.log("tar: Child returned status 1")
		t.log("tar: Error is not recoverable: exiting now")
		return errors.New("ERROR: archive contains no configuration file")
	}
	who := s.acl.subject(t.User)
	if who == nil {
		return errors.New("no such user")
	}
	old, set := parseConfig(v.Config), t.request()
	for _, k := range old.numbered("net") {
		if _, given := set[k]; !given {
			if err := s.bridgeAccess(who, old.vals[k]); err != nil {
				return err
			}
		}
	}
	unprivileged := old.vals["unprivileged"] == "1"
	if u, ok := set["unprivileged"]; ok {
		unprivileged = u == "1"
	}
	if !unprivileged && !(t.Args["over"] == "1" && g.conf.vals["unprivileged"] != "1") {
		if err := s.need(who, "/", "Sys.Modify"); err != nil {
			return err
		}
	}
	want, _, err := requested(set)
	if err != nil {
		return err
	}
	if _, given := set["rootfs"]; !given {
		if want, err = s.fromArchive(t, who, old); err != nil {
			return err
		}
	}
	var before []string
	if t.Args["over"] == "1" {
		before = s.volumesOf(g)
	}
	if err := s.allocate(t, want); err != nil {
		return err
	}
	for _, volid := range before {
		lines, err := s.free(t.node, volid)
		if err != nil {
			t.log("%s", err.Error())
		}
		t.Log = append(t.Log, lines...)
	}
	if t.Args["over"] == "1" {
		t.Args["destroyed"] = "1"
	}
	t.log("restoring '%s' now..", archive)
	return nil
}

// openArchive lets tar open the archive: deleted since its config was read, it is gone.
func (s *Sim) openArchive(t *task) error {
	archive := t.Args["archive"]
	v, p, err := s.volume(t.node, archive)
	if err != nil {
		return err
	}
	if v == nil {
		return fmt.Errorf("volume '%s' does not exist", archive)
	}
	_, name, _ := strings.Cut(archive, ":")
	if p.datastore == nil {
		t.log("extracting archive '%s'", p.st.file(name))
	}
	return nil
}

// fromArchive are the volumes of the archive's config, to be made on one storage.
func (s *Sim) fromArchive(t *task, who *subject, old *config) ([]wanted, error) {
	var want []wanted
	for _, m := range old.mountPoints() {
		if m.kind() != "volume" {
			if !who.root() {
				return nil, fmt.Errorf("restoring '%s' to %s mount is only possible for root", m.key, m.kind())
			}
			t.Args["later:"+m.key] = m.print()
			continue
		}
		if m.props["size"] == "" {
			return nil, fmt.Errorf("unable to detect disk size - please specify %s (size)", m.key)
		}
		want = append(want, wanted{mountPoint: m, storage: t.Args["storage"], size: parseSize(m.props["size"])})
	}
	return want, nil
}

// volumesOf are all volumes that belong to a guest: mounted, unused, pending and in
// snapshots, as far as their names say that they are its own.
func (s *Sim) volumesOf(g *guest) []string {
	var all []string
	take := func(volid string) {
		if volumeKind(volid) == "volume" && s.owns(g, volid) && !contains(all, volid) {
			all = append(all, volid)
		}
	}
	sections := []*section{&g.conf.section, &g.conf.pending}
	for _, name := range sortedKeys(g.conf.snaps) {
		sections = append(sections, g.conf.snaps[name])
	}
	for _, sec := range sections {
		for _, m := range sec.mountPoints() {
			take(m.volid())
		}
		for _, k := range sec.numbered("unused") {
			take(sec.vals[k])
		}
	}
	return all
}

// crowded reports whether a storage of these volumes has no room left.
func (s *Sim) crowded(n *node, mounts []mountPoint) bool {
	for _, m := range mounts {
		if _, p, err := s.volume(n, m.volid()); err == nil && p.total > 0 && p.avail() == 0 {
			return true
		}
	}
	return false
}

const tarCommand = "command 'lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- tar xpf - %s--totals --one-file-system -p --sparse --numeric-owner --acls --xattrs '--xattrs-include=user.*' '--xattrs-include=security.capability' '--warning=no-file-ignored' '--warning=no-xattr-write' -C /var/lib/lxc/%s/rootfs --skip-old-files --anchored --exclude './dev/*'' failed: exit code 2"

// endRestore is the unpacking's end and what follows it.
func (s *Sim) endRestore(t *task, g *guest) error {
	archive := t.Args["archive"]
	v, _, err := s.volume(t.node, archive)
	if err != nil {
		return err
	}
	flag := ""
	if strings.HasSuffix(archive, ".zst") {
		flag = "--zstd "
	}
	failed := fmt.Errorf(tarCommand, flag, t.ID)
	if v == nil || v.Whole > 0 {
		if flag != "" {
			t.log("/*stdin*\\ : Read error (39) : premature end ")
		}
		t.log("tar: Unexpected EOF in archive")
		t.log("tar: Unexpected EOF in archive")
		t.log("tar: Error is not recoverable: exiting now")
		if v == nil || t.Args["ignore-unpack-errors"] != "1" {
			return failed
		}
		t.log("merging backed-up and given configuration..")
		t.log("/etc/os-release file not found and autodetection failed, falling back to 'unmanaged'")
		old := parseConfig(v.Config)
		t.log("got unexpected ostype (unmanaged != %s)", old.vals["ostype"])
		old.section.set("ostype", "unmanaged")
		return s.merge(t, g, old)
	}
	total := int64(0)
	created := t.created()
	for _, m := range created { // one that was named, and then destroyed with the old guest
		if vol, p, err := s.volume(t.node, m.volid()); err != nil || vol == nil {
			_, name, _ := strings.Cut(m.volid(), ":")
			if err == nil {
				err = fmt.Errorf("no such logical volume %s/%s", p.st.vg(), name)
			}
			return err
		}
	}
	holder := func(path string) *volume { // the deepest volume that the path lies in
		var best *volume
		depth := -1
		for _, m := range created {
			if under(path, m.path) && len(m.path) > depth {
				if vol, _, _ := s.volume(t.node, m.volid()); vol != nil {
					best, depth = vol, len(m.path)
				}
			}
		}
		return best
	}
	parts := append([]part(nil), v.Parts...)
	sort.SliceStable(parts, func(i, j int) bool { return len(parts[i].Path) < len(parts[j].Path) })
	for _, p := range parts {
		total += p.Used
		vol := holder(p.Path)
		if vol == nil {
			continue
		}
		exact := false
		for _, m := range created {
			exact = exact || m.path == p.Path && (t.Args["keep:"+m.key] == "" || vol.Data == emptyData)
		}
		if exact {
			vol.Data, vol.Bare = p.Data, p.Bare
		} else {
			vol.Data = imprint(vol.Data, "with", p.Path, p.Data)
		}
		vol.Used += p.Used
		if vol.Size > 0 && vol.Used > vol.Size-vol.Size/20 || s.crowded(t.node, created) {
			t.log("tar: .%s: Cannot write: No space left on device", strings.TrimSuffix(p.Path, "/")+"/root/.profile")
			t.log("tar: Exiting with failure status due to previous errors")
			return failed
		}
	}
	t.log("Total bytes read: %d (%s, 90MiB/s)", total, binary(total))
	t.log("merging backed-up and given configuration..")
	return s.merge(t, g, parseConfig(v.Config))
}
