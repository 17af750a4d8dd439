package recovery

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// What vzdump says, in the log that it leaves beside an archive, of the guest that it saves.
var (
	loggedName   = regexp.MustCompile(`(?m)INFO: CT Name: ([A-Za-z0-9][A-Za-z0-9.-]{0,252})\r?$`)
	loggedVM     = regexp.MustCompile(`(?m)INFO: VM Name: ([A-Za-z0-9][A-Za-z0-9.-]{0,252})\r?$`)
	loggedDrive  = regexp.MustCompile(`(?m)INFO: include disk '((?:scsi|virtio|sata|ide|efidisk|tpmstate)[0-9]{1,2})' '[A-Za-z0-9._:/-]{1,255}' ([0-9]{1,9}[KMGT])(?: .*)?\r?$`)
	loggedVolume = regexp.MustCompile(`(?m)INFO: including mount point (mp[0-9]{1,3}) \('(/[A-Za-z0-9._/-]{1,255})'\) in backup\r?$`)
)

// inside is the config that a rehearsal takes to be in an archive. A rehearsal opens no archive: that would take a program of root for what may be
// anybody's file. So the guest is the one that the notes name, and hostname and volumes are those of the log; what nobody says is not made up.
func inside(a proxmox.Archive, notes, log string, want *spec.Desired) string {
	name, marker := fmt.Sprintf("ct%d", a.VMID), ""
	if a.Type == "qemu" {
		name = fmt.Sprintf("vm%d", a.VMID)
	}
	if found := reconcile.FindMarkers(notes); len(found) == 1 {
		object := found[0].Object
		if guest := found[0].Facts["guest"]; guest != "" {
			object = guest
		}
		if !strings.Contains(object, "/") {
			marker = "#<!-- " + reconcile.Marker{Object: object, VMID: found[0].VMID, Owner: found[0].Owner, Born: found[0].Born}.String() + " -->\n"
			name = hostname(object, want)
		}
	}
	if a.Type == "qemu" {
		return insideVM(a, marker, name, log)
	}
	if m := loggedName.FindStringSubmatch(log); m != nil {
		name = m[1]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%sarch: amd64\nhostname: %s\nmemory: 512\nostype: debian\nrootfs: local-lvm:vm-%d-disk-0,size=8G\nswap: 512\nunprivileged: 1\n", marker, name, a.VMID)
	for i, m := range loggedVolume.FindAllStringSubmatch(log, 256) {
		fmt.Fprintf(&b, "%s: local-lvm:vm-%d-disk-%d,mp=%s,backup=1,size=8G\n", m[1], a.VMID, i+1, m[2])
	}
	return b.String()
}

// insideVM is that of a virtual machine: its name, and its drives with their sizes. Without a log it has one drive.
func insideVM(a proxmox.Archive, marker, name, log string) string {
	if m := loggedVM.FindStringSubmatch(log); m != nil {
		name = m[1]
	}
	drives := loggedDrive.FindAllStringSubmatch(log, 64)
	if len(drives) == 0 {
		drives = [][]string{{"", "scsi0", "8G"}}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%sname: %s\nmemory: 512\nostype: l26\n", marker, name)
	said := map[string]bool{}
	for i, m := range drives {
		if !said[m[1]] {
			said[m[1]] = true
			fmt.Fprintf(&b, "%s: local-lvm:vm-%d-disk-%d,size=%s\n", m[1], a.VMID, i, m[2])
		}
	}
	return b.String()
}

// hostname is the one that an object of this name has.
func hostname(object string, want *spec.Desired) string {
	for _, guests := range []map[string]*spec.Guest{want.Restores, want.Guests} {
		if g := guests[object]; g != nil {
			return g.Hostname()
		}
	}
	return object
}
