package datacenter

import (
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

var upidRE = regexp.MustCompile(`^UPID:([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):([0-9A-Fa-f]{8}):([^:\s/]+):([^:\s/]*):([^:\s/]+):$`)

// taskOf is the task of the path and whether the caller owns it.
func taskOf(c *request.Call) (t *world.Task, own bool, err error) {
	upid := c.Param("upid")
	m := upidRE.FindStringSubmatch(upid)
	if m == nil {
		return nil, false, refusal.BadParam("upid", "unable to parse worker upid")
	}
	return c.Node.ByUPID[upid], c.Owns(m[7]), nil
}

// TaskStatus answers GET /nodes/{node}/tasks/{upid}/status.
func TaskStatus(c *request.Call) error {
	t, own, err := taskOf(c)
	if err != nil {
		return err
	}
	if !own {
		if err := c.Cluster.Rights.Need(c.Who, "/nodes/"+c.Node.Name, "Sys.Audit"); err != nil {
			return err
		}
	}
	if t == nil {
		return refusal.BadParam("upid", "no such task")
	}
	d := c.Data().Open()
	d.Str("upid", t.UPID()).Str("node", t.Node.Name).Num("pid", int64(t.PID)).Num("pstart", t.PStart)
	d.Num("starttime", t.Start).Str("type", t.Type).Str("id", t.ID)
	userFields(d, t.User)
	if t.End == 0 {
		d.Str("status", "running")
	} else {
		d.Str("status", "stopped").Str("exitstatus", t.Status)
	}
	d.Close()
	return nil
}

// userFields writes a task's user, and the token cut off from it.
func userFields(d *jsontext.Doc, id string) {
	name, tok, ok := strings.Cut(id, "!")
	d.Str("user", name)
	if ok {
		d.Str("tokenid", tok)
	}
}

// TaskLog answers GET /nodes/{node}/tasks/{upid}/log.
func TaskLog(c *request.Call) error {
	t, own, err := taskOf(c)
	if err != nil {
		return err
	}
	if !own {
		if err := c.Cluster.Rights.Need(c.Who, "/nodes/"+c.Node.Name, "Sys.Audit"); err != nil {
			return err
		}
	}
	start, limit := 0, 50
	if c.Has("start") {
		start = notation.Atoi(c.Param("start"))
	}
	if c.Has("limit") {
		limit = notation.Atoi(c.Param("limit"))
	}
	var lines []string
	switch {
	case t == nil:
		lines = []string{"unable to open file - No such file or directory"}
	case len(t.Log) == 0:
		lines = []string{"no content"}
	default:
		lines = t.Log
	}
	d := c.Data().List()
	for i := start; i < len(lines) && (limit == 0 || i < start+limit); i++ {
		d.Open().Num("n", int64(i+1)).Str("t", lines[i]).Close()
	}
	d.End()
	c.Total = int64(len(lines))
	return nil
}

// TaskStop answers DELETE /nodes/{node}/tasks/{upid}.
func TaskStop(c *request.Call) error {
	t, own, err := taskOf(c)
	if err != nil {
		return err
	}
	if !own {
		if err := c.Cluster.Rights.Need(c.Who, "/nodes/"+c.Node.Name, "Sys.Modify"); err != nil {
			return err
		}
	}
	if t != nil {
		c.Cluster.Kill(t)
	}
	return nil
}

// NodeTasks lists tasks, newest first: the running ones and then the finished
// ones by their ends.
func NodeTasks(c *request.Call) error {
	cl := c.Cluster
	all := cl.Rights.Can(c.Who, "/nodes/"+c.Node.Name, "Sys.Audit")
	source := c.Param("source")
	errorsOnly := c.Flag("errors")
	var statuses []string
	if c.Has("statusfilter") {
		statuses = notation.SplitList(strings.ToLower(c.Param("statusfilter")))
	}
	number := func(name string, def int64) int64 {
		if !c.Has(name) {
			return def
		}
		n, _ := strconv.ParseInt(c.Param(name), 10, 64)
		return n
	}
	since, until := number("since", -1<<62), number("until", 1<<62)
	start, limit := int(number("start", 0)), int(number("limit", 50))
	userfilter := strings.ToLower(c.Param("userfilter"))
	d := c.Data().List()
	total := 0
	show := func(t *world.Task) {
		kind := statusKind(t)
		switch {
		case !all && !c.Owns(t.User),
			userfilter != "" && !strings.Contains(strings.ToLower(t.User), userfilter),
			c.Has("typefilter") && c.Param("typefilter") != t.Type,
			c.Has("vmid") && c.Param("vmid") != t.ID,
			t.Start < since, t.Start > until,
			errorsOnly && kind == "ok",
			statuses != nil && !slices.Contains(statuses, kind):
			return
		}
		total++
		if total > start && total <= start+limit {
			taskFields(d, t)
		}
	}
	tasks := c.Node.Tasks
	if source == "active" || source == "all" {
		for i := len(tasks) - 1; i >= 0; i-- {
			if tasks[i].End == 0 && !tasks[i].Unwatched {
				show(tasks[i])
			}
		}
	}
	if source != "active" {
		for i := len(tasks) - 1; i >= 0; i-- {
			if tasks[i].End != 0 {
				show(tasks[i])
			}
		}
	}
	d.End()
	if total > 0 {
		c.Total = int64(total)
	}
	return nil
}

// taskFields writes an entry of a task list. A running one bears the full token id and
// saved as a string, a finished one the split user. PVE: read_active_workers.
func taskFields(d *jsontext.Doc, t *world.Task) {
	d.Open().Str("upid", t.UPID()).Str("node", t.Node.Name).Num("pid", int64(t.PID)).Num("pstart", t.PStart)
	d.Num("starttime", t.Start).Str("type", t.Type).Str("id", t.ID)
	if t.End == 0 {
		d.Str("user", t.User).Str("status", "RUNNING").Str("saved", "0")
	} else {
		userFields(d, t.User)
		d.Num("endtime", t.End).Str("status", t.Status)
	}
	d.Close()
}

// lastWrite is the finished task whose end was the last thing that happened to the list:
// its "saved" is still the number that was set, all others were read back as strings.
func lastWrite(n *world.Node) *world.Task {
	for i := len(n.Tasks) - 1; i >= 0; i-- {
		if t := n.Tasks[i]; t.End != 0 {
			for _, r := range n.Tasks {
				if r.Start > t.End || r.End == 0 && r.Start >= t.End {
					return nil
				}
			}
			return t
		}
	}
	return nil
}

func statusKind(t *world.Task) string {
	switch {
	case t.End == 0 || t.Status == "unexpected status":
		return "unknown"
	case t.Status == "OK":
		return "ok"
	case strings.HasPrefix(t.Status, "WARNINGS: "):
		return "warning"
	}
	return "error"
}

// AllTasks lists what runs and what ended last. A token without Sys.Audit on /
// sees nothing: the filter compares the bare user with the full token id.
func AllTasks(c *request.Call) error {
	cl := c.Cluster
	all := cl.Rights.Can(c.Who, "/", "Sys.Audit")
	d := c.Data().List()
	for _, n := range cl.World.Nodes {
		recent := append([]*world.Task(nil), n.Tasks...)
		sort.SliceStable(recent, func(i, j int) bool {
			return recent[i].Start > recent[j].Start || recent[i].Start == recent[j].Start && recent[i].PID > recent[j].PID
		})
		last := lastWrite(n)
		count := 0
		for pass := 0; pass < 2; pass++ {
			for _, t := range recent {
				if (t.End == 0) != (pass == 0) || pass == 1 && count >= 25 {
					continue
				}
				count++
				user, _, _ := strings.Cut(t.User, "!")
				if !all && user != c.Who.ID {
					continue
				}
				d.Open().Str("upid", t.UPID()).Str("node", n.Name).Num("starttime", t.Start)
				d.Str("type", t.Type).Str("id", t.ID)
				userFields(d, t.User)
				if t.End == 0 {
					d.Num("pid", int64(t.PID))
					if seen(cl, t.Start) { // pvestatd reads the list anew
						d.Str("saved", "0")
					}
				} else {
					d.Num("endtime", t.End).Str("status", t.Status)
					if t == last {
						d.Num("saved", 1)
					} else {
						d.Str("saved", "1")
					}
				}
				d.Close()
			}
		}
	}
	d.End()
	return nil
}
