package privileged

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// check says what is wrong with a value, or nothing. No check lets a value begin with a dash or hold a control character, but for the prose of a
// description; none that ends in a property string lets a comma or an equals sign through.
type check func(value string) (reason string)

// matches takes what an expression matches as a whole. It is compiled when a value is checked: a process checks few of them.
func matches(expr, reason string) check {
	re := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\A(?:` + expr + `)\z`) })
	return func(v string) string {
		if !re().MatchString(v) {
			return reason
		}
		return ""
	}
}

func oneOf(words ...string) check {
	return func(v string) string {
		if !slices.Contains(words, v) {
			return "it must be one of " + strings.Join(words, ", ")
		}
		return ""
	}
}

// number takes a decimal number without a sign or leading zeros.
func number(least, most int64) check {
	return func(v string) string {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != v || n < least || n > most {
			return fmt.Sprintf("it must be an integer from %d to %d", least, most)
		}
		return ""
	}
}

// list takes items divided by sep, each of which passes c.
func list(sep string, c check) check {
	return func(v string) string {
		for _, item := range strings.Split(v, sep) {
			if reason := c(item); reason != "" {
				return fmt.Sprintf("%q: %s", clip(item, 40), reason)
			}
		}
		return ""
	}
}

var (
	boolean    = oneOf("0", "1")
	vmid       = number(100, 999999999)
	decimal    = matches(`[0-9]{1,6}(\.[0-9]{1,6})?`, "it must be a decimal number")
	nodeName   = matches(`[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?`, "it is not a node name")
	objectName = matches(`[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, "a name has letters, digits, dots, dashes and underscores, at most 64")
	ownerName  = matches(`[A-Za-z0-9][A-Za-z0-9._@-]{0,127}`, "an owner has letters, digits, dots, dashes, @ and underscores")
	storageID  = matches(`[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]`, "it is not a storage name of PVE")
	template   = matches(`[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]:vztmpl/[A-Za-z0-9](\.?[A-Za-z0-9_+~-])*\.tar\.(gz|xz|zst|bz2)`,
		"it must be the volume id of a container template, such as local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst")
	sha512Digits = matches(`[0-9a-f]{128}`, "it must be 128 hexadecimal digits")
	hostname     = matches(`([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*`, "it is not a hostname")
	domains      = list(" ", hostname)
	iface        = matches(`[A-Za-z][A-Za-z0-9_.-]{1,14}`, "it is not a network interface name")
	timezone     = matches(`host|[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*`, "it must be host, UTC or a name such as Europe/Budapest")
	startup      = matches(`(order=)?[0-9]{1,9}|((order|up|down)=[0-9]{1,9})(,(order|up|down)=[0-9]{1,9}){0,2}`, "it must look like order=3,up=30,down=60")
	tags         = list(";", matches(`[A-Za-z0-9_][A-Za-z0-9_+.-]*`, "it is not a tag; tags are separated by semicolons"))
	fsList       = list(";", matches(`[a-z][a-z0-9_.]{0,30}`, "it is not a file system type; these are separated by semicolons"))
	trunks       = list(";", number(1, 4094))
	idmap        = matches(`passthrough|[ug]:[0-9]{1,10}:[0-9]{1,10}:[1-9][0-9]{0,9}(;[ug]:[0-9]{1,10}:[0-9]{1,10}:[1-9][0-9]{0,9})*`, "it must be passthrough, or look like u:0:100000:65536")
	octalMode    = matches(`0[0-7]{3}`, "it must be an octal mode such as 0660")
	uuid         = matches(`[0-9A-Fa-f][0-9A-Fa-f-]{2,62}[0-9A-Fa-f]`, "it is not a file system UUID as blkid prints it")

	kitTime    = matches(`[0-9]{8}T[0-9]{6}Z`, "it must be a time in UTC such as 20261122T180500Z")
	base64Text = matches(`[A-Za-z0-9+/]+={0,2}`, "it is not base64")

	unitName  = matches(`[A-Za-z0-9_@%:\\.-]{1,200}\.(automount|mount|path|scope|service|slice|socket|swap|target|timer)`, "it is not the name of a unit, such as nginx.service")
	probeName = matches(`[A-Za-z0-9_(@%:/\\][A-Za-z0-9_()@%:/\\ .+-]{0,220}`, "it is not the name of a unit or process")
	urlPath   = matches(`/[!-~]{0,1000}`, "it must be a path and query such as /health, without spaces")

	volumeOptions = list(";", oneOf("discard", "lazytime", "noatime", "nodev", "noexec", "nosuid"))

	// A disk, not one of its partitions.
	diskDevice = matches(`/dev/(sd[a-z]{1,3}|vd[a-z]{1,3}|hd[a-z]|nvme[0-9]{1,3}(n[0-9]{1,3})?|mmcblk[0-9]{1,3})`, "it must be a disk, not a partition, such as /dev/sdb or /dev/nvme0n1")
)

// fileSystems are what may be mounted. All of them live in the kernel: a helper process that serves a mount would die with the fence's session.
var fileSystems = []string{"ext4", "ext3", "ext2", "xfs", "btrfs", "f2fs", "vfat", "exfat", "ntfs3"}

// mountOptions lets through what changes how a file system is mounted, not who may mount it or what else is done (user, exec helpers, loop, bind).
var mountOptions = list(",", matches(`defaults|ro|rw|noatime|nodiratime|relatime|strictatime|lazytime|nolazytime|nosuid|nodev|noexec|sync|dirsync|`+
	`discard|nodiscard|discard=async|autodefrag|noautodefrag|barrier|nobarrier|inode64|noquota|utf8|quiet|flush|sys_immutable|windows_names|prealloc|nofail|`+
	`commit=[0-9]{1,5}|errors=(remount-ro|continue)|data=(ordered|journal|writeback)|`+
	`compress(-force)?=[a-z]{1,8}(:[0-9]{1,2})?|space_cache=v[12]|subvol=/?[A-Za-z0-9@_.-]+|degraded|`+
	`(uid|gid)=[0-9]{1,10}|(umask|fmask|dmask)=0?[0-7]{1,4}|(iocharset|nls|codepage)=[a-z0-9-]{1,20}|shortname=[a-z0-9]{1,10}|`+
	`x-systemd\.device-timeout=[0-9]{1,6}(s|min)?`,
	"this mount option is not on the list of the root helper (noatime, ro, nosuid, noexec, sync, discard, commit=N, compress=WORD, subvol=NAME, uid=N and the like)"))

// prose is a description: any text, but no control characters other than new lines and tabs.
func prose(v string) string {
	for _, r := range v {
		if (r < ' ' && r != '\n' && r != '\t') || r == 0x7f {
			return "it holds a control character"
		}
	}
	return ""
}

// commandLine is what a container runs as its first process: one line, not an option.
func commandLine(v string) string {
	if reason := prose(v); reason != "" || strings.ContainsAny(v, "\n\t") {
		return "it must be one line without control characters"
	}
	if strings.HasPrefix(v, "-") || strings.TrimSpace(v) != v {
		return "it must not begin with a dash or a space"
	}
	return ""
}

func ip4(v string) string {
	p, err := netip.ParsePrefix(v)
	if v == "dhcp" || v == "manual" || err == nil && p.Addr().Is4() && v == p.String() {
		return ""
	}
	return "it must be dhcp, manual or an address with its prefix length, such as 10.0.10.11/24"
}

func ip6(v string) string {
	p, err := netip.ParsePrefix(v)
	if v == "dhcp" || v == "manual" || v == "auto" || err == nil && p.Addr().Is6() {
		return ""
	}
	return "it must be auto, dhcp, manual or an IPv6 address with its prefix length"
}

func address4(v string) string {
	if a, err := netip.ParseAddr(v); err != nil || !a.Is4() {
		return "it must be an IPv4 address"
	}
	return ""
}

func address6(v string) string {
	if a, err := netip.ParseAddr(v); err != nil || !a.Is6() || a.Zone() != "" {
		return "it must be an IPv6 address"
	}
	return ""
}

func nameservers(v string) string {
	for _, f := range strings.Split(v, " ") {
		if a, err := netip.ParseAddr(f); f != "host" && (err != nil || a.Zone() != "") {
			return "it must be IP addresses separated by single spaces"
		}
	}
	return ""
}

func mac(v string) string {
	ok, _ := regexp.MatchString(`\A[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}\z`, v)
	if !ok {
		return "it must be a MAC address such as BE:24:11:9E:41:07"
	}
	if first, _ := strconv.ParseUint(v[:2], 16, 8); first&1 != 0 {
		return "it is a multicast MAC address"
	}
	return ""
}

// hostPath is an absolute path in its shortest form, of which PVE can keep every part in a property string. Whether it lies under an allowed root is
// looked at when the operation is carried out.
func hostPath(v string) string {
	if !strings.HasPrefix(v, "/") || path.Clean(v) != v || len(v) > 1000 {
		return "it must be an absolute path without //, . and .. and without a slash at its end"
	}
	for _, r := range v {
		if r < ' ' || r == 0x7f || strings.ContainsRune("\\\"',=;", r) {
			return "it holds a control character, a quote, a backslash, a comma, a semicolon or an equals sign"
		}
	}
	for _, part := range strings.Split(v[1:], "/") {
		if strings.HasPrefix(part, "-") || strings.TrimSpace(part) != part {
			return "a part of it begins with a dash, or begins or ends with a space"
		}
		if len(part) > 255 {
			return "a part of it is longer than 255 bytes"
		}
	}
	return ""
}

func guestPath(v string) string {
	if v == "/" {
		return "it is the root of the guest"
	}
	return hostPath(v)
}

// guestFile is a path in a guest that is only read.
func guestFile(v string) string {
	if v == "/" || strings.ContainsRune(v, 0) {
		return "it must be a path below the root of the guest"
	}
	return hostPath(v)
}

func relativePath(v string) string {
	if strings.HasPrefix(v, "/") {
		return "it must be a path below the mount point"
	}
	return hostPath("/" + v)
}

func devicePath(v string) string {
	if reason := hostPath(v); reason != "" {
		return reason
	}
	if !strings.HasPrefix(v, "/dev/") || strings.Contains(v, " ") {
		return "it must be a device below /dev"
	}
	return ""
}
