package pvesim

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

var notesVarRE = regexp.MustCompile(`\{\{([^}]*)\}\}|\\(.)`)

func vzdumpLock(n *node) string { return "vzdump/" + n.Name }

// vzdump starts a backup. PVE: API2/VZDump.
func vzdump(c *call) error {
	s := c.s
	if !c.who.root() {
		for _, k := range []string{"job-id", "tmpdir", "dumpdir", "script"} {
			if c.has(k) {
				return badParam(k, "Only root may set this option.")
			}
		}
	}
	if !c.has("vmid") && !c.flag("all") && !c.has("pool") {
		return badParam("vmid", "property is missing")
	}
	if err := checkNotes(c.param("notes-template")); err != nil {
		return err
	}
	id := c.param("storage")
	if id == "" {
		id = "local"
	}
	if c.has("prune-backups") {
		if err := s.need(c.who, onStorage(id), "Datastore.Allocate"); err != nil {
			return err
		}
	}
	for _, k := range []string{"bwlimit", "ionice", "performance"} {
		if c.has(k) {
			if err := s.need(c.who, "/", "Sys.Modify"); err != nil {
				return err
			}
		}
	}
	if c.flag("stop") {
		if err := s.need(c.who, "/nodes/"+c.node.Name, "Sys.Modify"); err != nil {
			return err
		}
	}
	if err := s.need(c.who, onStorage(id), "Datastore.AllocateSpace"); err != nil {
		return err
	}
	local, size := s.toDump(c)
	if len(local) == 0 && c.has("vmid") {
		c.data().text("OK")
		return nil
	}
	taskID := ""
	if len(local) == 1 {
		taskID = local[0]
	}
	todo := slices.Clone(local) // worked off by number, whatever was asked
	slices.SortFunc(todo, func(a, b string) int { return atoi(a) - atoi(b) })
	args := map[string]string{"storage": id, "vmids": strings.Join(todo, " "), "job": jobLine(c, local)}
	for _, k := range []string{"mode", "compress", "remove", "prune-backups", "notes-template", "protected", "lockwait", "all"} {
		if v, ok := c.params[k]; ok {
			args[k] = v
		}
	}
	return c.upid(s.start(c.node, "vzdump", taskID, c.who.id, size, args))
}

// toDump are the guests of this node (and those of no node: the task fails for them).
func (s *Sim) toDump(c *call) (vmids []string, size int64) {
	var ids []int
	exclude := splitList(c.param("exclude"))
	switch {
	case c.has("vmid"):
		for _, v := range splitList(c.param("vmid")) {
			if g := s.guests[atoi(v)]; g == nil || g.Node == c.node.Name {
				ids = append(ids, atoi(v))
			}
		}
	default:
		for _, g := range s.w.Guests {
			in := c.flag("all")
			if p := s.pool(c.param("pool")); p != nil {
				in = contains(p.VMs, g.VMID)
			}
			if in && g.Node == c.node.Name && !contains(exclude, itoa(g.VMID)) {
				ids = append(ids, g.VMID)
			}
		}
		sort.Ints(ids)
	}
	for _, id := range ids {
		vmids = append(vmids, itoa(id))
		if g := s.guests[id]; g != nil {
			for _, m := range g.conf.mountPoints() {
				if v, _, _ := s.volume(c.node, m.volid()); v != nil {
					size += v.Used
				}
			}
		}
	}
	return vmids, size
}

// jobLine is the command that the log names.
func jobLine(c *call, vmids []string) string {
	b := "vzdump"
	if c.has("vmid") {
		b += " " + strings.Join(vmids, " ")
	}
	for _, k := range sortedKeys(c.params) {
		if k == "vmid" {
			continue
		}
		v := c.params[k]
		if strings.ContainsAny(v, " {}'\\\"$;&|<>") || v == "" {
			v = "'" + strings.ReplaceAll(v, "'", `'"'"'`) + "'"
		}
		b += " --" + k + " " + v
	}
	return b
}

// checkNotes refuses variables and escapes that nobody knows.
func checkNotes(text string) error {
	for _, m := range notesVarRE.FindAllStringSubmatchIndex(text, -1) {
		if m[2] >= 0 {
			switch text[m[2]:m[3]] {
			case "cluster", "guestname", "node", "vmid":
			default:
				return badParam("notes-template", fmt.Sprintf("found unknown: variable '%s' at char %d\n", text[m[2]:m[3]], m[2]+2))
			}
			continue
		}
		if e := text[m[4]:m[5]]; e != "n" && e != `\` {
			return badParam("notes-template", fmt.Sprintf("found unknown: escape sequence '\\%s' at char %d\n", e, m[0]+2))
		}
	}
	return nil
}

func expandNotes(text string, n *node, g *guest) string {
	return notesVarRE.ReplaceAllStringFunc(text, func(m string) string {
		switch m {
		case `\n`:
			return "\n"
		case `\\`:
			return `\`
		case "{{guestname}}":
			return g.name()
		case "{{node}}":
			return n.Name
		case "{{vmid}}":
			return itoa(g.VMID)
		case "{{cluster}}":
			return n.Name
		}
		return m
	})
}

func (s *Sim) stamp(n *node) string { return s.now.In(n.zone).Format("2006-01-02 15:04:05") }

// runVzdump: phase 0 is the job's beginning, then each guest has a phase 1 and a phase 2.
func (s *Sim) runVzdump(t *task) error {
	switch t.Phase {
	case 0:
		return s.beginJob(t)
	case 1:
		return s.beginGuest(t)
	}
	if err := s.endGuest(t); err != nil {
		s.vzdumpFailed(t, err)
	}
	return s.nextGuest(t)
}

func (s *Sim) beginJob(t *task) error {
	id := t.Args["storage"]
	st, err := s.storageOn(t.node, id)
	if err != nil {
		return fmt.Errorf("could not activate storage '%s': %s could not get storage information for '%s': %s", id, err, id, err)
	}
	if _, err := s.place(t.node, st); err != nil {
		return fmt.Errorf("could not activate storage '%s': %s", id, err)
	}
	if !st.holds("backup") {
		return fmt.Errorf("could not get storage information for '%s': can't use storage '%s' for backups - wrong content type", id, id)
	}
	minutes := 180
	if v, ok := t.Args["lockwait"]; ok {
		minutes = atoi(v)
	}
	key := vzdumpLock(t.node)
	if s.locks[key] != "" && minutes == 0 && !contains(t.Holds, key) {
		t.log("ERROR: can't acquire lock '/var/run/vzdump.lock' (wait = 0)")
		return errVanish
	}
	waited := t.Wait == key
	const waiting = "INFO: trying to get global lock - waiting..."
	if err := s.acquire(t, key, time.Duration(minutes)*time.Minute, waiting, "got timeout"); err != nil {
		if errors.Is(err, errWait) {
			return err
		}
		t.log("ERROR: can't acquire lock '/var/run/vzdump.lock' - got timeout")
		return errVanish
	}
	if waited {
		t.log("INFO: got global lock")
	}
	t.log("INFO: starting new backup job: %s", t.Args["job"])
	who := s.acl.subject(t.User)
	var ids []string
	for _, v := range strings.Fields(t.Args["vmids"]) {
		if who == nil || !s.can(who, "/vms/"+v, "VM.Backup") {
			if t.Args["all"] == "1" {
				continue
			}
			return forbid("/vms/" + v + ", VM.Backup")
		}
		ids = append(ids, v)
	}
	t.Args["todo"] = strings.Join(ids, " ")
	t.Args["each"] = itoa(max(1, len(ids)))
	t.Phase = 1
	return s.runVzdump(t)
}

// guestFailed logs a guest's failure before its backup began.
func (s *Sim) guestFailed(t *task, vmid string, err error) error {
	t.log("ERROR: Backup of VM %s failed - %s", vmid, strings.TrimRight(err.Error(), "\n"))
	t.log("INFO: Failed at %s", s.stamp(t.node))
	t.Args["errors"] = "1"
	return s.nextGuest(t)
}

// nextGuest goes on with the next guest, or ends the job.
func (s *Sim) nextGuest(t *task) error {
	delete(t.Args, "vmid")
	if t.Args["todo"] != "" {
		t.Phase = 1
		return s.runVzdump(t)
	}
	return s.endJob(t)
}

func (s *Sim) endJob(t *task) error {
	if t.Args["errors"] == "1" {
		t.log("INFO: Backup job finished with errors")
		t.Phase = 1 // nothing is left to clean up
		return errors.New("job errors")
	}
	t.log("INFO: Backup job finished successfully")
	return errDone
}

// extractConfig is the pct.conf of an archive.
func extractConfig(c *call) error {
	s, volid := c.s, c.param("volume")
	if err := s.volumeAccess(c.who, 0, volid, "backup"); err != nil {
		return err
	}
	id, name, ok := strings.Cut(volid, ":")
	if !ok {
		return fail("unable to parse volume ID '%s'", volid)
	}
	st := s.storages[id]
	if st == nil {
		return fail("storage '%s' does not exist", id)
	}
	_, owner, err := st.kindOf(name)
	if err != nil {
		return err
	}
	if owner != 0 {
		if err := s.need(c.who, onVM(owner), "VM.Backup"); err != nil {
			return err
		}
	}
	v, p, err := s.volume(c.node, volid)
	if err != nil {
		return err
	}
	if v == nil {
		return fail("volume '%s' does not exist", volid)
	}
	if err := p.lacksKey(v); err != nil {
		return err
	}
	if v.Garbage || v.Unfinished {
		return fail("ERROR: archive contains no configuration file")
	}
	c.data().text(v.Config)
	return nil
}

func vzdumpDefaults(c *call) error {
	s, id := c.s, c.param("storage")
	if id == "" {
		id = "local"
	}
	if err := s.needAny(c.who, onStorage(id), "Datastore.Audit", "Datastore.AllocateSpace"); err != nil {
		return err
	}
	st, err := s.storageOn(c.node, id)
	if err != nil {
		return err
	}
	keep := st.Prune
	if keep == "" {
		keep = "keep-all=1"
	}
	d := c.data().open()
	for _, k := range []string{"all", "bwlimit", "pigz", "quiet", "stop"} {
		d.num(k, 0)
	}
	d.num("ionice", 7).num("lockwait", 180).num("remove", 1).num("stdexcludes", 1).num("stopwait", 10).num("zstd", 1)
	d.str("compress", "0").str("mode", "snapshot").str("storage", id).str("prune-backups", keep)
	d.str("mailnotification", "always").str("notification-mode", "auto")
	d.key("fleecing").open().num("enabled", 0).close()
	d.key("performance").open().num("max-workers", 16).num("pbs-entries-max", 1048576).close()
	if st.isDir() {
		d.str("dumpdir", st.Path+"/dump")
	}
	d.close()
	return nil
}
