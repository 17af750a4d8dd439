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
	c := &request.Call{Cluster: p.s, Who: p.s.Rights.Subject("root@pam"), Method: method, Path: path, Params: params}
	return c, api.Dispatch(p.s, p.ctx, c)
}

// act makes a call as root and waits for its task, whose lines it prints.
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
	p.s.AtWork++
	defer func() { p.s.AtWork-- }()
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
	err = p.s.SleepUntil(p.ctx, p.s.Now.Add(1000*time.Hour), func() bool { show(); return t.End != 0 })
	show()
	if err != nil { // killed with all that it started, so it cleans nothing up
		if t.End == 0 {
			p.s.End(t, "")
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
	id := rest[0]
	base := "/nodes/" + p.n.Name + "/lxc"
	at := base + "/" + id
	g := p.s.Guests[notation.Atoi(id)]
	if g != nil && (g.Node != p.n.Name || g.Qemu) {
		g = nil
	}
	missing := func() (int, error) {
		return p.complain(2, "Configuration file 'nodes/%s/lxc/%s.conf' does not exist", p.n.Name, id), nil
	}
	switch cmd {
	case "create", "restore":
		if len(rest) < 2 {
			return p.complain(255, "400 not enough arguments"), nil
		}
		params["vmid"], params["ostemplate"] = id, rest[1]
		if cmd == "restore" {
			params["restore"] = "1"
		}
		return p.act("POST", base, params)
	case "set":
		if _, err := p.rootCall("PUT", at+"/config", params); err != nil {
			return p.fail(err), nil
		}
		return 0, nil
	case "start", "stop", "shutdown", "reboot", "suspend", "resume":
		return p.act("POST", at+"/status/"+cmd, params)
	case "destroy":
		return p.act("DELETE", at, params)
	case "resize":
		if len(rest) < 3 {
			return p.complain(255, "400 not enough arguments"), nil
		}
		params["disk"], params["size"] = rest[1], rest[2]
		return p.act("PUT", at+"/resize", params)
	case "snapshot", "delsnapshot", "rollback":
		if len(rest) < 2 {
			return p.complain(255, "400 not enough arguments"), nil
		}
		switch cmd {
		case "snapshot":
			params["snapname"] = rest[1]
			return p.act("POST", at+"/snapshot", params)
		case "rollback":
			return p.act("POST", at+"/snapshot/"+rest[1]+"/rollback", params)
		}
		return p.act("DELETE", at+"/snapshot/"+rest[1], params)
	case "clone":
		if len(rest) < 2 {
			return p.complain(255, "400 not enough arguments"), nil
		}
		params["newid"] = rest[1]
		return p.act("POST", at+"/clone", params)
	case "template":
		return p.act("POST", at+"/template", params)
	case "move-volume", "move_volume":
		if len(rest) > 1 {
			params["volume"] = rest[1]
		}
		if len(rest) > 2 {
			params["storage"] = rest[2]
		}
		return p.act("POST", at+"/move_volume", params)
	case "status":
		if g == nil {
			return missing()
		}
		p.print("status: %s", map[bool]string{true: "running", false: "stopped"}[g.Running])
		return 0, nil
	case "config":
		if g == nil {
			return missing()
		}
		p.config(g)
		return 0, nil
	case "listsnapshot":
		if g == nil {
			return missing()
		}
		for _, name := range slices.Sorted(maps.Keys(g.Conf.Snaps)) {
			p.print("`-> %s %s", name, g.Conf.Snaps[name].Desc)
		}
		return 0, nil
	case "unlock":
		if g == nil {
			return missing()
		}
		g.Conf.Section.Unset("lock")
		g.Conf.Touch()
		return 0, nil
	case "mount":
		if g == nil {
			return missing()
		}
		return p.mount(g)
	case "unmount":
		if g == nil {
			return missing()
		}
		if g.Conf.Vals["lock"] == "mounted" {
			g.Conf.Section.Unset("lock")
			g.Conf.Touch()
		}
		g.Mounted = false
		return 0, nil
	}
	return 0, fmt.Errorf("pvesim: pct %s: not on the simulated host", cmd)
}

func (p *process) list() int {
	guests := append([]*world.Guest(nil), p.s.World.Guests...)
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
		if v, _, err := places.Find(p.s, p.n, m.Volid()); m.Kind() == "volume" && (err != nil || v == nil) {
			return p.complain(255, "mounting container failed: volume '%s' does not exist", m.Volid()), nil
		}
	}
	g.Mounted = true
	g.Conf.Section.Set("lock", "mounted")
	g.Conf.Touch()
	p.print("mounted CT %d in '/var/lib/lxc/%d/rootfs'", g.VMID, g.VMID)
	return 0, nil
}

// rescan finds volumes that no config names and puts them back as unused.
func (p *process) rescan(only string) int {
	for _, g := range p.s.World.Guests {
		if g.Node != p.n.Name || g.Qemu || only != "" && only != strconv.Itoa(g.VMID) {
			continue
		}
		named := guests.Referenced(g)
		for _, volid := range guests.Strays(p.s, p.n, g.VMID) {
			if !slices.Contains(named, volid) {
				guests.ParkVolume(p.s, g, volid)
				p.print("CT %d: add unreferenced volume '%s' as unused", g.VMID, volid)
				g.Conf.Touch()
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
