package host

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// The programs with which root sets a node up: pvesm, pveum, pveam, pvesh get and systemctl enable.

// runPvesm adds a storage, or says where a volume is.
func runPvesm(p *process) (int, error) {
	if len(p.args) == 2 && p.args[0] == "path" {
		id, name, _ := strings.Cut(p.args[1], ":")
		st := p.cl.Storages[id]
		if st == nil {
			return p.complain(255, "storage '%s' does not exist", id), nil
		}
		p.print("%s", st.PathOf(name))
		return 0, nil
	}
	if len(p.args) < 3 || p.args[0] != "add" {
		return 0, fmt.Errorf("pvesim: pvesm %s: not on the simulated host", strings.Join(p.args, " "))
	}
	params, rest := cliParams(p.args[3:])
	st := &world.Storage{Type: p.args[1], ID: p.args[2]}
	if len(rest) > 0 {
		return p.complain(255, "400 too many arguments"), nil
	}
	if p.cl.Storages[st.ID] != nil {
		return p.complain(255, "create storage failed: storage ID '%s' already defined", st.ID), nil
	}
	password, why := p.secrets(st, params)
	if why != "" {
		return p.complain(255, "%s", why), nil
	}
	for _, key := range slices.Sorted(maps.Keys(params)) {
		if !st.Option(key, params[key]) {
			return p.complain(255, "Unknown option: %s\n400 unable to parse option", key), nil
		}
	}
	if missing := st.Missing(); missing != "" {
		return p.complain(255, "400 Parameter verification failed.\n%s: property is missing and it is not optional", missing), nil
	}
	if len(st.Content) == 0 {
		st.Content = []string{map[bool]string{true: "backup", false: "images"}[st.Type == "pbs"]}
	}
	if d := p.cl.World.Datastore(st.Server, st.Datastore); st.Type == "pbs" {
		switch why := "create storage failed: " + st.ID + ": "; {
		case d == nil || d.Down:
			return p.complain(255, "%serror fetching datastores - 500 Can't connect to %s:8007 (Connection timed out)", why, st.Server), nil
		case d.Password != "" && password != d.Password:
			return p.complain(255, "%serror fetching datastores - 401 Unauthorized", why), nil
		case d.Rights(st.User()) == 0:
			return p.complain(255, "%sCannot find datastore '%s', check permissions and existence!", why, st.Datastore), nil
		}
	}
	p.cl.World.Storages = append(p.cl.World.Storages, st)
	p.cl.Storages[st.ID] = st
	p.cl.StorageWrites++
	if !st.IsDir() && p.n.Pools[st.ID] == nil {
		p.n.Pools[st.ID] = make(world.Store)
	}
	return 0, nil
}

// secrets takes password and encryption key of a storage from the parameters. A password without a value is read from the standard input. PVE:
// CLI/pvesm.pm, PBSPlugin on_add_hook.
func (p *process) secrets(st *world.Storage, params map[string]string) (password, why string) {
	if value, given := params["password"]; given {
		delete(params, "password")
		if value != "1" {
			return "", "pvesim: a password as an argument of pvesm is seen by everyone on the host"
		}
		line, _, ended := strings.Cut(p.input, "\n")
		if !ended {
			return "", "EOF while reading password"
		}
		password = line
	}
	if file, given := params["encryption-key"]; given {
		delete(params, "encryption-key")
		text, err := machine.ReadFile(p.cl, p.n, file)
		if err != nil {
			return "", fmt.Sprintf("can't open '%s' - No such file or directory", file)
		}
		var key struct{ Data, Fingerprint string }
		if json.Unmarshal(text, &key) != nil || key.Data == "" {
			return "", "create storage failed: Value does not seems like a valid, JSON formatted encryption key!"
		}
		st.Key = cmp.Or(key.Fingerprint, "1")
	}
	return password, ""
}

// pveumCalls are the calls behind pveum, by its words; the last words are the parameters named here.
var pveumCalls = []struct {
	words, names, method, path string
}{
	{"pool add", "poolid", "POST", "/pools"},
	{"role add", "roleid", "POST", "/access/roles"},
	{"user add", "userid", "POST", "/access/users"},
	{"user token add", "userid tokenid", "POST", "/access/users/{userid}/token/{tokenid}"},
	{"user token modify", "userid tokenid", "PUT", "/access/users/{userid}/token/{tokenid}"},
	{"acl modify", "path", "PUT", "/access/acl"},
	{"role modify", "roleid", "PUT", "/access/roles/{roleid}"},
}

func runPveum(p *process) (int, error) {
	line := strings.Join(p.args, " ") + " "
	for _, c := range pveumCalls {
		if !strings.HasPrefix(line, c.words+" ") {
			continue
		}
		params, rest := cliParams(p.args[strings.Count(c.words, " ")+1:])
		delete(params, "output-format")
		names, to := strings.Fields(c.names), c.path
		if len(rest) != len(names) {
			return p.complain(255, "400 not enough arguments"), nil
		}
		for i, name := range names {
			if strings.Contains(to, "{"+name+"}") {
				to = strings.ReplaceAll(to, "{"+name+"}", rest[i])
			} else {
				params[name] = rest[i]
			}
		}
		answer, err := p.rootCall(c.method, to, params)
		if err != nil {
			return p.fail(err), nil
		}
		if c.words == "user token add" {
			p.print("%s", dataOf(answer))
		}
		return 0, nil
	}
	return 0, fmt.Errorf("pvesim: pveum %s: not on the simulated host", strings.TrimSpace(line))
}

// runPvesh gets one path of the API as root: pvesh get PATH --output-format json [--NAME VALUE].
func runPvesh(p *process) (int, error) {
	if len(p.args) < 2 || p.args[0] != "get" {
		return 0, fmt.Errorf("pvesim: pvesh %s: not on the simulated host", strings.Join(p.args, " "))
	}
	params, _ := cliParams(p.args[2:])
	delete(params, "output-format")
	answer, err := p.rootCall("GET", p.args[1], params)
	if err != nil {
		return p.fail(err), nil
	}
	p.print("%s", dataOf(answer))
	return 0, nil
}

// dataOf is what an answer holds, without its envelope.
func dataOf(c *request.Call) string {
	return strings.TrimPrefix(string(c.Body.B), request.Envelope)
}

// runPveam downloads a template that the appliance list has: one of those of the fresh node.
func runPveam(p *process) (int, error) {
	if len(p.args) == 1 && p.args[0] == "update" {
		p.print("update successful")
		return 0, nil
	}
	if len(p.args) != 3 || p.args[0] != "download" {
		return 0, fmt.Errorf("pvesim: pveam %s: not on the simulated host", strings.Join(p.args, " "))
	}
	if f := p.cl.FaultFor("pveam download"); f != nil {
		return p.complain(255, "download of %s failed: %s", p.args[2], cmp.Or(f.Text, "Could not resolve host: download.proxmox.com")), nil
	}
	st := p.cl.Storages[p.args[1]]
	if st == nil || !st.IsDir() || !st.Holds("vztmpl") {
		return p.complain(255, "storage '%s' does not support templates", p.args[1]), nil
	}
	v := world.Appliances()[p.args[2]]
	if v == nil {
		return p.complain(255, "400 Parameter verification failed.\ntemplate: no such template"), nil
	}
	putTemplate(p.n, st, p.args[2], v)
	p.print("download of '%s' finished", p.args[2])
	return 0, nil
}

// enabledUnits is systemctl enable [--now] UNIT and is-enabled UNIT.
func enabledUnits(p *process) (exit int, done bool) {
	args := slices.DeleteFunc(slices.Clone(p.args), func(a string) bool { return strings.HasPrefix(a, "--") })
	if len(args) != 2 {
		return 0, false
	}
	link := "/etc/systemd/system/multi-user.target.wants/" + args[1]
	switch _, on := p.n.Files[link]; args[0] {
	case "enable":
		if p.n.Files == nil {
			p.n.Files = make(map[string]string)
		}
		p.n.Files[link] = ""
	case "is-enabled":
		if !on {
			return p.complain(1, "disabled"), true
		}
		p.print("enabled")
	default:
		return 0, false
	}
	return 0, true
}
