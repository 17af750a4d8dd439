package spec

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/proxmox"
)

// Config is the declared configuration of a guest, in PVE's canonical form.
// What is not in it is not compared.
type Config struct {
	// Values are the plain keys as PVE stores them: memory and swap in MiB,
	// booleans 0 or 1, nameserver and searchdomain separated by single blanks.
	// An empty value means: unset the key.
	Values      map[string]string
	Description *string          // nil: not declared; "": unset
	Tags        []string         // at least these; lower case, sorted
	Startup     proxmox.Startup  // nil: not declared; empty: unset
	Features    proxmox.Features // under restores and guests at most nesting
	Nets        map[int]proxmox.Net
	Mounts      map[int]MountPoint
	Devices     map[int]proxmox.Device
	Drives      map[string]proxmox.Size // sizes of the disks of a virtual machine, by key: scsi0
}

// plain is a key whose value goes to PVE as it is. "" unsets it, where PVE can
// unset it.
func plain(key string, class Class, v value[string], doc string) field[Config] {
	unset := value[string]{
		name: v.name, schema: either(v.schema, &jsonschema.Schema{Const: jsonschema.Ptr[any]("")}),
		read: func(a at, n *yaml.Node) (string, bool) {
			if r := resolve(n); r.Kind == yaml.ScalarNode && r.Value == "" && r.ShortTag() == "!!str" {
				return "", true
			}
			return v.read(a, n)
		},
	}
	return fixed(key, class, unset, doc+` "" unsets it.`)
}

// fixed is a plain key that cannot be unset.
func fixed(key string, class Class, v value[string], doc string) field[Config] {
	return of(key, class, v, func(c *Config, got string) {
		if c.Values == nil {
			c.Values = map[string]string{}
		}
		c.Values[key] = got
	}, doc)
}

func mebibytes(low proxmox.Size) value[string] {
	return convert(size(proxmox.MiB, low), func(s proxmox.Size) string { return strconv.FormatInt(s.MiB(), 10) })
}

// configFields are the keys that every guest may have (PVE: LXC::Config,
// confdesc; the classes are those of vmconfig_hotplug_pending).
func configFields(more ...field[Config]) []field[Config] {
	return append([]field[Config]{
		plain("cores", Live, digits(1, 8192), "Number of processor cores; default all of the host's."),
		plain("cpulimit", Live, fraction(8192), "Processor time, in cores; 0 means unlimited."),
		plain("cpuunits", Live, digits(1, 10000), "Weight against other guests; default 100."),
		fixed("memory", Live, mebibytes(16*proxmox.MiB), "Memory."),
		fixed("swap", Live, mebibytes(0), "Swap."),
		plain("nameserver", NeedsRestart, addresses, "DNS servers."),
		plain("searchdomain", NeedsRestart, domains, "DNS search domains."),
		plain("onboot", Live, zeroOne, "Whether it starts with the node."),
		plain("protection", Live, zeroOne, "Whether PVE refuses to delete it or its disks."),
		plain("console", NeedsRestart, zeroOne, "Whether it has a console."),
		plain("debug", NeedsRestart, zeroOne, "Whether its start is logged in detail."),
		plain("timezone", NeedsRestart, matching("time zone", `^(host|[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*)$`, "expected host, UTC or a name such as Europe/Budapest"), "Its time zone: host, UTC, or a name."),
		plain("tty", NeedsRestart, digits(0, 6), "Number of terminals."),
		plain("cmode", NeedsRestart, oneOf("tty", "console", "shell"), "What the console shows."),
		plain("entrypoint", NeedsRestart, matching("command line", `^[^\x00-\x08\x0a-\x1f\x7f]+$`, "expected one line"), "The first process; default /sbin/init (PVE 9.1)."),
		of("description", Live, description, func(c *Config, v string) { c.Description = &v }, `Its notes. "" unsets them.`),
		of("tags", Live, tags, func(c *Config, v []string) { c.Tags = v }, "At least these tags."),
		of("startup", Live, startup, func(c *Config, v proxmox.Startup) { c.Startup = v }, `Its place when guests start and stop. "" unsets it.`),
		numberedOf("netN", 32, Live, network, func(c *Config, i int, v proxmox.Net) {
			if c.Nets == nil {
				c.Nets = map[int]proxmox.Net{}
			}
			c.Nets[i] = v
		}, "A network interface; only the declared sub-keys are compared."),
		numberedOf("mpN", 256, NeedsRestart, mountPoint, func(c *Config, i int, v MountPoint) {
			if c.Mounts == nil {
				c.Mounts = map[int]MountPoint{}
			}
			c.Mounts[i] = v
		}, "A mount point: a volume, or a folder of the host."),
		numberedOf("devN", 256, RootOnly, device, func(c *Config, i int, v proxmox.Device) {
			if c.Devices == nil {
				c.Devices = map[int]proxmox.Device{}
			}
			c.Devices[i] = v
		}, "A device of the host."),
	}, more...)
}

var configElsewhere = map[string]string{
	"hostname":     "The hostname is the object's name; where it is another, say is: NAME beside config.",
	"rootfs":       "Write it beside config: rootfs: {size: 16G}.",
	"vmid":         "Write it beside config.",
	"state":        "Write it beside config.",
	"node":         "Write it beside config.",
	"unprivileged": "Leave it out: a golden image is always unprivileged, a restore is what its archive says.",
	"lock":         "Leave it out: only PVE sets locks, and a token cannot remove one.",
	"template":     "Leave it out: PVE would only note it, and the guest could not be started any more.",
	"arch":         "Leave it out: the archive of a restore and an existing guest have it already. A golden image may set it.",
	"ostype":       "Leave it out: the archive of a restore and an existing guest have it already. A golden image may set it.",
	"digest":       "Leave it out: the agent sends the digest that it has read.",
	"delete":       `To unset a key write it as "": nameserver: "".`,
	"revert":       "Leave it out: declare the values that you want, and pending changes follow.",
	"hookscript":   "Leave it out: only root may set it; an archive brings it along.",
	"env":          "Leave it out: it may hold passwords; set it inside the guest.",
	"password":     "There are no passwords in this language; set it inside the guest.",
	"hwaddr":       "Write it in the interface: net0: {hwaddr: …}.",
	"unused0":      "Attach it again: mp0: {volume: …, mp: /data, backup: true}.",
}

var (
	guestConfigShape  = shaped(configElsewhere, configFields(append(vmFields(), of("features", NeedsRestart, nestingAlone, func(c *Config, v proxmox.Features) { c.Features = v }, "Only nesting; the others come with the archive of a golden image."))...)...)
	goldenConfigShape = shaped(goldenConfigElsewhere(), configFields(
		fixed("ostype", BirthOnly, oneOf("debian", "devuan", "ubuntu", "centos", "fedora", "opensuse", "archlinux", "alpine", "gentoo", "nixos", "unmanaged"), "The distribution; default: found out."),
		fixed("arch", BirthOnly, oneOf("amd64", "i386", "arm64", "armhf", "riscv32", "riscv64"), "The processor; default amd64."),
	)...)
)

func goldenConfigElsewhere() map[string]string {
	m := map[string]string{"features": "Write it beside config: features: {keyctl: true, nesting: true}."}
	for key, fix := range configElsewhere {
		m[key] = fix
	}
	m["hostname"] = "The hostname of a golden image is its name; leave it out."
	return m
}

// marker is how the line begins by which the agent knows its own guests and
// snapshots again.
const marker = "felhom-agent/1"

var description = scalar("text", typed("string"), strTags, "", func(s string) (string, error) {
	switch {
	case utf8.RuneCountInString(s) > 8000:
		// PVE takes 8192 characters, the marker is among them.
		return "", fmt.Errorf("has %d characters: PVE takes 8192 with the ownership marker, shorten it to 8000", utf8.RuneCountInString(s))
	case strings.Contains(s, marker):
		return "", fmt.Errorf("contains %s, by which the agent marks what is its own: leave that line out, it is written by itself", marker)
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }):
		return "", fmt.Errorf("contains an invisible character: type it again")
	}
	return proxmox.CanonicalDescription(s), nil
})

// tags is a list, or a text as PVE prints it.
var tags = func() value[[]string] {
	one := name("tag", proxmox.CheckTag)
	some := listOf("list of tags", one)
	return value[[]string]{
		name: some.name, schema: either(some.schema, typed("string")),
		read: func(a at, n *yaml.Node) (all []string, ok bool) {
			n = resolve(n)
			switch {
			case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && n.Value != "":
				all, ok = proxmox.ParseTags(n.Value), true
				for _, t := range all {
					if err := proxmox.CheckTag(t); err != nil {
						a.refuse(err)
						ok = false
					}
				}
			default:
				all, ok = some.read(a, n)
				all = proxmox.ParseTags(strings.Join(all, ";"))
			}
			if slices.Contains(all, "felhom-hold") {
				a.fail("To pause an object in the YAML write paused: true.", "felhom-hold is the tag that pauses a guest from the web interface")
				ok = false
			}
			return all, ok
		},
	}
}()

func plural(what string) string {
	if strings.HasSuffix(what, "s") {
		return what + "es"
	}
	return what + "s"
}

// separated is a list, or a text separated as PVE allows, stored with single
// blanks.
func separated(what string, one func(string) error) value[string] {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(",; \t", r) })
	}
	item := name(what, one)
	return value[string]{
		name: "list of " + plural(what), schema: either(typed("string"), listOf("", item).schema),
		read: func(a at, n *yaml.Node) (string, bool) {
			if n = resolve(n); n.Kind == yaml.SequenceNode {
				all, ok := listOf(what, item).read(a, n)
				return strings.Join(all, " "), ok
			}
			s, ok := text.read(a, n)
			parts := split(s)
			for _, part := range parts {
				if err := one(part); err != nil {
					a.refuse(err)
					ok = false
				}
			}
			if ok && len(parts) == 0 {
				a.fail(`Write one, or "" to unset it.`, "is empty")
				ok = false
			}
			return strings.Join(parts, " "), ok
		},
	}
}

var (
	addresses = separated("IP address", func(s string) error {
		if _, err := netip.ParseAddr(s); err != nil {
			return fmt.Errorf("invalid IP address %q: expected for example 10.0.10.1", s)
		}
		return nil
	})
	domains = separated("domain", func(s string) error {
		if proxmox.CheckHostname(s) != nil {
			return fmt.Errorf("invalid domain %q: expected for example home.arpa", s)
		}
		return nil
	})
)

// property is a type that PVE packs into one string: a map of the shape, or
// the string.
func property[T ~map[string]string](name string, parse func(string) (T, error), s *shape[map[string]string], unset bool) value[T] {
	return value[T]{
		name: name + " (map or PVE's string)", schema: either(s.schema(), typed("string")), below: s.table(),
		read: func(a at, n *yaml.Node) (T, bool) {
			m := map[string]string{}
			switch n = resolve(n); {
			case n.Kind == yaml.ScalarNode && n.Value == "" && n.ShortTag() == "!!str" && unset:
				return m, true
			case n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!str" || n.ShortTag() == "!!int"):
				got, err := parse(n.Value)
				if err != nil {
					a.refuse(err)
					return nil, false
				}
				s.fillText(a, got, &m)
			case n.Kind == yaml.MappingNode && len(n.Content) == 0:
				a.fail("Write "+s.example()+".", "says nothing")
				return nil, false
			default:
				if !s.fill(a, n, &m) {
					return nil, false
				}
			}
			return m, true
		},
	}
}

func checkDevice(s string) error {
	if !strings.HasPrefix(s, "/dev/") || checkPath(s) != nil || strings.ContainsAny(s, " ,;") {
		return fmt.Errorf("invalid device %q: expected its path in the shortest form, for example /dev/dri/renderD128", s)
	}
	return nil
}

// sub is a sub-key of a property string.
func sub(key string, class Class, v value[string], doc string) field[map[string]string] {
	return of(key, class, v, func(m *map[string]string, got string) { (*m)[key] = got }, doc)
}

var (
	startup = property("startup order", proxmox.ParseStartup, shaped(nil,
		sub("order", Live, digits(0, math.MaxInt32), "Smaller starts earlier and stops later."),
		sub("up", Live, digits(0, math.MaxInt32), "Seconds to wait after its start."),
		sub("down", Live, digits(0, math.MaxInt32), "Seconds to wait for its shutdown."),
	), true)

	nesting  = sub("nesting", NeedsRestart, zeroOne, "Containers inside the container.")
	features = property("features", proxmox.ParseFeatures, shaped(nil,
		nesting,
		sub("keyctl", BirthOnly, zeroOne, "The keyctl call, which Docker wants."),
		sub("fuse", BirthOnly, zeroOne, "File systems in user space."),
		sub("mknod", BirthOnly, zeroOne, "Making device nodes."),
		sub("force_rw_sys", BirthOnly, zeroOne, "A writable /sys."),
		sub("mount", BirthOnly, matching("list of file systems", `^[a-zA-Z0-9_]+(;[a-zA-Z0-9_]+)*$`, "expected for example nfs;cifs"), "File systems that it may mount."),
	), false)

	nestingAlone = property("features", proxmox.ParseFeatures, shaped(func() map[string]string {
		m := map[string]string{}
		for _, f := range []string{"keyctl", "fuse", "mknod", "force_rw_sys", "mount"} {
			m[f] = "Only root may set it. Declare it on a golden image and restore from that; a restore brings it along."
		}
		return m
	}(), nesting), false)

	device = property("device", proxmox.ParseDevice, shaped(nil,
		sub("path", RootOnly, name("device", checkDevice), "The device on the host.").
			must("Say which: path: /dev/dri/renderD128."),
		sub("mode", RootOnly, matching("mode", `^0[0-7]{3}$`, `expected four digits in quotes, for example "0660"`), `Its mode inside the guest, in quotes: "0660".`),
		sub("uid", RootOnly, digits(0, math.MaxInt32), "Its owner inside the guest."),
		sub("gid", RootOnly, digits(0, math.MaxInt32), "Its group inside the guest."),
		sub("deny-write", RootOnly, zeroOne, "Whether writing is refused."),
	), false)
)
