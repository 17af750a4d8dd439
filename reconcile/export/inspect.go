package export

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// inspectAll notes of every guest what a person should look at before trusting the file.
func (x *Exporter) inspectAll() {
	x.eye = nil
	shared := x.shared()
	for _, e := range x.guests {
		say := func(format string, args ...any) {
			x.eye = append(x.eye, fmt.Sprintf("%d %s: ", e.state.VMID, e.name)+fmt.Sprintf(format, args...))
		}
		if e.aside != "" {
			if !e.blocked { // those that are blocked stand at the top
				say("not declared below: %s", e.aside)
			}
			continue
		}
		x.inspectRights(e, say)
		x.inspectMounts(e, say)
		x.inspectNames(e, shared, say)
		x.inspectValues(e, say)
		if len(x.archives[e.state.VMID]) == 0 {
			say("no backup of it is visible: lost, it could not be brought back")
		}
		if e.state.HA != "" {
			say("HA decides whether it runs (%s)", e.state.HA)
		}
		if e.tagHeld {
			say("it has the tag %s, so it is adopted when that is removed", questions.HoldTag)
		}
	}
}

// say notes one thing of the guest that is inspected.
type say func(format string, args ...any)

// inspectRights notes what PVE lets root@pam alone set, so that the agent keeps it but
// cannot make it (PVE: LXC, check_ct_modify_config_perm), and what stops other changes.
func (x *Exporter) inspectRights(e *exported, say say) {
	config := e.state.Config
	if config.Type.VM() {
		if why := questions.NotRestorable(questions.Questions{Have: x.have}, &spec.Guest{}, config); why != "" {
			say("%s", why)
		}
	} else if !config.Unprivileged() {
		say("privileged: it can be backed up, but the token may not restore it")
	}
	if config.Protection() {
		say("protected: PVE refuses to change its mount points or to restore over it")
	}
	if script := config.Raw["hookscript"]; script != "" {
		say("hookscript %s: root runs it on the host at each start and stop; only root@pam can set it, and no backup contains it", script)
	}
	features := config.Features()
	var special []string
	for _, flag := range text.Keys(features) {
		if value := features[flag]; flag != "nesting" && value != "0" {
			special = append(special, flag+"="+value)
		}
	}
	if len(special) > 0 {
		say("features %s: only root@pam can set them", strings.Join(special, ","))
	}
	for _, key := range slices.SortedFunc(maps.Keys(config.Raw), compare.CompareKeys) {
		switch proxmox.Stem(key) {
		case "dev":
			device, _ := proxmox.ParseDevice(config.Raw[key])
			say("%s passes the host's device %s: only root@pam can set it", key, text.OrElse(device["path"], config.Raw[key]))
		case "entrypoint":
			say("entrypoint %q instead of an init: not declared below", config.Raw[key])
		case "env":
			say("env has variables, perhaps passwords: not shown and not declared below; its backups contain them")
		}
	}
	if n := len(config.LXC); n > 0 {
		say("%s, which a restore by the token drops", text.Count(n, "raw lxc.* line", "raw lxc.* lines"))
	}
}

// inspectMounts notes volumes that are in no backup, or on what is not there.
func (x *Exporter) inspectMounts(e *exported, say say) {
	config, vmid := e.state.Config, e.state.VMID
	if config.Type.VM() {
		inspectDrives(x.have, e, say)
		return
	}
	if root, ok := config.RootFS(); !ok {
		say("it has no rootfs")
	} else if root.Kind() != proxmox.VolumeMount {
		say("its rootfs is a folder or device of the host (%s): in no backup", root.Volume())
	} else {
		inspectStorage(x.have, "rootfs", root.Volume(), say)
	}
	mounts := config.MountPoints()
	for _, i := range text.Keys(mounts) {
		mp := mounts[i]
		switch {
		case mp.Kind() != proxmox.VolumeMount:
			say("mp%d %s is a folder or device of the host (%s): in no backup, and no snapshots of this guest", i, mp.Path(), mp.Volume())
			continue
		case !mp.Backup():
			say("mp%d %s%s is in no backup: pct set %d -mp%d %s,backup=1", i, mp.Path(), planning.SizeNote(mp), vmid, i, mp)
		}
		inspectStorage(x.have, fmt.Sprintf("mp%d", i), mp.Volume(), say)
	}
	unused := config.Unused()
	for _, n := range text.Keys(unused) {
		say("unused%d: %s is attached nowhere", n, unused[n])
		inspectStorage(x.have, fmt.Sprintf("unused%d", n), unused[n], say)
	}
}

// inspectDrives is inspectMounts for a virtual machine.
func inspectDrives(have *node.Observed, e *exported, say say) {
	drives := e.state.Config.Drives()
	if len(drives) == 0 {
		say("it has no disk")
	}
	for _, key := range slices.SortedFunc(maps.Keys(drives), compare.CompareKeys) {
		if !drives[key].Backup() {
			say("%s is in no backup", questions.DriveText(e.state.Config, key))
		}
		inspectStorage(have, key, drives[key].Volume(), say)
	}
	unused := e.state.Config.Unused()
	for _, n := range text.Keys(unused) {
		say("unused%d: %s is attached nowhere", n, unused[n])
	}
}

// inspectStorage notes a volume whose storage is not there.
func inspectStorage(have *node.Observed, key, volid string, say say) {
	id, err := proxmox.ParseVolumeID(volid)
	if err != nil {
		say("%s: %v", key, err)
		return
	}
	switch state := have.Storages[id.Storage]; {
	case state == nil:
		say("%s is on storage %s, which is not visible: it does not exist, or the token lacks Datastore.Audit", key, id.Storage)
	case state.Conf.Disabled:
		say("%s is on storage %s, which is disabled", key, id.Storage)
	case state.Status == nil || !state.Status.Active:
		say("%s is on storage %s, which is not active", key, id.Storage)
	}
}

// shared are the hostnames and hardware addresses of the node, with the guests that have
// them.
func (x *Exporter) shared() map[string][]proxmox.VMID {
	all := map[string][]proxmox.VMID{}
	for _, vmid := range text.Keys(x.have.Guests) {
		config := x.have.Guests[vmid].Config
		if config == nil {
			continue
		}
		names := []string{"hostname " + strings.ToLower(config.Hostname())}
		for _, net := range config.Nets() {
			names = append(names, "hardware address "+strings.ToUpper(net["hwaddr"]))
		}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
			all[name] = append(all[name], vmid)
		}
	}
	return all
}

// inspectNames notes what two settings or two guests call themselves, and interfaces that
// are none of a bridge.
func (x *Exporter) inspectNames(e *exported, shared map[string][]proxmox.VMID, say say) {
	config := e.state.Config
	for _, c := range node.Standing(e.state) {
		effect := ""
		switch c.Kind {
		case node.ClaimName:
			effect = ": it does not start so"
		case node.ClaimPath:
			effect = ": one hides the other"
		}
		say("%s and %s both have the %s%s", c.Other, c.Key, c.Claim, effect)
	}
	others := func(name string) []string {
		var all []string
		for _, vmid := range shared[name] {
			if vmid != e.state.VMID {
				all = append(all, vmid.String())
			}
		}
		return all
	}
	if with := others("hostname " + strings.ToLower(config.Hostname())); len(with) > 0 {
		say("its hostname %s is also that of %s, so it has another name here", config.Hostname(), text.List(with))
	}
	nets := config.Nets()
	for _, i := range text.Keys(nets) {
		net := nets[i]
		if with := others("hardware address " + strings.ToUpper(net["hwaddr"])); len(with) > 0 && net["hwaddr"] != "" {
			say("the hardware address %s of its net%d is also that of %s: beside each other neither is reached", net["hwaddr"], i, text.List(with))
		}
		if kind := net["type"]; kind != "" && kind != "veth" {
			say("net%d is type=%s, not veth: an interface of the host", i, kind)
		}
		if net["bridge"] == "" {
			say("net%d names no bridge: it does not start so", i)
		}
	}
}

// numbers are the keys whose values are numbers (PVE: LXC::Config, confdesc).
var numbers = []string{"cores", "cpulimit", "cpuunits", "memory", "swap", "tty"}

// inspectValues notes values that this program cannot declare, or that PVE does not return
// as they are.
func (x *Exporter) inspectValues(e *exported, say say) {
	config, refused := e.state.Config, x.refused[e.state.VMID]
	for _, key := range numbers {
		if value, there := config.Raw[key]; there && refused[key] == "" {
			if n, err := strconv.ParseFloat(value, 64); err != nil || n < 0 || n > 1e12 {
				say("%s is %q, which is not a number: only a comment", key, value)
			}
		}
	}
	for _, key := range []string{"onboot", "protection", "unprivileged"} {
		if value, there := config.Raw[key]; there && value != "0" && value != "1" {
			say("%s is %q, which is neither 0 nor 1", key, value)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(config.Raw), compare.CompareKeys) {
		if name := encodedTwice(config.Raw[key]); name != "" && key != "description" && key != "env" {
			say("%s has the name %q in PVE's answer, which is encoded twice: it is %q on the host and only a comment here", key, config.Raw[key], name)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(refused), compare.CompareKeys) {
		say("%s is only a comment: %s", key, refused[key])
	}
}

// encodedTwice returns what a text was before PVE took the bytes of its UTF-8 for Latin-1
// characters and encoded them again; "" where it did not. PVE does that with values of a
// config that are not ASCII, such as a path in mpN.
func encodedTwice(s string) string {
	var once []byte
	ascii := true
	for _, r := range s {
		if r > 0xff {
			return ""
		}
		ascii = ascii && r < 0x80
		once = append(once, byte(r))
	}
	if ascii || !utf8.Valid(once) {
		return ""
	}
	return string(once)
}
