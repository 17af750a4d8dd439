package privileged

import (
	"encoding/json"
	"fmt"
	"strings"
)

func createGolden(j *job) error {
	vmid := j.args["vmid"]
	if why := bears(j.args["description"], j.args["object"], vmid, j.args["owner"]); why != "" {
		return j.refuse("description", "the new container would have no ownership marker: "+why, "")
	}
	for _, kind := range []string{"lxc", "qemu-server"} {
		data, err := j.read(fmt.Sprintf("/etc/pve/nodes/%s/%s/%s.conf", j.node, kind, vmid))
		if err != nil {
			return err
		}
		if data != nil {
			return j.refuse("vmid", "a guest with this number exists", "Choose another one")
		}
	}
	node, err := j.guestNode(vmid)
	if err != nil {
		return err
	}
	if node != "" {
		return j.refuse("vmid", "a guest with this number exists on "+node, "Choose another one")
	}
	argv, err := createArgv(j.args)
	if err != nil {
		return j.refuse("config", err.Error(), "")
	}
	_, err = j.run(pct, argv...)
	return err
}

// guestNode looks a VMID up in the cluster's own list of guests, where there is one (pmxcfs keeps it in /etc/pve/.vmlist).
func (r reader) guestNode(vmid string) (string, error) {
	data, err := r.read("/etc/pve/.vmlist")
	if err != nil || data == nil {
		return "", err
	}
	var list struct {
		IDs map[string]struct{ Node string } `json:"ids"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return "", &FailedError{Op: r.op, Reason: "cannot read the cluster's list of guests: " + err.Error()}
	}
	if g, ok := list.IDs[vmid]; ok {
		if g.Node == "" {
			return "another node", nil
		}
		return g.Node, nil
	}
	return "", nil
}

// createArgv prints the arguments of `pct create`.
func createArgv(a map[string]string) ([]string, error) {
	argv := []string{"create", a["vmid"], a["template"], "--hostname", a["hostname"], "--rootfs", a["storage"] + ":" + a["size"], "--unprivileged", "1"}
	if features := properties("", subkeys(a, "features.")); features != "" {
		argv = append(argv, "--features", features)
	}
	for n := range 256 {
		if net := subkeys(a, fmt.Sprintf("net%d.", n)); len(net) > 0 {
			name := net["name"]
			if name == "" {
				name = fmt.Sprintf("eth%d", n)
			}
			delete(net, "name")
			argv = append(argv, fmt.Sprintf("--net%d", n), properties("name="+name, net))
		}
		if mp := subkeys(a, fmt.Sprintf("mp%d.", n)); len(mp) > 0 {
			if mp["storage"] == "" || mp["size"] == "" || mp["mp"] == "" {
				return nil, fmt.Errorf("mp%d needs storage, size and mp", n)
			}
			first := fmt.Sprintf("%s:%s,mp=%s", mp["storage"], mp["size"], mp["mp"])
			delete(mp, "storage")
			delete(mp, "size")
			delete(mp, "mp")
			argv = append(argv, fmt.Sprintf("--mp%d", n), properties(first, mp))
		}
	}
	config := subkeys(a, "config.")
	for _, key := range sortedKeys(config) {
		argv = append(argv, "--"+key, config[key])
	}
	return append(argv, "--description="+a["description"]), nil // one word: the text may begin with a dash
}

// subkeys are the arguments whose names begin with prefix, without it.
func subkeys(a map[string]string, prefix string) map[string]string {
	m := map[string]string{}
	for k, v := range a {
		if key, ok := strings.CutPrefix(k, prefix); ok {
			m[key] = v
		}
	}
	return m
}

// properties prints a property string: what comes first, then the rest sorted by key, as PVE prints them.
func properties(first string, rest map[string]string) string {
	var parts []string
	if first != "" {
		parts = append(parts, first)
	}
	for _, key := range sortedKeys(rest) {
		parts = append(parts, key+"="+rest[key])
	}
	return strings.Join(parts, ",")
}
