package privileged

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// PolicyPath is the file in which root says to the fence what it may do. Never does the caller say it.
const PolicyPath = "/etc/felhom-agent/fence.json"

// policy is the file at PolicyPath. What it leaves out has its default.
type policy struct {
	Roots   []string `json:"roots"`   // under which disks are mounted and directories are bound; default /mnt
	Disks   []string `json:"disks"`   // patterns of path.Match of the disks and partitions that are mounted; default all
	Devices []string `json:"devices"` // patterns of path.Match of the devices that guests may have
	Users   []string `json:"users"`   // who may speak to the socket, besides root; default felhom-agent
	IDMap   []string `json:"idmap"`   // folders whose binds may map IDs of a guest to those of the host; default none
	Kits    []string `json:"kits"`    // folders of storages in which recovery kits are kept, besides those below the roots; default none
	Tests   string   `json:"tests"`   // the VMIDs of restore tests, whose containers may be probed: 9900-9909; default none
	Guards  string   `json:"guards"`  // the VMIDs of containers that may be probed after a change of them: 101,111-119; default none
}

var defaultPolicy = policy{
	Roots:   []string{"/mnt"},
	Disks:   []string{"/dev/sd*", "/dev/nvme*", "/dev/mmcblk*", "/dev/vd*", "/dev/xvd*", "/dev/hd*"},
	Devices: []string{"/dev/dri/card*", "/dev/dri/renderD*", "/dev/net/tun", "/dev/ttyUSB*", "/dev/ttyACM*"},
	Users:   []string{"felhom-agent"},
}

// Folders are what root allows on folders of the host.
type Folders struct {
	Roots []string // below which disks are mounted and folders are bound
	IDMap []string // whose binds, and those of what is below, may map IDs of a guest to those of the host
	Kits  []string // in which recovery kits are kept, and nothing else is done
}

// LocalFolders are the folders of this machine that its root helper works on, for those who want to know before they ask it. It is an
// error where root's file cannot be read or is not right.
func LocalFolders() (Folders, error) { return foldersIn(PolicyPath) }

func foldersIn(file string) (Folders, error) {
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Folders{Roots: defaultPolicy.Roots}, nil
	case err != nil:
		return Folders{}, err
	}
	p, err := parsePolicy(data)
	return Folders{p.Roots, p.IDMap, p.Kits}, err
}

// FoldersOf are what a file such as /etc/felhom-agent/fence.json allows.
func FoldersOf(text []byte) (Folders, error) {
	p, err := parsePolicy(text)
	return Folders{p.Roots, p.IDMap, p.Kits}, err
}

func parsePolicy(data []byte) (policy, error) {
	var p policy
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return policy{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return policy{}, errTrailing
	}
	if p.Roots == nil {
		p.Roots = defaultPolicy.Roots
	}
	if p.Disks == nil {
		p.Disks = defaultPolicy.Disks
	}
	if p.Devices == nil {
		p.Devices = defaultPolicy.Devices
	}
	if p.Users == nil {
		p.Users = defaultPolicy.Users
	}
	if p.Tests != "" {
		if _, _, err := vmidRange(p.Tests); err != nil {
			return policy{}, err
		}
	}
	for one := range strings.SplitSeq(p.Guards, ",") {
		if _, _, err := guardRange(one); p.Guards != "" && err != nil {
			return policy{}, err
		}
	}
	return p, nil
}

func (r reader) policy() (policy, error) {
	data, err := r.read(PolicyPath)
	if err != nil || data == nil {
		return defaultPolicy, err
	}
	p, err := parsePolicy(data)
	if err != nil {
		return policy{}, &RefusedError{Op: r.op, Reason: PolicyPath + " is not right: " + err.Error(), Fix: `It looks like {"roots": ["/mnt"], "devices": ["/dev/dri/*"]}`}
	}
	return p, nil
}

// system are the directories that no root in the policy opens.
var system = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr", "/var"}

// allowedPath makes sure that the path in an argument lies below an allowed root and in no directory of the system.
func (r reader) allowedPath(arg string) error {
	p, err := r.policy()
	if err != nil {
		return err
	}
	at := r.args[arg]
	for _, dir := range system {
		if within(at, dir) {
			return r.refuse(arg, "it lies in a directory of the system", "Choose a path below "+strings.Join(p.Roots, " or "))
		}
	}
	for _, root := range p.Roots {
		if root = path.Clean(root); path.IsAbs(root) && at != root && within(at, root) && !(within(at, storages) && !within(root, storages)) {
			return nil
		}
	}
	fix := "As root, add a root to " + PolicyPath + ` of this host: {"roots": ["/mnt", "` + path.Dir(at) + `"]}`
	if within(at, storages) {
		return r.refuse(arg, "PVE mounts its storages below "+storages+"; only a root of its own opens it", fix)
	}
	return r.refuse(arg, "it does not lie below "+strings.Join(p.Roots, " or "), fix)
}

// allowedKit makes sure that recovery kits may be kept in the folder in an argument: below an allowed root, as disks are mounted, or in one that root has
// named for kits alone. A root would open the folder to mounts and binds too.
func (r reader) allowedKit(arg string) error {
	p, err := r.policy()
	if err != nil {
		return err
	}
	at := r.args[arg]
	place := !slices.ContainsFunc(system, func(dir string) bool { return within(at, dir) }) || within(at, localStorage)
	if place && slices.Contains(p.Kits, at) {
		return nil
	}
	err = r.allowedPath(arg)
	var refused *RefusedError
	if place && errors.As(err, &refused) {
		refused.Reason = "root has not opened this folder to recovery kits"
		refused.Fix = "As root, add this to " + PolicyPath + ` of this host: "kits": ["` + at + `"]`
	}
	return err
}

// localStorage is where PVE's storage "local" is: the one folder below /var that holds backups.
const localStorage = "/var/lib/vz"

// storages is where PVE mounts network storages, with the backups and disks of all guests in them. A root above it does not open it.
const storages = "/mnt/pve"

// firstGuestID is the first ID of the host that an unprivileged container gets (pct(1); /etc/subuid of PVE: root:100000:65536).
const firstGuestID = 100_000

// mapsHostIDs reports whether a mount point's idmap gives a guest IDs that belong to the host: TYPE:CONTAINER:DISK:COUNT parts, joined by
// semicolons, or passthrough, where the IDs on the disk are the guest's own (PVE's API, mpN idmap).
func mapsHostIDs(idmap string) bool {
	if idmap == "" {
		return false
	}
	for part := range strings.SplitSeq(idmap, ";") {
		f := strings.Split(part, ":")
		if len(f) != 4 {
			return true
		}
		first, err := strconv.ParseUint(f[2], 10, 32)
		count, err2 := strconv.ParseUint(f[3], 10, 32)
		if err != nil || err2 != nil || first < firstGuestID || first+count > 1<<32 {
			return true
		}
	}
	return false
}

// allowedIDMap makes sure that a bind gives its guest no IDs of the host, unless root allows that for the folder.
func (r reader) allowedIDMap(arg, source string) error {
	if !mapsHostIDs(r.args[arg]) {
		return nil
	}
	p, err := r.policy()
	if err != nil {
		return err
	}
	for _, dir := range p.IDMap {
		if dir = path.Clean(dir); path.IsAbs(dir) && within(source, dir) {
			return nil
		}
	}
	return r.refuse(arg, fmt.Sprintf("root of the guest would be root of the host in %s: IDs below %d belong to the host", source, firstGuestID),
		"Leave idmap out, or as root, allow it for this folder in "+PolicyPath+`: {"idmap": ["`+source+`"]}`)
}

// allowedDevice makes sure that the policy lets guests have this device.
func (r reader) allowedDevice(arg string) error {
	p, err := r.policy()
	if err != nil {
		return err
	}
	for _, pattern := range p.Devices {
		if ok, _ := path.Match(pattern, r.args[arg]); ok && strings.HasPrefix(pattern, "/dev/") {
			return nil
		}
	}
	return r.refuse(arg, "the root helper does not pass this device; it passes "+strings.Join(p.Devices, ", "), "As root, add it to devices in "+PolicyPath)
}
