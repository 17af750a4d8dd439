package host

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/api"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// rootCall makes an API call as root@pam; pct is not bound to tokens.
func (p *process) rootCall(method, path string, params map[string]string) (*request.Call, error) {
	c := &request.Call{Cluster: p.cl, Who: p.cl.Rights.Subject("root@pam"), Method: method, Path: path, Params: params}
	return c, api.Dispatch(p.ctx, c)
}

// run makes a call as root and waits for its task, whose lines it prints.
func (p *process) act(method, path string, params map[string]string) (int, error) {
	c, err := p.rootCall(method, path, params)
	if err != nil {
		if p.ctx.Err() != nil && errors.Is(err, p.ctx.Err()) {
			return 0, err
		}
		return p.fail(err), nil
	}
	upid := strings.Trim(strings.TrimPrefix(string(c.Body.B), request.Envelope), `"`)
	t := p.n.ByUPID[upid]
	if t == nil {
		return 0, nil
	}
	p.cl.AtWork++
	defer func() { p.cl.AtWork-- }()
	shown := 0
	show := func() {
		for ; shown < len(t.Log); shown++ {
			line := t.Log[shown]
			if t.End != 0 && shown == len(t.Log)-1 && strings.HasPrefix(line, "TASK ") {
				continue
			}
			p.print("%s", line)
		}
	}
	err = p.cl.SleepUntil(p.ctx, p.cl.Now.Add(1000*time.Hour), func() bool { show(); return t.End != 0 })
	show()
	if err != nil { // killed with all that it started, so it cleans nothing up
		if t.End == 0 {
			p.cl.End(t, "")
		}
		return 0, err
	}
	if t.Status == "OK" || strings.HasPrefix(t.Status, "WARNINGS") {
		return 0, nil
	}
	return p.complain(255, "%s", t.Status), nil
}

// fail prints an API error as pct does.
func (p *process) fail(err error) int {
	var r *refusal.Refusal
	if errors.As(err, &r) && r.Errors != nil {
		p.print("%d %s", r.Code, strings.TrimSpace(r.Text))
		for _, k := range slices.Sorted(maps.Keys(r.Errors)) {
			p.print("%s: %s", k, strings.TrimRight(r.Errors[k], "\n"))
		}
		return 255
	}
	p.print("%s", refusal.InTask(err))
	return 255
}

// cliParams reads what follows the positional arguments: --key value, --key=value, or a bare flag.
func cliParams(args []string) (params map[string]string, rest []string) {
	params = make(map[string]string)
	for i := 0; i < len(args); i++ {
		a := args[i]
		if len(a) < 2 || a[0] != '-' {
			rest = append(rest, a)
			continue
		}
		name, val, has := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if !has {
			val = "1"
			if i+1 < len(args) && (len(args[i+1]) < 2 || args[i+1][0] != '-' || notation.IsNumber(args[i+1])) {
				i++
				val = args[i]
			}
		}
		if old, twice := params[name]; twice {
			val = old + "," + val
		}
		params[name] = val
	}
	return params, rest
}

func runPct(p *process) (int, error) {
	if len(p.args) == 0 {
		return p.complain(255, "ERROR: no command specified"), nil
	}
	cmd := p.args[0]
	params, rest := cliParams(p.args[1:])
	if cmd == "list" {
		return p.list(), nil
	}
	if cmd == "rescan" {
		return p.rescan(params["vmid"]), nil
	}
	if len(rest) == 0 {
		return p.complain(255, "400 not enough arguments"), nil
	}
	if exit, done, err := p.pctActs(cmd, params, rest); done {
		return exit, err
	}
	g := p.cl.Guests[notation.Atoi(rest[0])]
	if g != nil && (g.Node != p.n.Name || g.Qemu) {
		g = nil
	}
	return p.pctReads(cmd, rest[0], g)
}

// pctActs are the commands behind which a call of the API is; done is false for others.
func (p *process) pctActs(cmd string, params map[string]string, rest []string) (exit int, done bool, err error) {
	needs := map[string]int{"create": 2, "restore": 2, "resize": 3, "snapshot": 2, "delsnapshot": 2, "rollback": 2, "clone": 2}
	if len(rest) < needs[cmd] {
		return p.complain(255, "400 not enough arguments"), true, nil
	}
	base := "/nodes/" + p.n.Name + "/lxc"
	at := base + "/" + rest[0]
	method, path := "POST", at+"/"+cmd
	switch cmd {
	case "create", "restore":
		params["vmid"], params["ostemplate"] = rest[0], rest[1]
		if cmd == "restore" {
			params["restore"] = "1"
		}
		path = base
	case "set":
		if _, err := p.rootCall("PUT", at+"/config", params); err != nil {
			return p.fail(err), true, nil
		}
		return 0, true, nil
	case "start", "stop", "shutdown", "reboot", "suspend", "resume":
		path = at + "/status/" + cmd
	case "destroy":
		method, path = "DELETE", at
	case "resize":
		params["disk"], params["size"] = rest[1], rest[2]
		method = "PUT"
	case "snapshot":
		params["snapname"] = rest[1]
	case "rollback":
		path = at + "/snapshot/" + rest[1] + "/rollback"
	case "delsnapshot":
		method, path = "DELETE", at+"/snapshot/"+rest[1]
	case "clone":
		params["newid"] = rest[1]
	case "template":
	case "move-volume", "move_volume":
		if len(rest) > 1 {
			params["volume"] = rest[1]
		}
		if len(rest) > 2 {
			params["storage"] = rest[2]
		}
		path = at + "/move_volume"
	default:
		return 0, false, nil
	}
	exit, err = p.act(method, path, params)
	return exit, true, err
}

// pctLooks are the commands that pct carries out itself; g is nil where the node has no such guest.
func (p *process) pctReads(cmd, id string, g *world.Guest) (int, error) {
	switch cmd {
	case "status", "config", "listsnapshot", "unlock", "mount", "unmount":
	default:
		return 0, fmt.Errorf("pvesim: pct %s: not on the simulated host", cmd)
	}
	if g == nil {
		return p.complain(2, "Configuration file 'nodes/%s/lxc/%s.conf' does not exist", p.n.Name, id), nil
	}
	switch cmd {
	case "status":
		p.print("status: %s", map[bool]string{true: "running", false: "stopped"}[g.Running])
	case "config":
		p.config(g)
	case "listsnapshot":
		for _, name := range slices.Sorted(maps.Keys(g.Conf.Snaps)) {
			p.print("`-> %s %s", name, g.Conf.Snaps[name].Desc)
		}
	case "unlock":
		g.Conf.Section.Unset("lock")
		g.Conf.Write()
	case "mount":
		return p.mount(g)
	case "unmount":
		if g.Conf.Vals["lock"] == "mounted" {
			g.Conf.Section.Unset("lock")
			g.Conf.Write()
		}
		g.Mounted = false
	}
	return 0, nil
}

func (p *process) list() int {
	guests := append([]*world.Guest(nil), p.cl.World.Guests...)
	sort.Slice(guests, func(i, j int) bool { return guests[i].VMID < guests[j].VMID })
	first := true
	for _, g := range guests {
		if g.Node != p.n.Name || g.Qemu {
			continue
		}
		if first {
			p.print("%-10s %-10s %-12s %-20s", "VMID", "Status", "Lock", "Name")
			first = false
		}
		p.print("%-10d %-10s %-12s %-20s", g.VMID, map[bool]string{true: "running", false: "stopped"}[g.Running], g.Conf.Vals["lock"], g.Name())
	}
	return 0
}

func (p *process) config(g *world.Guest) {
	for _, k := range g.Conf.Section.Keys() {
		v, _ := g.Conf.Section.Get(k)
		if k == "description" {
			var b strings.Builder
			for i, line := range strings.Split(v, "\n") {
				if i > 0 {
					b.WriteString("%0A")
				}
				lxcconf.EncodeText(&b, line)
			}
			v = b.String() + "%0A"
		}
		p.print("%s: %s", k, v)
	}
}

// mount mounts a stopped guest's volumes on the host and locks it.
func (p *process) mount(g *world.Guest) (int, error) {
	if l := g.Conf.Vals["lock"]; l != "" {
		return p.complain(255, "CT is locked (%s)", l), nil
	}
	if g.Running {
		return p.complain(255, "cannot mount: container is running"), nil
	}
	for _, m := range g.Conf.MountPoints() {
		if v, _, err := places.Find(p.cl, p.n, m.Volid()); m.Kind() == "volume" && (err != nil || v == nil) {
			return p.complain(255, "mounting container failed: volume '%s' does not exist", m.Volid()), nil
		}
	}
	g.Mounted = true
	g.Conf.Section.Set("lock", "mounted")
	g.Conf.Write()
	p.print("mounted CT %d in '/var/lib/lxc/%d/rootfs'", g.VMID, g.VMID)
	return 0, nil
}

// rescan finds volumes that no config names and puts them back as unused.
func (p *process) rescan(only string) int {
	for _, g := range p.cl.World.Guests {
		if g.Node != p.n.Name || g.Qemu || only != "" && only != strconv.Itoa(g.VMID) {
			continue
		}
		named := guests.Referenced(g)
		for _, volid := range guests.Strays(p.cl, p.n, g.VMID) {
			if !slices.Contains(named, volid) {
				guests.ParkVolume(p.cl, g, volid)
				p.print("CT %d: add unreferenced volume '%s' as unused", g.VMID, volid)
				g.Conf.Write()
			}
		}
	}
	return 0
}

// runVzdumpProgram is vzdump on the command line: a person's backup.
func runVzdumpProgram(p *process) (int, error) {
	params, rest := cliParams(p.args)
	if len(rest) > 0 {
		params["vmid"] = strings.Join(rest, ",")
	}
	return p.act("POST", "/nodes/"+p.n.Name+"/vzdump", params)
}
