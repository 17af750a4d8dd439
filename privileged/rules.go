package privileged

import (
	"maps"
	"slices"
	"time"
)

// rule is what the fence knows about one operation: every argument that there may be with the check that its value must pass, those that must be
// there, and what is then done. An argument without an entry here is refused. A '#' in a name stands for the number of a net or mount point.
type rule struct {
	why  string // why it is not the API
	need []string
	may  map[string]check
	do   func(*job) error              // an operation
	look func(diskReader) (any, error) // or a query

	long  map[string]int // arguments that may be longer than others, in letters
	limit time.Duration  // after this, or at the deadline of who asked, an operation is ended in order; 0: it is finished however long it takes
}

// The fence: all that root can be asked for. What needs more than the value itself (does the guest bear our marker, is the path under an allowed
// root, is that disk plugged in) is the first half of the function in `do` or `look`; nothing is changed before all of it holds.
var rules = map[string]rule{
	"CreateGoldenLXC": {
		why:  "PVE lets only root@pam itself create a container with features such as keyctl; a token may set nesting alone",
		need: []string{"vmid", "object", "owner", "template", "storage", "size", "hostname", "description"},
		may: join(guest, map[string]check{
			"template": template, "storage": storageID, "size": number(1, 131072), "hostname": hostname, "description": prose,
			"features.keyctl": boolean, "features.nesting": boolean, "features.fuse": boolean, "features.mknod": boolean,
			"features.force_rw_sys": boolean, "features.mount": fsList,
			"net#.name": iface, "net#.bridge": iface, "net#.hwaddr": mac, "net#.ip": ip4, "net#.ip6": ip6, "net#.gw": address4, "net#.gw6": address6,
			"net#.firewall": boolean, "net#.link_down": boolean, "net#.host-managed": boolean, "net#.mtu": number(64, 65535),
			"net#.rate": decimal, "net#.tag": number(1, 4094), "net#.trunks": trunks, "net#.type": oneOf("veth"),
			"mp#.storage": storageID, "mp#.size": number(1, 131072), "mp#.mp": guestPath,
			"mp#.backup": boolean, "mp#.ro": boolean, "mp#.acl": boolean, "mp#.quota": boolean, "mp#.replicate": boolean, "mp#.mountoptions": volumeOptions,
			"config.cores": number(1, 8192), "config.memory": number(16, 1<<40), "config.swap": number(0, 1<<40), "config.cpulimit": decimal,
			"config.cpuunits": number(0, 500000), "config.nameserver": nameservers, "config.searchdomain": domains, "config.timezone": timezone,
			"config.onboot": boolean, "config.protection": boolean, "config.debug": boolean, "config.entrypoint": commandLine, "config.startup": startup, "config.tags": tags, "config.tty": number(0, 6),
			"config.console": boolean, "config.cmode": oneOf("tty", "console", "shell"),
			"config.arch":   oneOf("amd64", "i386", "arm64", "armhf", "riscv32", "riscv64"),
			"config.ostype": oneOf("debian", "devuan", "ubuntu", "centos", "fedora", "opensuse", "archlinux", "alpine", "gentoo", "nixos", "unmanaged"),
		}),
		do: createGolden, // pct create
	},
	"SealGolden": {
		why:  "PVE has no call that changes files inside a container",
		need: []string{"vmid", "object", "owner"},
		may:  guest,
		do:   sealGolden, // pct mount, files through os.Root, pct unmount

		limit: sealTime,
	},
	"MountUSBByUUID": {
		why:  "PVE has no call that mounts an existing file system; its disk calls format the disk",
		need: []string{"name", "uuid", "path"},
		may:  map[string]check{"name": objectName, "uuid": uuid, "path": hostPath, "fstype": oneOf(fileSystems...), "options": mountOptions, "fstab": boolean},
		do:   mountUSB, // a line in /etc/fstab, mount
	},
	"UnmountUSB": {
		why:  "PVE has no call that unmounts a file system",
		need: []string{"name", "path"},
		may:  map[string]check{"name": objectName, "uuid": uuid, "path": hostPath, "fstab": boolean},
		do:   unmountUSB, // umount, the line out of /etc/fstab
	},
	"BindMount": {
		why:  "PVE lets only root@pam itself set a mount point of type bind",
		need: []string{"vmid", "object", "owner", "index", "source", "mp"},
		may: join(guest, map[string]check{
			"index": number(0, 255), "source": hostPath, "mount": hostPath, "mp": guestPath, "ro": boolean,
			"option.acl": boolean, "option.backup": boolean, "option.quota": boolean, "option.replicate": boolean, "option.shared": boolean,
			"option.keepattrs": boolean, "option.idmap": idmap, "option.mountoptions": volumeOptions,
		}),
		do: bindMount, // pct set --mpN
	},
	"Unbind": {
		why:  "the root helper removes what it has set; PVE would let the token delete it, but not put it back",
		need: []string{"vmid", "object", "owner", "index", "source"},
		may:  join(guest, map[string]check{"index": number(0, 255), "source": hostPath}),
		do:   unbind, // pct set --delete mpN
	},
	"PassDevice": {
		why:  "PVE lets only root@pam itself configure device passthrough",
		need: []string{"vmid", "object", "owner", "index", "path"},
		may: join(guest, map[string]check{
			"index": number(0, 255), "path": devicePath, "mode": octalMode, "uid": number(0, 1<<31-1), "gid": number(0, 1<<31-1), "deny-write": boolean,
		}),
		do: passDevice, // pct set --devN
	},
	"RemoveDevice": {
		why:  "PVE lets only root@pam itself delete a passed device",
		need: []string{"vmid", "object", "owner", "index", "path"},
		may:  join(guest, map[string]check{"index": number(0, 255), "path": devicePath}),
		do:   removeDevice, // pct set --delete devN
	},
	"KeepKit": {
		why:  "PVE has no call that writes a file to a disk of the host",
		need: []string{"name", "path", "time", "content"},
		may:  map[string]check{"name": objectName, "path": hostPath, "mounted": boolean, "time": kitTime, "content": base64Text},
		do:   keepKit, // a new folder below felhom-recovery, through os.Root

		long: map[string]int{"content": maxContent},
	},
	"KeepTemplate": {
		why:  "PVE has no call that copies a template to a disk of the host",
		need: []string{"name", "path", "template"},
		may:  map[string]check{"name": objectName, "path": hostPath, "mounted": boolean, "template": template, "sha512": sha512Digits},
		do:   keepTemplate, // pvesm path, a new file below felhom-recovery, through os.Root
	},

	"Mounts": {
		why:  "the API does not show the host's mount table",
		look: answerMounts, // /proc/1/mountinfo, blkid -p, /etc/fstab
	},
	"Disks": {
		why:  "the API's disk list has no file system UUIDs",
		look: answerDisks, // blkid -p
	},
	"Running": {
		why:  "operations of the root helper are not tasks of PVE",
		look: answerRunning,
	},
	"Changes": {
		why:  "the API has no mark that shows that nothing has changed; with this one a quiet node is sent no request",
		look: answerChanges, // /etc/pve/.version, lstat of PVE's task lists, /sys/fs/cgroup, /proc/partitions, /proc/1/mountinfo, /etc/fstab
	},
	"GuestMounts": {
		why:  "the API does not show what a guest really has mounted",
		need: []string{"vmid"},
		may:  map[string]check{"vmid": vmid},
		look: answerGuestMounts, // lxc-info, /proc/PID/mountinfo
	},
	"GuestMemory": {
		why:  "the API's figure leaves out shared memory and what else of a guest cannot be dropped",
		need: []string{"vmid"},
		may:  map[string]check{"vmid": vmid},
		look: answerGuestMemory, // /sys/fs/cgroup/lxc/VMID
	},
	"Probe": {
		why:  "the API shows neither the services of a container nor its files",
		need: []string{"vmid", "what"},
		may: map[string]check{"vmid": vmid, "what": oneOf(sortedKeys(probeNeeds)...), "name": probeName, "port": number(1, 65535), "url": urlPath,
			"file": guestFile, "hash": oneOf("1")},
		look: answerProbe, // /proc/PID/root, setns, the bus of systemd
	},
	"MayProbe": {
		why:  "the API does not know what root has opened to probes; so a guarded change that cannot be proved is not begun",
		need: []string{"vmid"},
		may:  map[string]check{"vmid": vmid},
		look: answerMayProbe, // root's policy
	},
	"SyncMount": {
		why:  "vzdump does not write its archive out, and PVE has no call that does",
		need: []string{"path"},
		may:  map[string]check{"path": hostPath},
		look: answerSyncMount, // syncfs
	},
	"FolderInfo": {
		why:  "the API does not show directories of the host",
		need: []string{"path", "folder"},
		may:  map[string]check{"path": hostPath, "folder": relativePath},
		look: answerFolderInfo, // lstat
	},
	"CheckArchive": {
		why:  "PVE has no call that reads an archive to its end, but a restore",
		need: []string{"path", "file"},
		may:  map[string]check{"path": hostPath, "file": archivePath},
		look: answerCheckArchive, // zstd -t, lzop -t

		limit: ArchiveTime,
	},
	"SMART": {
		why:  "the API has it (GET /nodes/N/disks/smart with Sys.Audit), but untyped and without USB bridges: used where the API does not answer",
		need: []string{"device"},
		may:  map[string]check{"device": diskDevice},
		look: answerSMART, // smartctl --json
	},
	"Sensors": {
		why:  "the API has no sensors",
		look: answerSensors, // sensors -j
	},
}

var guest = map[string]check{"vmid": vmid, "object": objectName, "owner": ownerName}

// order is the order in which Routes prints the operations.
var order = []string{"CreateGoldenLXC", "SealGolden", "MountUSBByUUID", "UnmountUSB", "BindMount", "Unbind", "PassDevice", "RemoveDevice", "KeepKit", "KeepTemplate",
	"Mounts", "Disks", "GuestMounts", "GuestMemory", "Probe", "MayProbe", "FolderInfo", "SyncMount", "CheckArchive", "SMART", "Sensors", "Running", "Changes"}

// Route says which way an operation goes.
type Route struct {
	Operation string // e.g. "BindMount"
	Act       bool   // it is an Op; else a Query
	Backend   string // here always "root helper"
	Why       string // why it is not the API
}

// Routes lists the operations of the fence, each with why it is not the API.
func Routes() []Route {
	var routes []Route
	for _, name := range order {
		r := rules[name]
		routes = append(routes, Route{Operation: name, Act: r.do != nil, Backend: "root helper", Why: r.why})
	}
	return routes
}

func join(a, b map[string]check) map[string]check {
	m := maps.Clone(a)
	maps.Copy(m, b)
	return m
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
