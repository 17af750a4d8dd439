// Package backups is vzdump: a job with its guests one after another, into a directory or a
// datastore, and the backup jobs of the cluster.
package backups

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// LockKey is the lock that one job at a time has on a node.
func LockKey(n *world.Node) string { return "vzdump/" + n.Name }

// Start starts a backup. PVE: API2/VZDump.
func Start(c *request.Call) error {
	cl := c.Cluster
	if !c.Who.Root() {
		for _, k := range []string{"job-id", "tmpdir", "dumpdir", "script"} {
			if c.Has(k) {
				return refusal.BadParam(k, "Only root may set this option.")
			}
		}
	}
	if !c.Has("vmid") && !c.Flag("all") && !c.Has("pool") {
		return refusal.BadParam("vmid", "property is missing")
	}
	if err := checkNotes(c.Param("notes-template")); err != nil {
		return err
	}
	id := c.Param("storage")
	if id == "" {
		id = "local"
	}
	if c.Has("prune-backups") {
		if err := cl.Rights.Need(c.Who, rights.OnStorage(id), "Datastore.Allocate"); err != nil {
			return err
		}
	}
	for _, k := range []string{"bwlimit", "ionice", "performance"} {
		if c.Has(k) {
			if err := cl.Rights.Need(c.Who, "/", "Sys.Modify"); err != nil {
				return err
			}
		}
	}
	if c.Flag("stop") {
		if err := cl.Rights.Need(c.Who, "/nodes/"+c.Node.Name, "Sys.Modify"); err != nil {
			return err
		}
	}
	if err := cl.Rights.Need(c.Who, rights.OnStorage(id), "Datastore.AllocateSpace"); err != nil {
		return err
	}
	local, size := toDump(cl, c)
	if len(local) == 0 && c.Has("vmid") {
		c.Data().Text("OK")
		return nil
	}
	taskID := ""
	if len(local) == 1 {
		taskID = local[0]
	}
	todo := slices.Clone(local) // worked off by number, whatever was asked
	slices.SortFunc(todo, func(a, b string) int { return notation.Atoi(a) - notation.Atoi(b) })
	args := map[string]string{"storage": id, "vmids": strings.Join(todo, " "), "job": jobLine(c, local)}
	for _, k := range []string{"mode", "compress", "remove", "prune-backups", "notes-template", "protected", "lockwait", "all"} {
		if v, ok := c.Params[k]; ok {
			args[k] = v
		}
	}
	return c.Started(cl.Start(c.Node, "vzdump", taskID, c.Who.ID, size, args))
}

// toDump are the guests of this node (and those of no node: the task fails for them).
func toDump(cl *cluster.Cluster, c *request.Call) (vmids []string, size int64) {
	var ids []int
	exclude := notation.SplitList(c.Param("exclude"))
	switch {
	case c.Has("vmid"):
		for _, v := range notation.SplitList(c.Param("vmid")) {
			if g := cl.Guests[notation.Atoi(v)]; g == nil || g.Node == c.Node.Name {
				ids = append(ids, notation.Atoi(v))
			}
		}
	default:
		for _, g := range cl.World.Guests {
			in := c.Flag("all")
			if p := cl.World.Pool(c.Param("pool")); p != nil {
				in = slices.Contains(p.VMs, g.VMID)
			}
			if in && g.Node == c.Node.Name && !slices.Contains(exclude, strconv.Itoa(g.VMID)) {
				ids = append(ids, g.VMID)
			}
		}
		sort.Ints(ids)
	}
	for _, id := range ids {
		vmids = append(vmids, strconv.Itoa(id))
		if g := cl.Guests[id]; g != nil {
			for _, m := range g.Conf.MountPoints() {
				if v, _, _ := places.Find(cl, c.Node, m.Volid()); v != nil {
					size += v.Used
				}
			}
		}
	}
	return vmids, size
}

// jobLine is the command that the log names.
func jobLine(c *request.Call, vmids []string) string {
	b := "vzdump"
	if c.Has("vmid") {
		b += " " + strings.Join(vmids, " ")
	}
	for _, k := range slices.Sorted(maps.Keys(c.Params)) {
		if k == "vmid" {
			continue
		}
		v := c.Params[k]
		if strings.ContainsAny(v, " {}'\\\"$;&|<>") || v == "" {
			v = "'" + strings.ReplaceAll(v, "'", `'"'"'`) + "'"
		}
		b += " --" + k + " " + v
	}
	return b
}

func stamp(cl *cluster.Cluster, n *world.Node) string {
	return cl.Now.In(n.Location).Format("2006-01-02 15:04:05")
}

// Run runs vzdump: phase 0 is the job's beginning, then each guest has a phase 1 and a phase 2.
func Run(cl *cluster.Cluster, t *world.Task) error {
	switch t.Phase {
	case 0:
		return beginJob(cl, t)
	case 1:
		return beginGuest(cl, t)
	}
	if err := endGuest(cl, t); err != nil {
		Failed(cl, t, err)
	}
	return nextGuest(cl, t)
}

func beginJob(cl *cluster.Cluster, t *world.Task) error {
	id := t.Args["storage"]
	st, err := places.StorageOn(cl, t.Node, id)
	if err != nil {
		return fmt.Errorf("could not activate storage '%s': %s could not get storage information for '%s': %s", id, err, id, err)
	}
	if _, err := places.Of(cl, t.Node, st); err != nil {
		return fmt.Errorf("could not activate storage '%s': %s", id, err)
	}
	if !st.Holds("backup") {
		return fmt.Errorf("could not get storage information for '%s': can't use storage '%s' for backups - wrong content type", id, id)
	}
	minutes := 180
	if v, ok := t.Args["lockwait"]; ok {
		minutes = notation.Atoi(v)
	}
	key := LockKey(t.Node)
	if cl.Locks[key] != "" && minutes == 0 && !slices.Contains(t.Holds, key) {
		t.Logf("ERROR: can't acquire lock '/var/run/vzdump.lock' (wait = 0)")
		return cluster.ErrVanish
	}
	waited := t.Wait == key
	const waiting = "INFO: trying to get global lock - waiting..."
	if err := cl.Acquire(t, key, time.Duration(minutes)*time.Minute, waiting, "got timeout"); err != nil {
		if errors.Is(err, cluster.ErrWait) {
			return err
		}
		t.Logf("ERROR: can't acquire lock '/var/run/vzdump.lock' - got timeout")
		return cluster.ErrVanish
	}
	if waited {
		t.Logf("INFO: got global lock")
	}
	t.Logf("INFO: starting new backup job: %s", t.Args["job"])
	who := cl.Rights.Subject(t.User)
	var ids []string
	for _, v := range strings.Fields(t.Args["vmids"]) {
		if who == nil || !cl.Rights.Can(who, "/vms/"+v, "VM.Backup") {
			if t.Args["all"] == "1" {
				continue
			}
			return refusal.Forbid("/vms/" + v + ", VM.Backup")
		}
		ids = append(ids, v)
	}
	t.Args["todo"] = strings.Join(ids, " ")
	t.Args["each"] = strconv.Itoa(max(1, len(ids)))
	t.Phase = 1
	return Run(cl, t)
}

// guestFailed logs a guest's failure before its backup began.
func guestFailed(cl *cluster.Cluster, t *world.Task, vmid string, err error) error {
	t.Logf("ERROR: Backup of VM %s failed - %s", vmid, strings.TrimRight(err.Error(), "\n"))
	t.Logf("INFO: Failed at %s", stamp(cl, t.Node))
	t.Args["errors"] = "1"
	return nextGuest(cl, t)
}

// nextGuest goes on with the next guest, or ends the job.
func nextGuest(cl *cluster.Cluster, t *world.Task) error {
	delete(t.Args, "vmid")
	if t.Args["todo"] != "" {
		t.Phase = 1
		return Run(cl, t)
	}
	return endJob(t)
}

func endJob(t *world.Task) error {
	if t.Args["errors"] == "1" {
		t.Logf("INFO: Backup job finished with errors")
		t.Phase = 1 // nothing is left to clean up
		return errors.New("job errors")
	}
	t.Logf("INFO: Backup job finished successfully")
	return cluster.ErrDone
}
