package forecast

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
)

// onGuest does what a request to one guest does.
func (f *Forecast) onGuest(state *node.GuestState, call proxmox.Call, what string) {
	name, rollback := strings.CutSuffix(strings.TrimPrefix(what, "snapshot/"), "/rollback")
	switch {
	case what == "config":
		f.configure(state, call.Params)
	case what == "resize":
		key := call.Params["disk"]
		if drive, err := proxmox.ParseDrive(state.Config.Raw[key]); err == nil && state.Type.VM() {
			state.Config.Raw[key] = strings.Replace(state.Config.Raw[key], "size="+drive["size"], "size="+call.Params["size"], 1)
			return
		}
		if mp, err := proxmox.ParseMountPoint(state.Config.Raw[key]); err == nil {
			mp["size"] = call.Params["size"]
			state.Config.Raw[key] = mp.String()
		}
	case what == "status/start":
		starts(state)
	case what == "status/shutdown", what == "status/stop":
		state.Status, state.Mem = "stopped", 0
	case what == "snapshot" && state.Snapshots != nil:
		if i := slices.IndexFunc(state.Snapshots.Snapshots, func(s proxmox.Snapshot) bool { return s.Name == call.Params["snapname"] }); i >= 0 {
			state.Snapshots.Snapshots[i].State = "" // it is being made already
			return
		}
		state.Snapshots.Snapshots = append(state.Snapshots.Snapshots, proxmox.Snapshot{Name: call.Params["snapname"], Description: call.Params["description"], Time: f.since})
	case rollback:
		f.rollBack(state)
	case strings.HasPrefix(what, "snapshot/") && state.Snapshots != nil:
		state.Snapshots.Snapshots = slices.DeleteFunc(state.Snapshots.Snapshots, func(s proxmox.Snapshot) bool { return s.Name == name })
	}
}

// starts lets a guest run, with what was pending.
func starts(state *node.GuestState) {
	state.Status = "running"
	state.Config.Raw = maps.Clone(node.Effective(state.Config))
	state.Config.Pending, state.Config.Deleted, state.Mounts = map[string]string{}, nil, nil
}

// configure sets and deletes keys: at once, or pending where a running guest has to be
// started again for it.
func (f *Forecast) configure(state *node.GuestState, params proxmox.Params) {
	config := state.Config
	now := maps.Clone(node.Effective(config))
	for key, value := range params {
		switch {
		case key == "digest":
		case key == "delete":
			for drop := range strings.SplitSeq(value, ",") {
				if state.Status == "running" && !questions.AppliesLive(state.Type, drop, true) {
					config.Deleted = append(config.Deleted, drop)
				} else {
					delete(config.Raw, drop)
				}
				delete(config.Pending, drop)
			}
		default:
			if strings.HasPrefix(key, "mp") {
				value = f.placed(state, key, value)
			}
			config.Deleted = slices.DeleteFunc(config.Deleted, func(gone string) bool { return gone == key })
			if state.Status == "running" && !questions.AppliesLive(state.Type, key, now[key] != "") {
				if config.Pending[key] = value; config.Raw[key] == value { // what is in force again waits no longer (PVE: cleanup_pending)
					delete(config.Pending, key)
				}
				continue
			}
			config.Raw[key] = value
			delete(config.Pending, key)
		}
	}
}

// placed is a mount point as the config has it afterwards: a new volume has a name and a
// size, and one that was attached nowhere is no longer unused.
func (f *Forecast) placed(state *node.GuestState, key, value string) string {
	mp, err := proxmox.ParseMountPoint(value)
	if err != nil {
		return value
	}
	if storage, size, ok := newVolumeOf(mp.Volume()); ok {
		mp["volume"], mp["size"] = fmt.Sprintf("%s:vm-%d-%s", storage, state.VMID, key), size
	}
	for i, volid := range state.Config.Unused() {
		if volid == mp.Volume() {
			delete(state.Config.Raw, fmt.Sprintf("unused%d", i))
		}
	}
	if v := f.Node.Volume(mp.Volume()); v != nil && mp["size"] == "" {
		mp["size"] = v.Size.String()
	}
	return mp.String()
}

// newVolumeOf reads "local-lvm:16", which asks for a new volume of 16 GiB.
func newVolumeOf(volume string) (storage, size string, ok bool) {
	storage, digits, _ := strings.Cut(volume, ":")
	if _, err := strconv.ParseFloat(digits, 64); err != nil {
		return "", "", false
	}
	return storage, digits + "G", true
}

// rollBack puts the snapshot's config in force, all but the description, and leaves the
// guest stopped.
func (f *Forecast) rollBack(state *node.GuestState) {
	state.Status, state.Mem = "stopped", 0
	if state.Rollback == nil {
		return
	}
	notes := state.Config.Raw["description"]
	config := *state.Rollback
	config.Raw, config.Pending, config.Deleted = orNew(config.Raw), map[string]string{}, nil
	for _, key := range []string{"snaptime", "parent", "snapstate"} {
		delete(config.Raw, key)
	}
	if delete(config.Raw, "description"); notes != "" {
		config.Raw["description"] = notes
	}
	for key, value := range state.Config.Raw { // what it has more now becomes unused
		if drive, err := proxmox.ParseDrive(value); err == nil && proxmox.IsDrive(key) && !drive.CDROM() && config.Drives()[key].Volume() != drive.Volume() {
			config.Raw[fmt.Sprintf("unused%d", len(config.Unused()))] = drive.Volume()
		}
		mp, err := proxmox.ParseMountPoint(value)
		if err != nil || !strings.HasPrefix(key, "mp") && !strings.HasPrefix(key, "unused") || mp.Kind() != proxmox.VolumeMount {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Values(config.MountPoints())), func(then proxmox.MountPoint) bool { return then.Volume() == mp.Volume() }) {
			config.Raw[fmt.Sprintf("unused%d", len(config.Unused()))] = mp.Volume()
		}
	}
	state.Config = &config
}
