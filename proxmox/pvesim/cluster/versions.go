package cluster

import (
	"encoding/json"
	"strconv"
)

// A version is what pmxcfs counts: nothing of it is in the world file, as nothing of it is on the disk of a node.
type versions struct {
	start   int64 // when pmxcfs began, in Unix seconds; all counters begin anew with it
	guests  int   // what was counted before that: writes of guests' configs, of users and of storages
	users   int
	storage int
}

// RestartPmxcfs lets all counters begin anew.
func RestartPmxcfs(cl *Cluster) {
	cl.since = versions{start: cl.Now.Unix(), guests: guestWrites(cl), users: cl.Rights.Written, storage: cl.StorageWrites}
}

// guestWrites counts the writes of all guests' configs, also of those that are gone.
func guestWrites(cl *Cluster) int {
	n := cl.dropped
	for _, g := range cl.World.Guests {
		n += g.Conf.Written
	}
	return n
}

// Version is /etc/pve/.version (pmxcfs: status.c, cfs_create_version_msg; how it counts was measured on 9.2.11). A start is not counted, nor is an
// archive; the counters of the kvstore rise every ten seconds, when pvestatd sends its figures.
func Version(cl *Cluster) ([]byte, error) {
	beats := int(cl.Now.Unix()-cl.since.start) / 10
	kv := map[string]map[string]int{}
	for _, n := range cl.World.Nodes {
		kv[n.Name] = map[string]int{"tasklist": 1 + beats, "network": 1 + beats}
	}
	return json.Marshal(map[string]any{
		"starttime": cl.since.start, "clinfo": len(cl.World.Nodes), "vmlist": 1 + guestWrites(cl) - cl.since.guests,
		"corosync.conf": 1, "storage.cfg": 1 + cl.StorageWrites - cl.since.storage, "user.cfg": 1 + cl.Rights.Written - cl.since.users, "domains.cfg": 1,
		"datacenter.cfg": 1, "vzdump.cron": 1, "jobs.cfg": 1, "ha/crm_commands": 1, "ha/manager_status": 1 + beats, "ha/resources.cfg": 1,
		"kvstore": kv})
}

// VMList is /etc/pve/.vmlist, the cluster's list of guests.
func VMList(cl *Cluster) ([]byte, error) {
	type entry struct {
		Node    string `json:"node"`
		Type    string `json:"type"`
		Version int    `json:"version"`
	}
	ids := make(map[string]entry)
	for _, g := range cl.World.Guests {
		ids[strconv.Itoa(g.VMID)] = entry{g.Node, g.Kind(), 1 + g.Conf.Written}
	}
	return json.Marshal(map[string]any{"version": 1 + guestWrites(cl) - cl.since.guests, "ids": ids})
}
