package pvesim

import (
	"regexp"
	"sort"
	"strconv"
	"strings"
)

var upidRE = regexp.MustCompile(`^UPID:([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):([0-9A-Fa-f]{8}):([^:\s/]+):([^:\s/]*):([^:\s/]+):$`)

// taskOf is the task of the path and whether the caller owns it.
func (c *call) taskOf() (t *task, own bool, err error) {
	upid := c.param("upid")
	m := upidRE.FindStringSubmatch(upid)
	if m == nil {
		return nil, false, badParam("upid", "unable to parse worker upid")
	}
	return c.node.byUPID[upid], c.owns(m[7]), nil
}

// owns: a token its own tasks, a user its own and those of its tokens. PVE: check_task_user.
func (c *call) owns(user string) bool {
	return user == c.who.id || c.who.token == nil && strings.HasPrefix(user, c.who.id+"!")
}

func taskStatus(c *call) error {
	t, own, err := c.taskOf()
	if err != nil {
		return err
	}
	if !own {
		if err := c.s.need(c.who, "/nodes/"+c.node.Name, "Sys.Audit"); err != nil {
			return err
		}
	}
	if t == nil {
		return badParam("upid", "no such task")
	}
	d := c.data().open()
	d.str("upid", t.upid()).str("node", t.node.Name).num("pid", int64(t.PID)).num("pstart", t.PStart)
	d.num("starttime", t.Start).str("type", t.Type).str("id", t.ID)
	d.user(t.User)
	if t.End == 0 {
		d.str("status", "running")
	} else {
		d.str("status", "stopped").str("exitstatus", t.Status)
	}
	d.close()
	return nil
}

// user writes a task's user, and the token cut off from it.
func (d *doc) user(id string) {
	name, tok, ok := strings.Cut(id, "!")
	d.str("user", name)
	if ok {
		d.str("tokenid", tok)
	}
}

func taskLog(c *call) error {
	t, own, err := c.taskOf()
	if err != nil {
		return err
	}
	if !own {
		if err := c.s.need(c.who, "/nodes/"+c.node.Name, "Sys.Audit"); err != nil {
			return err
		}
	}
	start, limit := 0, 50
	if c.has("start") {
		start = atoi(c.param("start"))
	}
	if c.has("limit") {
		limit = atoi(c.param("limit"))
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
	d := c.data().list()
	for i := start; i < len(lines) && (limit == 0 || i < start+limit); i++ {
		d.open().num("n", int64(i+1)).str("t", lines[i]).close()
	}
	d.end()
	c.total = int64(len(lines))
	return nil
}

func taskStop(c *call) error {
	t, own, err := c.taskOf()
	if err != nil {
		return err
	}
	if !own {
		if err := c.s.need(c.who, "/nodes/"+c.node.Name, "Sys.Modify"); err != nil {
			return err
		}
	}
	if t != nil {
		c.s.kill(t)
	}
	return nil
}

// nodeTasks lists tasks, newest first: the running ones and then the finished
// ones by their ends.
func nodeTasks(c *call) error {
	s := c.s
	all := s.can(c.who, "/nodes/"+c.node.Name, "Sys.Audit")
	source := c.param("source")
	errorsOnly := c.flag("errors")
	var statuses []string
	if c.has("statusfilter") {
		statuses = splitList(strings.ToLower(c.param("statusfilter")))
	}
	since, until := int64(-1<<62), int64(1<<62)
	if c.has("since") {
		since, _ = strconv.ParseInt(c.param("since"), 10, 64)
	}
	if c.has("until") {
		until, _ = strconv.ParseInt(c.param("until"), 10, 64)
	}
	start, limit := 0, 50
	if c.has("start") {
		start = atoi(c.param("start"))
	}
	if c.has("limit") {
		limit = atoi(c.param("limit"))
	}
	userfilter := strings.ToLower(c.param("userfilter"))
	d := c.data().list()
	total := 0
	show := func(t *task) {
		kind := statusKind(t)
		switch {
		case !all && !c.owns(t.User),
			userfilter != "" && !strings.Contains(strings.ToLower(t.User), userfilter),
			c.has("typefilter") && c.param("typefilter") != t.Type,
			c.has("vmid") && c.param("vmid") != t.ID,
			t.Start < since, t.Start > until,
			errorsOnly && kind == "ok",
			statuses != nil && !contains(statuses, kind):
			return
		}
		total++
		if total > start && total <= start+limit {
			d.task(t)
		}
	}
	tasks := c.node.Tasks
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
	d.end()
	if total > 0 {
		c.total = int64(total)
	}
	return nil
}

// task writes an entry of a task list. A running one bears the full token id and
// saved as a string, a finished one the split user. PVE: read_active_workers.
func (d *doc) task(t *task) {
	d.open().str("upid", t.upid()).str("node", t.node.Name).num("pid", int64(t.PID)).num("pstart", t.PStart)
	d.num("starttime", t.Start).str("type", t.Type).str("id", t.ID)
	if t.End == 0 {
		d.str("user", t.User).str("status", "RUNNING").str("saved", "0")
	} else {
		d.user(t.User)
		d.num("endtime", t.End).str("status", t.Status)
	}
	d.close()
}

// lastWrite is the finished task whose end was the last thing that happened to the list:
// its "saved" is still the number that was set, all others were read back as strings.
func lastWrite(n *node) *task {
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

func statusKind(t *task) string {
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

// clusterTasks lists what runs and what ended last. A token without Sys.Audit on /
// sees nothing: the filter compares the bare user with the full token id.
func clusterTasks(c *call) error {
	s := c.s
	all := s.can(c.who, "/", "Sys.Audit")
	d := c.data().list()
	for _, n := range s.w.Nodes {
		recent := append([]*task(nil), n.Tasks...)
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
				if !all && user != c.who.id {
					continue
				}
				d.open().str("upid", t.upid()).str("node", n.Name).num("starttime", t.Start)
				d.str("type", t.Type).str("id", t.ID)
				d.user(t.User)
				if t.End == 0 {
					d.num("pid", int64(t.PID))
					if s.seen(t.Start) { // pvestatd reads the list anew
						d.str("saved", "0")
					}
				} else {
					d.num("endtime", t.End).str("status", t.Status)
					if t == last {
						d.num("saved", 1)
					} else {
						d.str("saved", "1")
					}
				}
				d.close()
			}
		}
	}
	d.end()
	return nil
}
