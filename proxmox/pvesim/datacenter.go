package pvesim

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
)

// What an administrator does to storages and backup jobs, and what a node says of itself
// that the agent does not ask.

// storageSet makes or changes a storage. PVE: API2/Storage/Config.
func storageSet(c *call) error {
	s, id := c.s, c.param("storage")
	st := s.storages[id]
	switch {
	case id == "":
		return badParam("storage", missing)
	case c.method == "POST" && st != nil:
		return fail("create storage failed: storage ID '%s' already defined", id)
	case c.method == "PUT" && st == nil:
		return fail("update storage failed: storage '%s' does not exist", id)
	case st == nil:
		st = &storage{ID: id, Type: c.param("type"), Content: []string{"images", "rootdir"}, Size: 100 << 30}
		if st.isDir() {
			st.Content, st.Size = []string{"images", "rootdir", "vztmpl", "iso", "backup", "snippets"}, 0
		}
		if st.Type == "pbs" {
			st.Content, st.Size, st.Shared = []string{"backup"}, 0, true
		}
		s.w.Storages = append(s.w.Storages, st)
		s.storages[id] = st
	}
	for _, k := range splitList(c.param("delete")) {
		switch k {
		case "disable":
			st.Disable = false
		case "is_mountpoint":
			st.Mountpoint = ""
		case "prune-backups":
			st.Prune = ""
		case "nodes":
			st.Nodes = nil
		}
	}
	for k, v := range c.params {
		switch k {
		case "server", "datastore", "namespace", "username", "fingerprint", "encryption-key":
			st.setServer(k, v)
		case "path":
			st.Path = v
		case "vgname":
			st.VG = v
		case "thinpool", "pool":
			st.Pool = v
		case "content":
			st.Content = splitList(v)
		case "disable":
			st.Disable = v == "1"
		case "is_mountpoint":
			st.Mountpoint = v
		case "prune-backups":
			st.Prune = v
		case "nodes":
			st.Nodes = splitList(v)
		case "shared":
			st.Shared = v == "1"
		case "max-protected-backups":
			n := atoi(v)
			st.MaxProtected = &n
		}
	}
	c.data().open().str("storage", id).str("type", st.Type).close()
	return nil
}

func storageDelete(c *call) error {
	id := c.param("storage")
	if c.s.storages[id] == nil {
		return fail("delete storage failed: storage '%s' does not exist", id)
	}
	delete(c.s.storages, id)
	for i, st := range c.s.w.Storages {
		if st.ID == id {
			c.s.w.Storages = append(c.s.w.Storages[:i:i], c.s.w.Storages[i+1:]...)
			break
		}
	}
	return nil
}

func (s *Sim) job(id string) map[string]any {
	for _, j := range s.w.Jobs {
		if j["id"] == id {
			return j
		}
	}
	return nil
}

var numericJob = map[string]bool{"all": true, "enabled": true, "remove": true, "repeat-missed": true, "protected": true, "quiet": true}

// jobSet makes or changes a backup job; nothing runs it.
func jobSet(c *call) error {
	s, id := c.s, c.param("id")
	j := s.job(id)
	switch {
	case c.method == "PUT" && j == nil:
		return badParam("id", "No such job '"+id+"'")
	case c.method == "POST" && j != nil:
		return fail("Job '%s' already exists", id)
	case j == nil:
		if id == "" {
			id = "backup-" + s.uuid()[:13]
		}
		j = map[string]any{"id": id, "type": "vzdump", "enabled": 1}
		s.w.Jobs = append(s.w.Jobs, j)
	}
	for _, k := range splitList(c.param("delete")) {
		delete(j, k)
	}
	for k, v := range c.params {
		switch {
		case k == "id" || k == "delete":
		case numericJob[k]:
			j[k] = atoi(v)
		default:
			j[k] = v
		}
	}
	return nil
}

func jobGet(c *call) error {
	j := c.s.job(c.param("id"))
	if j == nil {
		return badParam("id", "No such job '"+c.param("id")+"'")
	}
	c.data().any(j)
	return nil
}

func jobDelete(c *call) error {
	for i, j := range c.s.w.Jobs {
		if j["id"] == c.param("id") {
			c.s.w.Jobs = append(c.s.w.Jobs[:i:i], c.s.w.Jobs[i+1:]...)
			return nil
		}
	}
	return badParam("id", "No such job '"+c.param("id")+"'")
}

// backs reports whether a job backs up a guest.
func (s *Sim) backs(j map[string]any, g *guest) bool {
	id := itoa(g.VMID)
	switch {
	case j["enabled"] == 0:
		return false
	case j["all"] == 1:
		return !contains(splitList(fmt.Sprint(j["exclude"])), id)
	case j["pool"] != nil:
		p := s.pool(fmt.Sprint(j["pool"]))
		return p != nil && contains(p.VMs, g.VMID)
	}
	return contains(splitList(fmt.Sprint(j["vmid"])), id)
}

// notBackedUp lists the guests that no job backs up.
func notBackedUp(c *call) error {
	d := c.data().list()
	for _, g := range c.s.w.Guests {
		covered := !c.s.can(c.who, onVM(g.VMID), "VM.Audit")
		for _, j := range c.s.w.Jobs {
			covered = covered || c.s.backs(j, g)
		}
		if !covered {
			d.open().num("vmid", int64(g.VMID)).str("type", "lxc").str("name", g.name()).close()
		}
	}
	d.end()
	return nil
}

func includedVolumes(c *call) error {
	j := c.s.job(c.param("id"))
	if j == nil {
		return badParam("id", "No such job '"+c.param("id")+"'")
	}
	d := c.data().open().key("children").list()
	for _, g := range c.s.w.Guests {
		if !c.s.backs(j, g) || !c.s.can(c.who, onVM(g.VMID), "VM.Audit") {
			continue
		}
		d.open().str("id", itoa(g.VMID)).str("type", "lxc").str("name", g.name()).num("leaf", 0).key("children").list()
		for _, m := range g.conf.mountPoints() {
			in, why := true, "enabled"
			switch {
			case m.key == "rootfs":
				why = "rootfs always included"
			case m.kind() != "volume":
				in, why = false, "not a volume"
			case m.props["backup"] != "1":
				in, why = false, "disabled"
			}
			d.open().str("id", itoa(g.VMID)+":"+m.key).str("name", m.volid()).flag("included", in).str("reason", why).num("leaf", 1).close()
		}
		d.end().close()
	}
	d.end().close()
	return nil
}

// packageVersions lists the few packages that matter to a client.
func packageVersions(c *call) error {
	d := c.data().list()
	for _, p := range [][2]string{{"proxmox-ve", "9.2.0"}, {"pve-manager", c.s.w.Version}, {"pve-container", "6.1.10"}} {
		d.open().str("Package", p[0]).str("Title", p[0]).str("Version", p[1]).str("OldVersion", p[1]).str("CurrentState", "Installed")
		d.str("Arch", "all").str("Origin", "Proxmox").str("Priority", "optional").str("Section", "admin").str("Description", p[0])
		if p[0] == "proxmox-ve" {
			d.str("RunningKernel", c.node.kernel())
		}
		d.close()
	}
	d.end()
	return nil
}

// hostsFile is the node's /etc/hosts.
func hostsFile(c *call) error {
	text := orElse(c.node.Files["/etc/hosts"], "127.0.0.1 localhost\n")
	sum := sha1.Sum([]byte(text))
	c.data().open().str("data", text).str("digest", hex.EncodeToString(sum[:])).close()
	return nil
}

// lvmList is the tree of volume groups and their devices.
func lvmList(c *call) error {
	d := c.data().open().num("leaf", 0).key("children").list()
	for _, vg := range c.volumeGroups() {
		d.open().str("name", vg.vg()).num("size", vg.Size).num("free", 0).num("leaf", 0).key("children").list().end().close()
	}
	d.end().close()
	return nil
}

func lvmThinList(c *call) error {
	d := c.data().list()
	for _, vg := range c.volumeGroups() {
		if p, err := c.s.place(c.node, vg); err == nil && vg.Type == "lvmthin" {
			d.open().str("lv", vg.Pool).str("vg", vg.vg()).num("lv_size", p.total).num("used", p.used()).num("metadata_size", 1<<30).num("metadata_used", 1<<24).close()
		}
	}
	d.end()
	return nil
}

// volumeGroups are the LVM storages of a node.
func (c *call) volumeGroups() []*storage {
	var all []*storage
	for _, st := range c.s.w.Storages {
		if strings.HasPrefix(st.Type, "lvm") && st.on(c.node.Name) {
			all = append(all, st)
		}
	}
	return all
}

func firewallLog(c *call) error {
	c.data().list().open().num("n", 1).str("t", "no content").close().end()
	c.total = 1
	return nil
}

// migratePreview says where a guest could go.
func migratePreview(c *call) error {
	g, err := c.guest()
	if err != nil {
		return err
	}
	d := c.data().open().flag("running", g.Running).key("allowed-nodes").list()
	for _, n := range c.s.w.Nodes {
		if n.Name != g.Node && !n.Down {
			d.text(n.Name)
		}
	}
	d.end().key("not-allowed-nodes").open().close().key("dependent-ha-resources").list().end().close()
	return nil
}

// migrate refuses what PVE refuses at the call; nothing is moved between nodes here.
func migrate(c *call) error {
	target := c.param("target")
	if target == c.node.Name {
		return badParam("target", "target is local node.")
	}
	if c.s.node(target) == nil {
		return fail("no such cluster node '%s'", target)
	}
	g, err := c.guest()
	if err != nil {
		return err
	}
	if g.Running && !c.flag("online") && !c.flag("restart") {
		return fail("can't migrate running container without --online or --restart")
	}
	return notSimulated(c)
}

// allocVolume makes an empty volume without a guest's config. PVE: API2/Storage/Content create.
func allocVolume(c *call) error {
	size := c.param("size")
	bytes := parseSize(size)
	if strings.Trim(size, "0123456789") == "" {
		bytes <<= 10 // without a unit it is KiB
	}
	st, err := c.s.storageOn(c.node, c.param("storage"))
	if err != nil {
		return err
	}
	p, err := c.s.place(c.node, st)
	if err != nil {
		return err
	}
	name := c.param("filename")
	prefix, format := "vm-"+c.param("vmid")+"-", c.param("format")
	for _, known := range []string{"raw", "qcow2", "vmdk"} {
		if !strings.HasSuffix(name, "."+known) {
			continue
		}
		if format != "" && format != known {
			return badParam("format", "different storage formats ("+format+" != "+known+")")
		}
		format = known
	}
	switch {
	case st.isDir() && (format == "" || !strings.HasSuffix(name, "."+format)):
		return fail("unable to parse volume filename '%s'", name)
	case !strings.HasPrefix(name, prefix):
		return fail("illegal name '%s' - should be '%s*'", name, prefix)
	case st.isDir():
		name = c.param("vmid") + "/" + name
	}
	if p.items[name] != nil {
		return fail("disk image '%s' already exists", st.file(name))
	}
	p.items[name] = &volume{VMID: atoi(c.param("vmid")), Size: bytes, Format: orElse(format, "raw"), Created: c.s.now.Unix(), Data: emptyData}
	c.data().text(st.ID + ":" + name)
	return nil
}
