package questions

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// newNet is an interface of which nothing is there yet.
func newNet(t proxmox.GuestType, i int) proxmox.Net {
	if t.VM() {
		return proxmox.Net{"model": "virtio"}
	}
	return proxmox.Net{"name": "eth" + strconv.Itoa(i)}
}

// sameAgent reports whether the guest agent is on or off as declared, whatever else is said of it.
func sameAgent(key, want, live string) bool {
	if key != "agent" || want == "" {
		return false
	}
	agent, err := proxmox.ParseAgent(text.OrElse(live, "0"))
	return err == nil && agent["enabled"] == want
}

// withAgent is the value of agent with the guest agent on or off; its other sub-keys stay.
func withAgent(live, enabled string) string {
	agent, err := proxmox.ParseAgent(live)
	if err != nil || enabled == "" {
		return enabled
	}
	agent = maps.Clone(agent)
	agent["enabled"] = enabled
	return agent.String()
}

// OtherType says why a guest cannot be what the YAML declares: its number is one of the other
// type, here or on another node.
func OtherType(q Questions, t proxmox.GuestType, vmid proxmox.VMID) *plan.Blocker {
	have, name, at := t, "", q.Have.Node
	if r, ok := q.Have.Others[vmid]; ok {
		have, name, at = proxmox.GuestTypeOf(r.Type), r.Name, r.Node
	}
	if state := q.Have.Guests[vmid]; state != nil {
		have, name, at = state.Type, state.Name, q.Have.Node
	}
	if have == t {
		return nil
	}
	fix := "choose another vmid"
	switch {
	case at != q.Have.Node:
	case have.VM():
		fix = "if it is the one you mean: type: vm; else choose another vmid"
	default:
		fix = "if it is the one you mean: remove type: vm; else choose another vmid"
	}
	return &plan.Blocker{Reason: fmt.Sprintf("%d is a %s (%s on %s), not a %s", vmid, have.Noun(), name, at, t.Noun()), Fix: []string{fix}}
}

// drives are the keys of a virtual machine's drives, in the order of their names.
func drives(config *proxmox.GuestConfig) []string {
	return slices.SortedFunc(maps.Keys(config.Drives()), compare.CompareKeys)
}

// DriveText names a drive with its size.
func DriveText(config *proxmox.GuestConfig, key string) string {
	if size, ok := config.Drives()[key].Size(); ok {
		return fmt.Sprintf("%s %s", key, size)
	}
	return key
}

// Unbacked are the drives of a virtual machine that no backup contains.
func Unbacked(config *proxmox.GuestConfig) (all []string) {
	for _, key := range drives(config) {
		if !config.Drives()[key].Backup() {
			all = append(all, DriveText(config, key))
		}
	}
	return all
}

// VMCreation is the restore of a virtual machine. PVE makes the drives of the archive as they
// were, all on one storage; with no word of the YAML each on its old one.
func VMCreation(q Questions, g *spec.Guest, source spec.Source, own bool, c *node.Choice) (*CreationPlan, *plan.Blocker) {
	in := c.Inside
	if ob := rootsOwn(g, c); ob != nil {
		return nil, ob
	}
	room, ob := vmStorages(q, g, &in)
	if ob != nil {
		return nil, ob
	}
	config := map[string]string{"name": g.Hostname()}
	for key, value := range g.Config.Values {
		switch {
		case value == "" || key == "protection":
		case key == "agent":
			config[key] = withAgent(in.Raw[key], value)
		default:
			config[key] = value
		}
	}
	if _, said := config["onboot"]; !said && !own {
		config["onboot"] = "0"
	}
	had := ""
	if own {
		had = in.Raw["tags"]
	}
	if tags := AddTags(had, g.Config.Tags); tags != "" || !own && in.Raw["tags"] != "" {
		config["tags"] = tags
	}
	config["description"] = marker.Describe(creationText(g, in, own), creationMarker(q, g, source, own, c))
	for i, net := range creationNets(q, g, own, in) { // with their addresses: PVE draws one where none is sent
		config[fmt.Sprintf("net%d", i)] = net.String()
	}
	b := &CreationPlan{Storage: text.Keys(room)[0]}
	b.Spec = proxmox.RestoreSpec{VMID: g.VMID, Archive: c.Volume.VolID, Storage: g.Storage, Config: config}
	var back []string
	for _, key := range drives(&in) {
		if in.Drives()[key].Backup() {
			back = append(back, DriveText(&in, key))
		}
	}
	b.Detail = append([]string{"brings back: " + strings.Join(back, ", ")}, overcommitted(q, room)...)
	if lost := Unbacked(&in); len(lost) > 0 {
		b.Detail = append(b.Detail, "not in the backup, so it comes back without: "+strings.Join(lost, ", "))
	}
	if kept := rootKeys(in); len(kept) > 0 {
		b.Detail = append(b.Detail, "comes back with, as trusted: "+strings.Join(kept, ", "))
	}
	return b, nil
}

// rootsOwn says what of an archive a token may not restore, or only where the YAML trusts it: PVE
// looks at devices of the host alone and brings the rest back in silence (PVE: QemuServer,
// check_restore_permissions), so whoever can write an archive could give a VM any argument.
func rootsOwn(g *spec.Guest, c *node.Choice) *plan.Blocker {
	root := fmt.Sprintf("restore it as root: qmrestore %s %d --storage %s", c.Volume.VolID, g.VMID, text.OrElse(g.Storage, "STORAGE"))
	for _, key := range slices.SortedFunc(maps.Keys(c.Inside.Raw), compare.CompareKeys) {
		value := c.Inside.Raw[key]
		_, usb := proxmox.NumberedKey(key, "usb")
		_, pci := proxmox.NumberedKey(key, "hostpci")
		switch {
		case usb && !strings.Contains(value, "mapping=") && !strings.Contains(value, "spice"), pci && !strings.Contains(value, "mapping="):
			return &plan.Blocker{Reason: fmt.Sprintf("the archive %s passes a device of the host (%s: %s), which a token may not restore", c.Volume.VolID, key, value),
				Fix: []string{root, "or map the device (Datacenter, Resource Mappings), use it in the VM, and back that up"}}
		}
	}
	for _, key := range rootKeys(c.Inside) {
		if !slices.Contains(g.Trust, key) {
			return &plan.Blocker{Reason: fmt.Sprintf("the archive %s has %s: %s, which only root may set and PVE would restore unasked", c.Volume.VolID, key, c.Inside.Raw[key]),
				Fix: []string{fmt.Sprintf("if it is yours: trust: [%s]", strings.Join(rootKeys(c.Inside), ", ")), root}}
		}
	}
	return nil
}

// rootKeys are the keys of a virtual machine's config that only root may set and that run
// something on the host or reach its devices.
func rootKeys(config proxmox.GuestConfig) (keys []string) {
	for key, value := range config.Raw {
		_, serial := proxmox.NumberedKey(key, "serial")
		_, parallel := proxmox.NumberedKey(key, "parallel")
		if key == "args" || key == "hookscript" || serial && value != "socket" || parallel {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// MemoryShort says that the host has too little free memory to start a stopped virtual machine,
// as a backup of it does. Where the node does not tell, nothing is known.
func MemoryShort(q Questions, g *spec.Guest, state *node.GuestState) *plan.Blocker {
	need := proxmox.Size(state.Config.MemoryMiB()) * proxmox.MiB
	if !g.Type.VM() || state.Status == "running" || q.Have.RAM == 0 || q.Have.RAMUsed == 0 || q.Have.RAM-q.Have.RAMUsed >= need {
		return nil
	}
	return &plan.Blocker{Reason: fmt.Sprintf("PVE starts a stopped VM paused to back it up: %s has %s, and %s has %s free", g.Ref.Name, need.Human(), q.Have.Node, max(0, q.Have.RAM-q.Have.RAMUsed).Human()),
		Fix: []string{"free memory on the host, or give the VM less"}, Passes: true}
}

// vmWithoutSnapshots names the drives of a virtual machine that keep PVE from taking a snapshot:
// all count, also those that no backup contains.
func vmWithoutSnapshots(q Questions, state *node.GuestState) string {
	var why []string
	for _, key := range drives(state.Config) {
		volume := state.Config.Drives()[key].Volume()
		storage := q.Have.Storages[text.ProxmoxStorage(volume)]
		if storage != nil && !slices.Contains(snapshotTypes, storage.Conf.Type) {
			why = append(why, fmt.Sprintf("%s (%s) is on %s, a storage of type %s", key, volume, storage.Conf.ID, storage.Conf.Type))
		}
	}
	if len(why) == 0 {
		return "one of its drives cannot have snapshots"
	}
	return text.List(why)
}

// drivesBack are the drives of a virtual machine that a rollback takes back: all, also those that
// no backup contains. The first needs no word in `loses`, as the root disk of a container.
func drivesBack(state *node.GuestState) (goes, lost []string) {
	config := state.Config
	if state.Rollback != nil {
		config = state.Rollback
	}
	for i, key := range drives(config) {
		if i > 0 {
			goes = append(goes, key)
		}
		what := DriveText(config, key)
		if !config.Drives()[key].Backup() {
			what += " (in no backup)"
		}
		lost = append(lost, what)
	}
	return goes, lost
}

// NotRestorable says what of a virtual machine, lost, a token would not bring back; "" for nothing.
func NotRestorable(q Questions, g *spec.Guest, config *proxmox.GuestConfig) string {
	const lost = "lost, its restore would be blocked: "
	if ob := rootsOwn(g, &node.Choice{Inside: *config, Volume: proxmox.StorageContent{VolID: "of it"}}); ob != nil {
		return lost + ob.Reason
	}
	for _, need := range insideNeeds(config.Raw, nil) {
		if !has(q, need) {
			ob := Missing(q, need.Path, need.AnyOf[0])
			return lost + ob.Reason + ": " + ob.Fix[0]
		}
	}
	return ""
}
