package planning

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// A forecast is the node as it will be when the steps of a plan have been carried out.
// It knows what each request does to what the planner reads, and nothing else. It owns
// all that it changes: what was observed stays as it is.
type forecast struct {
	node    *node.Observed
	want    *spec.Desired
	guests  map[proxmox.VMID]bool              // whose state is a copy already
	since   time.Time                          // when what is being applied was begun
	changed map[string]*proxmox.StorageContent // volume id -> as it will be; nil: it goes away
}

func newForecast(want *spec.Desired, have *node.Observed) *forecast {
	node := *have
	node.Guests, node.Inside, node.Taken = maps.Clone(have.Guests), maps.Clone(have.Inside), maps.Clone(have.Taken)
	node.Storages = maps.Clone(have.Storages)
	node.ByID, node.ByGuest, node.ByObject = maps.Clone(have.ByID), maps.Clone(have.ByGuest), maps.Clone(have.ByObject)
	m := &node.Memory
	m.Done, m.Made, m.Rollbacks, m.Archives = orNew(m.Done), orNew(m.Made), orNew(m.Rollbacks), orNew(m.Archives)
	m.Making = maps.Clone(m.Making)
	if have.Host != nil {
		host := *have.Host
		host.Mounts = slices.Clone(host.Mounts)
		node.Host = &host
	}
	node.Unread = map[string]bool{}
	return &forecast{node: &node, want: want, guests: map[proxmox.VMID]bool{}, changed: map[string]*proxmox.StorageContent{}}
}

// orNew is a copy of a map that can be written to.
func orNew[M ~map[K]V, K comparable, V any](m M) M {
	if m = maps.Clone(m); m == nil {
		m = M{}
	}
	return m
}

// guest is a guest's state, to be changed; nil where there is none.
func (f *forecast) guest(vmid proxmox.VMID) *node.GuestState {
	state := f.node.Guests[vmid]
	if state == nil || state.Config == nil {
		return nil
	}
	if f.guests[vmid] {
		return state
	}
	own := *state
	config := *state.Config
	config.Raw, config.Pending, config.Deleted = orNew(config.Raw), orNew(config.Pending), slices.Clone(config.Deleted)
	own.Config = &config
	if own.Snapshots != nil {
		snapshots := *own.Snapshots
		snapshots.Snapshots = slices.Clone(snapshots.Snapshots)
		own.Snapshots = &snapshots
	}
	f.node.Guests[vmid], f.guests[vmid] = &own, true
	return &own
}

// apply does what an action that was begun at a time does when it succeeds.
func (f *forecast) apply(a *plan.Action, since time.Time) {
	f.since = since
	memory := &f.node.Memory
	memory.Done[a.ID] = true
	if a.Facts["makes"] != "" {
		memory.Made[a.Object.String()] = since
	}
	if key := a.Facts["rollback-mark"]; key != "" {
		state := memory.Rollbacks[key]
		state.Marked = true
		memory.Rollbacks[key] = state
	}
	if key := a.Facts["rollback"]; key != "" {
		memory.Rollbacks[key] = journal.RollbackState{Marked: true, Begun: true, Result: journal.ResultOK}
	}
	switch {
	case a.Op != nil:
		f.applyOp(a.Object, *a.Op)
	case a.Call != nil:
		f.applyCall(*a.Call)
	}
}

// land ends an act that runs: what shows that it runs is gone then.
func (f *forecast) land(flight *journal.Flight) {
	node := f.node
	node.Memory.Flights = slices.DeleteFunc(slices.Clone(node.Memory.Flights), func(other journal.Flight) bool { return other.ID == flight.ID && other.Since.Equal(flight.Since) })
	if vmid, err := proxmox.ParseVMID(flight.Facts["makes"]); err == nil {
		delete(node.Memory.Making, vmid)
	}
	if node.Host != nil {
		node.Host.Running = slices.DeleteFunc(slices.Clone(node.Host.Running), func(op privileged.RunningOp) bool { return op.Lane == flight.Queue })
	}
	if id, ok := strings.CutPrefix(flight.Queue, "lxc/"); ok {
		node.Tasks = slices.DeleteFunc(slices.Clone(node.Tasks), func(t proxmox.Task) bool { return t.Running() && t.ID == id })
		if vmid, err := proxmox.ParseVMID(id); err == nil {
			if state := f.guest(vmid); state != nil {
				state.Lock = ""
			}
		}
	}
}

// applyCall does what a request to the API does.
func (f *forecast) applyCall(call proxmox.Call) {
	parts := strings.SplitN(strings.TrimPrefix(call.Path, "/nodes/"), "/", 4)
	switch {
	case len(parts) < 2:
	case parts[1] == "vzdump":
		f.backUp(call.Params)
	case parts[1] == "storage" && len(parts) == 4:
		_, volid, _ := strings.Cut(parts[3], "content/")
		f.content(call, volid)
	case parts[1] == "lxc" && len(parts) == 2:
		f.restore(call.Params)
	case parts[1] == "lxc" && len(parts) == 4:
		if vmid, err := proxmox.ParseVMID(parts[2]); err == nil {
			if state := f.guest(vmid); state != nil {
				f.onGuest(state, call, parts[3])
			}
		}
	}
}

// onGuest does what a request to one guest does.
func (f *forecast) onGuest(state *node.GuestState, call proxmox.Call, what string) {
	name, rollback := strings.CutSuffix(strings.TrimPrefix(what, "snapshot/"), "/rollback")
	switch {
	case what == "config":
		f.configure(state, call.Params)
	case what == "resize":
		key := call.Params["disk"]
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
func (f *forecast) configure(state *node.GuestState, params proxmox.Params) {
	config := state.Config
	now := maps.Clone(node.Effective(config))
	for key, value := range params {
		switch {
		case key == "digest":
		case key == "delete":
			for drop := range strings.SplitSeq(value, ",") {
				if state.Status == "running" && !questions.AppliesLive(drop, true) {
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
			if state.Status == "running" && !questions.AppliesLive(key, now[key] != "") {
				config.Pending[key] = value
				continue
			}
			config.Raw[key] = value
			delete(config.Pending, key)
		}
	}
}

// placed is a mount point as the config has it afterwards: a new volume has a name and a
// size, and one that was attached nowhere is no longer unused.
func (f *forecast) placed(state *node.GuestState, key, value string) string {
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
	if v := f.node.Volume(mp.Volume()); v != nil && mp["size"] == "" {
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
func (f *forecast) rollBack(state *node.GuestState) {
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

// restore makes a guest of an archive.
func (f *forecast) restore(params proxmox.Params) {
	vmid, err := proxmox.ParseVMID(params["vmid"])
	if err != nil {
		return
	}
	inside := f.node.Inside[params["ostemplate"]].Config
	raw := map[string]string{}
	for key, value := range inside.Raw {
		volume := key == "rootfs" || strings.HasPrefix(key, "mp")
		if strings.HasPrefix(key, "unused") || key == "lock" || key == "parent" || volume && key != "rootfs" && params["rootfs"] != "" {
			continue
		}
		if mp, err := proxmox.ParseMountPoint(value); volume && err == nil && mp.Kind() == proxmox.VolumeMount {
			mp["volume"] = fmt.Sprintf("%s:vm-%d-%s", text.OrElse(params["storage"], text.ProxmoxStorage(mp.Volume())), vmid, key)
			value = mp.String()
		}
		raw[key] = value
	}
	f.make(vmid, raw, inside.LXC)
	state := f.node.Guests[vmid]
	for key, value := range params {
		switch key {
		case "vmid", "ostemplate", "restore", "storage", "pool", "force", "unique", "ignore-unpack-errors", "start", "bwlimit":
		default:
			if key == "rootfs" || strings.HasPrefix(key, "mp") {
				value = f.placed(state, key, value)
			}
			state.Config.Raw[key] = value
		}
	}
}

// make adds a stopped guest.
func (f *forecast) make(vmid proxmox.VMID, raw map[string]string, lxc [][2]string) {
	f.node.Guests[vmid] = &node.GuestState{
		Guest:     proxmox.Guest{VMID: vmid, Name: raw["hostname"], Status: "stopped"},
		Config:    &proxmox.GuestConfig{VMID: vmid, Raw: raw, Pending: map[string]string{}, LXC: lxc},
		Snapshots: &proxmox.SnapshotList{},
	}
	f.guests[vmid] = true
	delete(f.node.Memory.Making, vmid)
}

// sketch makes a guest of which no archive can be read yet, as its YAML describes it.
func (f *forecast) sketch(g *spec.Guest) {
	m := marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: f.node.Owner, Born: f.node.Now}
	text := ""
	if g.Config.Description != nil {
		text = *g.Config.Description
	}
	raw := wishedConfig(g, f.node.Owner)
	raw["description"] = marker.Describe(text, m)
	f.make(g.VMID, raw, nil)
	f.node.Memory.Made[g.Ref.String()] = f.node.Now
}

// wishedConfig is a config that has all that is declared and that a creation sets: no
// binds, devices and protection.
func wishedConfig(g *spec.Guest, owner string) map[string]string {
	raw := map[string]string{"hostname": g.Hostname(), "unprivileged": "1",
		"rootfs": fmt.Sprintf("%s:vm-%d-rootfs,size=%s", g.Storage, g.VMID, max(g.RootFS.Size, proxmox.GiB))}
	for key, value := range g.Config.Values {
		if value != "" && key != "protection" {
			raw[key] = value
		}
	}
	for i, declared := range g.Config.Nets {
		net := proxmox.Net{"name": "eth" + strconv.Itoa(i), "hwaddr": questions.Mac(owner, g.VMID, i)}
		maps.Copy(net, declared)
		raw[fmt.Sprintf("net%d", i)] = net.String()
	}
	for i, declared := range g.Config.Mounts {
		if !declared.Bind() && declared.Volume == "" {
			mp := questions.MountOptions(declared)
			mp["volume"], mp["size"] = fmt.Sprintf("%s:vm-%d-mp%d", declared.Storage, g.VMID, i), declared.Size.String()
			raw[fmt.Sprintf("mp%d", i)] = mp.String()
		}
	}
	if len(g.Config.Startup) > 0 {
		raw["startup"] = g.Config.Startup.String()
	}
	if len(g.Config.Features) > 0 {
		raw["features"] = g.Config.Features.String()
	}
	if tags := questions.AddTags("", g.Config.Tags); tags != "" {
		raw["tags"] = tags
	}
	return raw
}

// backUp adds the archive of one vzdump. Its size is that of the guest's last one.
func (f *forecast) backUp(params proxmox.Params) {
	vmid, err := proxmox.ParseVMID(params["vmid"])
	if err != nil {
		return
	}
	if state := f.guest(vmid); state != nil && params["mode"] == "stop" && state.Status == "running" {
		starts(state) // it is shut down and started again
	}
	storage := params["storage"]
	notes := strings.NewReplacer(`\n`, "\n", `\\`, `\`).Replace(params["notes-template"])
	v := &proxmox.StorageContent{Content: "backup", Subtype: "lxc", VMID: vmid, Size: proxmox.GiB, Format: "tar.zst"}
	list := f.node.ArchivesOf(storage, vmid)
	if len(list) > 0 {
		v.Size = list[0].Size
	}
	if len(list) > 0 && list[0].CTime.After(f.since.Add(-2*time.Second)) && list[0].Notes == "" {
		v = &list[0] // it is being made already, and listed
	}
	for v.CTime = f.since; v.VolID == ""; { // two of one guest are never of one second
		volid := fmt.Sprintf("%s:backup/vzdump-lxc-%d-%s.tar.zst", storage, vmid, v.CTime.Format("2006_01_02-15_04_05"))
		if state := f.node.Storages[storage]; state != nil && state.Conf.Type == "pbs" {
			v.Format, volid = "pbs-ct", fmt.Sprintf("%s:backup/ct/%d/%s", storage, vmid, v.CTime.UTC().Format("2006-01-02T15:04:05Z"))
		}
		if f.changed[volid] != nil || f.node.Volume(volid) != nil {
			v.CTime = v.CTime.Add(time.Second)
			continue
		}
		v.VolID = volid
	}
	v.Notes = notes
	f.changed[v.VolID] = v
	f.node.Memory.Archives[v.VolID] = journal.ArchiveState{Whole: true, Marker: v.Notes}
	f.pack(v.VolID, vmid)
}

// pack is the config inside an archive that has not been read: that of its guest.
func (f *forecast) pack(volid string, vmid proxmox.VMID) {
	if _, read := f.node.Inside[volid]; read {
		return
	}
	if state := f.node.Guests[vmid]; state != nil && state.Config != nil {
		f.node.Inside[volid] = node.Inside{Config: *state.Config}
	}
}

// content does what a request to one volume of a storage does.
func (f *forecast) content(call proxmox.Call, volid string) {
	if call.Method == "DELETE" {
		f.changed[volid] = nil
		return
	}
	if v := f.node.Volume(volid); v != nil {
		noted := *v
		noted.Notes = call.Params["notes"]
		f.changed[volid] = &noted
		f.pack(v.VolID, v.VMID)
	}
}

// settle brings the lists of volumes up to date with what has changed since the last
// time, in one pass over the storages that are concerned.
func (f *forecast) settle() {
	if len(f.changed) == 0 {
		return
	}
	storages, guests := map[string]bool{}, map[proxmox.VMID]bool{}
	for volid, v := range f.changed {
		storages[text.ProxmoxStorage(volid)] = true
		for _, one := range []*proxmox.StorageContent{v, f.node.ByID[volid]} {
			if one != nil {
				guests[one.VMID] = true
			}
		}
		delete(f.node.ByID, volid)
	}
	for id := range storages {
		if old := f.node.Storages[id]; old != nil {
			state := *old
			state.Content = slices.DeleteFunc(slices.Clone(old.Content), func(v proxmox.StorageContent) bool { _, gone := f.changed[v.VolID]; return gone })
			for _, volid := range slices.Sorted(maps.Keys(f.changed)) {
				if v := f.changed[volid]; v != nil && text.ProxmoxStorage(volid) == id {
					state.Content = append(state.Content, *v)
				}
			}
			f.node.Storages[id] = &state
		}
	}
	kept := func(all []*proxmox.StorageContent) []*proxmox.StorageContent {
		return slices.DeleteFunc(slices.Clone(all), func(v *proxmox.StorageContent) bool { _, gone := f.changed[v.VolID]; return gone })
	}
	for vmid := range guests {
		f.node.ByGuest[vmid] = kept(f.node.ByGuest[vmid])
	}
	for _, volid := range slices.Sorted(maps.Keys(f.changed)) {
		v := f.changed[volid]
		if v == nil {
			continue
		}
		f.node.ByID[volid] = v
		f.node.ByGuest[v.VMID] = append(f.node.ByGuest[v.VMID], v)
		if m, ok := f.node.MarkerOf(v.Notes); ok && m.Owner == f.node.Owner {
			name := text.OrElse(m.Facts["guest"], m.Object)
			f.node.ByObject[name] = append(kept(f.node.ByObject[name]), v)
		}
	}
	clear(f.changed)
}

// applyOp does what an operation of the root helper does.
func (f *forecast) applyOp(object spec.Ref, op privileged.Op) {
	vmid, _ := proxmox.ParseVMID(op.Args["vmid"])
	state := f.guest(vmid)
	switch op.Name {
	case "MountUSBByUUID", "UnmountUSB":
		f.mount(object, op)
	case "CreateGoldenLXC":
		if golden := f.want.Golden[object.Name]; golden != nil {
			guest := node.GoldenGuest(golden)
			guest.Is = golden.Ref.Name
			guest.Config.Mounts, guest.Config.Devices = nil, nil // they are added afterwards
			raw := wishedConfig(guest, f.node.Owner)
			raw["features"] = proxmox.Features(golden.Features).String()
			raw["description"] = op.Args["description"]
			f.make(vmid, raw, nil)
		}
	case "BindMount":
		if state != nil {
			mp := proxmox.MountPoint{"volume": op.Args["source"], "mp": op.Args["mp"]}
			f.configure(state, proxmox.Params{"mp" + op.Args["index"]: withOptions(mp, op.Args, "ro").String()})
		}
	case "PassDevice":
		if state != nil {
			device := proxmox.Device{"path": op.Args["path"]}
			for _, key := range []string{"mode", "uid", "gid", "deny-write"} {
				if op.Args[key] != "" {
					device[key] = op.Args[key]
				}
			}
			f.configure(state, proxmox.Params{"dev" + op.Args["index"]: device.String()})
		}
	}
}

// withOptions adds an operation's options to a mount point.
func withOptions(mp proxmox.MountPoint, args map[string]string, flags ...string) proxmox.MountPoint {
	for _, flag := range flags {
		if args[flag] != "" {
			mp[flag] = args[flag]
		}
	}
	for key, value := range args {
		if name, ok := strings.CutPrefix(key, "option."); ok {
			mp[name] = value
		}
	}
	return mp
}

// mount is what becomes of a mount point of the host. What is on a disk shows only when
// it is mounted: until then its content is unread.
func (f *forecast) mount(object spec.Ref, op privileged.Op) {
	host, m := f.node.Host, f.want.Mounts[object.Name]
	if host == nil || m == nil {
		return
	}
	at := slices.IndexFunc(host.Mounts, func(have privileged.Mount) bool { return have.Path == m.Path })
	if at < 0 {
		host.Mounts = append(host.Mounts, privileged.Mount{Path: m.Path})
		at = len(host.Mounts) - 1
	}
	have := &host.Mounts[at]
	if op.Name == "UnmountUSB" {
		if op.Args["uuid"] != "" {
			have.Mounted = false
		}
		if op.Args["fstab"] != "" {
			have.Fstab = nil
		}
		return
	}
	for _, disk := range m.UUIDs {
		if disk.UUID != op.Args["uuid"] {
			continue
		}
		if !have.Mounted || have.Gone {
			have.Options = nil
			f.node.Unread[m.Ref.Name] = true
		}
		have.Mounted, have.Gone, have.UUID, have.Fstab = true, false, disk.UUID, nil
		if !privileged.Hardened(*have) {
			have.Options = append(slices.Clone(have.Options), "nosuid", "nodev")
		}
		if line := privileged.FstabEntry(mountSpec(host, m, disk)); line != "" {
			have.Fstab = &privileged.FstabLine{Name: m.Ref.Name, Path: m.Path, Text: line}
		}
	}
}
