package privileged

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// rule is what the fence knows about one operation: every argument that there may be with the check that its value must pass, those that must be
// there, and what is then done. An argument without an entry here is refused. A '#' in a name stands for the number of a net or mount point.
type rule struct {
	why  string // why it is not the API
	need []string
	may  map[string]check
	do   func(*scene) error        // an act
	look func(*scene) (any, error) // or a query

	long  map[string]int // arguments that may be longer than others, in letters
	limit time.Duration  // after this, or at the deadline of who asked, an act is ended in order; 0: it is finished however long it takes
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
		do: (*scene).createGolden, // pct create
	},
	"SealGolden": {
		why:  "PVE has no call that changes files inside a container",
		need: []string{"vmid", "object", "owner"},
		may:  guest,
		do:   (*scene).sealGolden, // pct mount, files through os.Root, pct unmount

		limit: sealTime,
	},
	"MountUSBByUUID": {
		why:  "PVE has no call that mounts an existing file system; its disk calls format the disk",
		need: []string{"name", "uuid", "path"},
		may:  map[string]check{"name": objectName, "uuid": uuid, "path": hostPath, "fstype": oneOf(fileSystems...), "options": mountOptions, "fstab": boolean},
		do:   (*scene).mountUSB, // a line in /etc/fstab, mount
	},
	"UnmountUSB": {
		why:  "PVE has no call that unmounts a file system",
		need: []string{"name", "path"},
		may:  map[string]check{"name": objectName, "uuid": uuid, "path": hostPath, "fstab": boolean},
		do:   (*scene).unmountUSB, // umount, the line out of /etc/fstab
	},
	"BindMount": {
		why:  "PVE lets only root@pam itself set a mount point of type bind",
		need: []string{"vmid", "object", "owner", "index", "source", "mp"},
		may: join(guest, map[string]check{
			"index": number(0, 255), "source": hostPath, "mount": hostPath, "mp": guestPath, "ro": boolean,
			"option.acl": boolean, "option.backup": boolean, "option.quota": boolean, "option.replicate": boolean, "option.shared": boolean,
			"option.keepattrs": boolean, "option.idmap": idmap, "option.mountoptions": volumeOptions,
		}),
		do: (*scene).bindMount, // pct set --mpN
	},
	"Unbind": {
		why:  "the root helper removes what it has set; PVE would let the token delete it, but not put it back",
		need: []string{"vmid", "object", "owner", "index", "source"},
		may:  join(guest, map[string]check{"index": number(0, 255), "source": hostPath}),
		do:   (*scene).unbind, // pct set --delete mpN
	},
	"PassDevice": {
		why:  "PVE lets only root@pam itself configure device passthrough",
		need: []string{"vmid", "object", "owner", "index", "path"},
		may: join(guest, map[string]check{
			"index": number(0, 255), "path": devicePath, "mode": octalMode, "uid": number(0, 1<<31-1), "gid": number(0, 1<<31-1), "deny-write": boolean,
		}),
		do: (*scene).passDevice, // pct set --devN
	},
	"RemoveDevice": {
		why:  "PVE lets only root@pam itself delete a passed device",
		need: []string{"vmid", "object", "owner", "index", "path"},
		may:  join(guest, map[string]check{"index": number(0, 255), "path": devicePath}),
		do:   (*scene).removeDevice, // pct set --delete devN
	},
	"KeepKit": {
		why:  "PVE has no call that writes a file to a disk of the host",
		need: []string{"name", "path", "time", "content"},
		may:  map[string]check{"name": objectName, "path": hostPath, "mounted": boolean, "time": kitTime, "content": base64Text},
		do:   (*scene).keepKit, // a new folder below felhom-recovery, through os.Root

		long: map[string]int{"content": maxContent},
	},

	"Mounts": {
		why:  "the API does not show the host's mount table",
		look: (*scene).mounts, // /proc/1/mountinfo, blkid -p, /etc/fstab
	},
	"Disks": {
		why:  "the API's disk list has no file system UUIDs",
		look: (*scene).disks, // blkid -p
	},
	"Running": {
		why:  "operations of the root helper are not tasks of PVE",
		look: (*scene).running,
	},
	"GuestMounts": {
		why:  "the API does not show what a guest really has mounted",
		need: []string{"vmid"},
		may:  map[string]check{"vmid": vmid},
		look: (*scene).guestMounts, // lxc-info, /proc/PID/mountinfo
	},
	"GuestMemory": {
		why:  "the API's figure leaves out shared memory and what else of a guest cannot be dropped",
		need: []string{"vmid"},
		may:  map[string]check{"vmid": vmid},
		look: (*scene).guestMemory, // /sys/fs/cgroup/lxc/VMID
	},
	"SyncMount": {
		why:  "vzdump does not write its archive out, and PVE has no call that does",
		need: []string{"path"},
		may:  map[string]check{"path": hostPath},
		look: (*scene).syncMount, // syncfs
	},
	"FolderInfo": {
		why:  "the API does not show directories of the host",
		need: []string{"path", "folder"},
		may:  map[string]check{"path": hostPath, "folder": relativePath},
		look: (*scene).folderInfo, // lstat
	},
	"CheckArchive": {
		why:  "PVE has no call that reads an archive to its end, but a restore",
		need: []string{"path", "file"},
		may:  map[string]check{"path": hostPath, "file": archivePath},
		look: (*scene).checkArchive, // zstd -t, lzop -t

		limit: ArchiveTime,
	},
	"SMART": {
		why:  "the API has it (GET /nodes/N/disks/smart with Sys.Audit), but untyped and without USB bridges: used where the API does not answer",
		need: []string{"device"},
		may:  map[string]check{"device": diskDevice},
		look: (*scene).smart, // smartctl --json
	},
	"Sensors": {
		why:  "the API has no sensors",
		look: (*scene).sensors, // sensors -j
	},
}

var guest = map[string]check{"vmid": vmid, "object": objectName, "owner": ownerName}

// order is the order in which Routes prints the operations.
var order = []string{"CreateGoldenLXC", "SealGolden", "MountUSBByUUID", "UnmountUSB", "BindMount", "Unbind", "PassDevice", "RemoveDevice", "KeepKit",
	"Mounts", "Disks", "GuestMounts", "GuestMemory", "FolderInfo", "SyncMount", "CheckArchive", "SMART", "Sensors", "Running"}

// Route says which way an operation goes.
type Route struct {
	Operation string // e.g. "BindMount"
	Act       bool   // it is an Op; else a Query
	Backend   string // here always "fence"
	Why       string // why it is not the API
}

// Routes lists the operations of the fence, each with why it is not the API.
func Routes() []Route {
	var routes []Route
	for _, name := range order {
		r := rules[name]
		routes = append(routes, Route{Operation: name, Act: r.do != nil, Backend: "fence", Why: r.why})
	}
	return routes
}

// scene is one request that passed its rule, on its way to be carried out.
type scene struct {
	ctx      context.Context
	local    *Local
	host     Host
	node     string
	op       string
	args     map[string]string
	progress func(string)
	result   Result // what an act has to say
}

// admit checks a request as far as its own text goes, and that it is meant for this node.
func admit(host Host, act bool, node, name string, args map[string]string) (rule, error) {
	r, err := vet(act, node, name, args)
	if err != nil {
		return rule{}, err
	}
	here, err := host.NodeName()
	if err != nil {
		return rule{}, &RefusedError{Op: name, Arg: "node", Value: node, Reason: "this is not a node of Proxmox VE: " + err.Error(), Cure: "Run the root helper on " + node}
	}
	if here != node {
		return rule{}, &RefusedError{Op: name, Arg: "node", Value: node, Reason: "this is " + here, Cure: "Run it on " + node, Here: here}
	}
	return r, nil
}

// vet checks the text of a request: its name, that every argument is known and well formed, and that none is missing. The agent's side does it
// before it sends anything, the fence again.
func vet(act bool, node, name string, args map[string]string) (rule, error) {
	refuse := func(arg, value, reason, cure string) (rule, error) {
		return rule{}, &RefusedError{Op: printable(clip(name, 40)), Arg: printable(clip(arg, 40)), Value: value, Reason: reason, Cure: cure}
	}
	r, ok := rules[name]
	if !ok || (r.do != nil) != act {
		return refuse("", "", "the root helper has no such operation", "Install felhom-agent and felhom-fence of one version")
	}
	if len(args) > 300 {
		return refuse("", "", "too many arguments", "")
	}
	for _, key := range sortedKeys(args) {
		value := args[key]
		c, ok := r.may[pattern(key)]
		if !ok {
			return refuse(key, value, "there is no such argument", "Install felhom-agent and felhom-fence of one version")
		}
		if value == "" {
			return refuse(key, value, "it is empty", "Leave it out")
		}
		if most := max(r.long[key], 8192); !utf8.ValidString(value) || utf8.RuneCountInString(value) > most {
			return refuse(key, value, fmt.Sprintf("it is longer than %d characters or no UTF-8", most), "")
		}
		if reason := c(value); reason != "" {
			return refuse(key, value, reason, "")
		}
	}
	for _, key := range r.need {
		if args[key] == "" {
			return refuse(key, "", "it is missing", "")
		}
	}
	if reason := nodeName(node); reason != "" {
		return refuse("node", node, reason, "")
	}
	return r, nil
}

// pattern puts '#' in the place of the number of net0. and mp0. keys; a number that PVE would not write stays and so finds no rule.
func pattern(key string) string {
	for prefix, most := range map[string]int{"net": 31, "mp": 255} {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		digits, field, ok := strings.Cut(rest, ".")
		if ok && number(0, int64(most))(digits) == "" {
			return prefix + "#." + field
		}
	}
	if strings.Contains(key, "#") {
		return ""
	}
	return key
}

// refuse makes the error of a check that needs the world.
func (s *scene) refuse(arg, reason, cure string) error {
	return &RefusedError{Op: s.op, Arg: arg, Value: s.args[arg], Reason: reason, Cure: cure}
}

// wait is refuse for what is in the way and passes.
func (s *scene) wait(arg, reason, cure string) error {
	return &RefusedError{Op: s.op, Arg: arg, Value: s.args[arg], Reason: reason, Cure: cure, Busy: true}
}

// miss is refuse for what is not there.
func (s *scene) miss(arg, reason, cure string) error {
	return &RefusedError{Op: s.op, Arg: arg, Value: s.args[arg], Reason: reason, Cure: cure, Missing: true}
}

// run runs a program for an act and turns an exit code other than 0 into a FailedError.
func (s *scene) run(program string, args ...string) ([]byte, error) {
	out, exit, err := s.host.Run(s.ctx, program, args, s.progress)
	s.result.Output = tail(s.result.Output+string(out), maxOutput)
	if err != nil {
		return out, &FailedError{Op: s.op, Program: program, Args: args, Reason: err.Error()}
	}
	if exit != 0 {
		return out, &FailedError{Op: s.op, Program: program, Args: args, Exit: exit, Output: tail(string(out), maxTail)}
	}
	return out, nil
}

// span is how long an act may go on for one who waits until ctx ends: to its end, or for the rule's limit, but then so that the answer is still in time.
func (r rule) span(ctx context.Context) (context.Context, context.CancelFunc) {
	free := context.WithoutCancel(ctx)
	if r.limit == 0 {
		return context.WithCancel(free)
	}
	limit := r.limit
	if at, ok := ctx.Deadline(); ok {
		left := time.Until(at)
		limit = min(limit, left-min(left/4, 3*time.Second))
	}
	return context.WithTimeout(free, limit)
}

// failed wraps an error of the host's.
func (s *scene) failed(err error, doing string) error {
	var failed *FailedError
	var refused *RefusedError
	if errors.As(err, &failed) || errors.As(err, &refused) {
		return err
	}
	return &FailedError{Op: s.op, Reason: doing + ": " + err.Error()}
}

func (s *scene) note(format string, a ...any) {
	s.result.Notes = append(s.result.Notes, fmt.Sprintf(format, a...))
}

// read reads a file of the host; nil when there is none.
func (s *scene) read(path string) ([]byte, error) {
	data, err := s.host.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &FailedError{Op: s.op, Reason: fmt.Sprintf("cannot read %s: %v", path, err)}
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

const (
	maxOutput = 64 << 10 // of what a Result carries
	maxTail   = 4 << 10  // of what an error carries
)

// tail is the end of s, at most n bytes, from the beginning of a line where it was cut.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	if i := strings.IndexByte(s, '\n'); i >= 0 && i < len(s)-1 {
		s = s[i+1:]
	}
	return strings.ToValidUTF8(s, "")
}

func join(a, b map[string]check) map[string]check {
	m := maps.Clone(a)
	maps.Copy(m, b)
	return m
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
