package host

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Probe finds out one thing inside a container that runs. What is asked for (what, name, port, url,
// file) and what was found are texts by name; "no" in what was found says why there is nothing.
func (h *Host) Probe(_ context.Context, vmid int, ask map[string]string) (found map[string]string, err error) {
	err = h.locked(func(n *world.Node) error {
		g := h.cl.Guests[vmid]
		if g == nil || g.Node != n.Name || g.Qemu || !g.Running {
			found = map[string]string{"no": "it does not run"}
			return nil
		}
		inside := world.Inside{}
		if g.Inside != nil {
			inside = *g.Inside.Copy()
		}
		for key, value := range inside.FailsAt {
			for unit := range inside.Units {
				if g.Conf.Vals[key] == value {
					inside.Units[unit] = "failed"
				}
			}
		}
		booting := h.cl.Now.Before(time.Unix(g.Since, 0).Add(time.Duration(inside.Boots) * time.Second))
		found = probe(inside, booting, ask)
		return nil
	})
	return found, err
}

// probe answers from what is inside a guest; while it boots nothing of it runs yet.
func probe(inside world.Inside, booting bool, ask map[string]string) map[string]string {
	if booting {
		inside.Units, inside.Processes, inside.Ports = nil, nil, nil
	}
	switch ask["what"] {
	case "system":
		return probeSystem(inside, booting)
	case "unit":
		if inside.NoSystemd {
			return map[string]string{"no": "its init is not systemd"}
		}
		return map[string]string{"state": cmp.Or(inside.Units[ask["name"]], "inactive")}
	case "process":
		if !slices.Contains(inside.Processes, ask["name"]) {
			return map[string]string{"no": "there is no such process"}
		}
		return map[string]string{"processes": "1"}
	case "tcp":
		if _, listens := inside.Ports[notation.Atoi(ask["port"])]; !listens {
			return map[string]string{"no": "connection refused"}
		}
		return map[string]string{"connected": "127.0.0.1"}
	case "http":
		status, listens := inside.Ports[notation.Atoi(ask["port"])]
		switch {
		case !listens:
			return map[string]string{"no": "connection refused"}
		case status == 0:
			return map[string]string{"no": "its answer is not HTTP"}
		}
		return map[string]string{"status": strconv.Itoa(status)}
	case "file":
		return probeFile(inside, ask["file"], ask["hash"] != "")
	case "newest":
		return probeNewest(inside, ask["file"])
	case "survey":
		return survey(inside)
	}
	return map[string]string{"no": "the simulator knows no probe " + ask["what"]}
}

func probeSystem(inside world.Inside, booting bool) map[string]string {
	failed := inside.Failed()
	switch {
	case inside.NoSystemd:
		return map[string]string{"no": "its init is not systemd"}
	case booting:
		return map[string]string{"state": "starting"}
	case len(failed) > 0:
		return map[string]string{"state": "degraded", "failed": strings.Join(failed, " ")}
	}
	return map[string]string{"state": "running"}
}

func probeFile(inside world.Inside, name string, hash bool) map[string]string {
	f, ok := inside.Files[name]
	switch {
	case !ok:
		return map[string]string{"no": "it does not exist"}
	case f.Link:
		return map[string]string{"no": "it does not exist"} // a link is resolved inside the guest
	}
	found := map[string]string{"size": strconv.Itoa(len(f.Text)), "modified": strconv.FormatInt(f.Modified, 10)}
	if hash {
		sum := sha256.Sum256([]byte(f.Text))
		found["sha256"] = hex.EncodeToString(sum[:])
	}
	return found
}

func probeNewest(inside world.Inside, folder string) map[string]string {
	newest, files := "", 0
	for _, name := range slices.Sorted(maps.Keys(inside.Files)) {
		if f := inside.Files[name]; f.Link || !strings.HasPrefix(name, strings.TrimSuffix(folder, "/")+"/") {
			continue
		}
		files++
		if newest == "" || inside.Files[name].Modified > inside.Files[newest].Modified {
			newest = name
		}
	}
	if files == 0 {
		return map[string]string{"no": "there is no file below it"}
	}
	return map[string]string{"file": newest, "modified": strconv.FormatInt(inside.Files[newest].Modified, 10), "files": strconv.Itoa(files)}
}

// survey is what a guest has that could be probed.
func survey(inside world.Inside) map[string]string {
	var ports, active []string
	for _, port := range slices.Sorted(maps.Keys(inside.Ports)) {
		ports = append(ports, strconv.Itoa(port))
	}
	for _, unit := range slices.Sorted(maps.Keys(inside.Units)) {
		if inside.Units[unit] == "active" {
			active = append(active, unit)
		}
	}
	return map[string]string{"ports": strings.Join(ports, " "), "units": strings.Join(active, " ")}
}
