package schema

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/retention"
)

var (
	configIDRE = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]+$`)
	dnsNameRE  = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`)
	// StorageRE is the name of a storage.
	StorageRE  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$`)
	tagRE      = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_+.-]*$`)
	volumeIDRE = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]):(.+)$`)
	macRE      = regexp.MustCompile(`^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$`)
	// NewDiskRE asks for a new volume: STORAGE:SIZE in GiB.
	NewDiskRE  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]):(\d+(\.\d+)?)$`)
	nodeRE     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`)
	startupRE  = regexp.MustCompile(`^(order=)?\d+$|^(up|down)=\d+$`)
	diskSizeRE = regexp.MustCompile(`^\d+(\.\d+)?[KMGT]?$`)
)

// formats are the named formats that say why they refuse a value.
var formats = map[string]func(string) error{
	"vmid":          vmID,
	"vmid-list":     each(vmID),
	"configid":      configID,
	"configid-list": each(configID),
	"dns-name":      dnsName,
	"dns-name-list": each(dnsName),
	"node": func(v string) error {
		if !nodeRE.MatchString(v) {
			return errors.New("value does not look like a valid node name")
		}
		return nil
	},
	"storage": func(v string) error {
		if !StorageRE.MatchString(v) {
			return fmt.Errorf("storage ID '%s' contains illegal characters", v)
		}
		return nil
	},
	"content": func(v string) error {
		switch v {
		case "images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none":
			return nil
		}
		return fmt.Errorf("invalid content type '%s'", v)
	},
	"poolid": func(v string) error { return nil },
	"volume-id": func(v string) error {
		if !volumeIDRE.MatchString(v) {
			return fmt.Errorf("unable to parse volume ID '%s'", v)
		}
		return nil
	},
	"tag-list": func(v string) error {
		for _, tag := range notation.SplitList(v) {
			if !tagRE.MatchString(tag) {
				return fmt.Errorf("invalid characters in tag")
			}
		}
		return nil
	},
	"startup": func(v string) error {
		for _, f := range strings.Split(v, ",") {
			if !startupRE.MatchString(f) {
				return errors.New("unable to parse startup options")
			}
		}
		return nil
	},
	"timezone": func(v string) error {
		if v == "host" || v == "UTC" {
			return nil
		}
		if _, err := time.LoadLocation(v); err != nil || v == "" || v == "Local" {
			return fmt.Errorf("invalid time zone '%s'", v)
		}
		return nil
	},
	"nameservers": func(v string) error {
		for _, a := range notation.SplitList(v) {
			addr, _, _ := strings.Cut(a, "%")
			if _, err := netip.ParseAddr(addr); err != nil && a != "host" {
				return errors.New("value does not look like a valid IP address")
			}
		}
		return nil
	},
	"ipv4": func(v string) error {
		if a, err := netip.ParseAddr(v); err != nil || !a.Is4() {
			return errors.New("value does not look like a valid IPv4 address")
		}
		return nil
	},
	"ipv6": func(v string) error {
		if a, err := netip.ParseAddr(v); err != nil || !a.Is6() {
			return errors.New("value does not look like a valid IPv6 address")
		}
		return nil
	},
	"ipv4-config": func(v string) error {
		if v == "dhcp" || v == "manual" {
			return nil
		}
		if p, err := netip.ParsePrefix(v); err != nil || !p.Addr().Is4() {
			return errors.New("value does not look like a valid ipv4 network configuration")
		}
		return nil
	},
	"ipv6-config": func(v string) error {
		if v == "auto" || v == "dhcp" || v == "manual" {
			return nil
		}
		if p, err := netip.ParsePrefix(v); err != nil || !p.Addr().Is6() {
			return errors.New("value does not look like a valid ipv6 network configuration")
		}
		return nil
	},
	"mac": func(v string) error {
		if !macRE.MatchString(v) {
			return errors.New("value does not look like a valid unicast MAC address")
		}
		return nil
	},
	"disk-size": func(v string) error {
		if !diskSizeRE.MatchString(v) {
			return errors.New("value does not look like a valid disk size")
		}
		return nil
	},
	"mp": func(v string) error {
		if v == "" || !strings.HasPrefix(v, "/") || strings.Contains(v, "/../") || strings.HasSuffix(v, "/..") || strings.Contains(v, "/./") {
			return errors.New("invalid mount point path")
		}
		return nil
	},
	"mp-volume": func(v string) error {
		if strings.HasPrefix(v, "/") && (strings.Contains(v, "/../") || strings.HasSuffix(v, "/..") || strings.Contains(v, "/./")) {
			return errors.New("invalid mount point path")
		}
		return nil
	},
	"dev": func(v string) error {
		if !strings.HasPrefix(v, "/dev/") || strings.Contains(v, "/../") {
			return errors.New("device path must start with /dev")
		}
		return nil
	},
	"task-status": each(func(v string) error {
		switch strings.ToLower(v) {
		case "ok", "error", "warning", "unknown":
			return nil
		}
		return fmt.Errorf("invalid status '%s'", v)
	}),
	"prune": func(v string) error {
		_, err := retention.Parse(v)
		return err
	},
}

func init() { buildSchemas() }

func vmID(v string) error {
	if n, err := strconv.Atoi(v); err != nil || n < 100 || n > 999999999 {
		return errors.New("value does not look like a valid VM ID")
	}
	return nil
}

func configID(v string) error {
	if !configIDRE.MatchString(v) {
		return fmt.Errorf("invalid configuration ID '%s'", v)
	}
	return nil
}

func dnsName(v string) error {
	if !dnsNameRE.MatchString(v) {
		return errors.New("value does not look like a valid DNS name")
	}
	return nil
}

func each(one func(string) error) func(string) error {
	return func(v string) error {
		for _, item := range notation.SplitList(v) {
			if err := one(item); err != nil {
				return err
			}
		}
		return nil
	}
}

// propertyStrings are the formats that are property strings.
var propertyStrings map[string]*Schema

// Net and the others are what the rest of the package parses with.
var (
	Net, MountPoint, RootFS, Features, Device *Schema
	Config                                    *Schema
)

// configText are the keys of a guest's config. PVE: LXC/Config, confdesc.
const configText = `
arch enum=amd64,i386,arm64,armhf,riscv32,riscv64
cmode enum=shell,console,tty
console boolean
cores integer 1..8192
cpulimit number 0..8192
cpuunits integer 0..500000
debug boolean
description len=0..8192
dev[256] sub=dev
entrypoint re=[^\x00-\x08\x0a-\x1F\x7F]+
env re=(?:\w+=[^\x00-\x08\x0a-\x1F\x7F]*)(?:\x00\w+=[^\x00-\x08\x0a-\x1F\x7F]*)*
features sub=features
hookscript format=volume-id
hostname format=dns-name len=0..255
lock enum=backup,create,destroyed,disk,fstrim,migrate,mounted,rollback,snapshot,snapshot-delete
memory integer 16..
mp[256] sub=mp
nameserver format=nameservers list
net[32] sub=net
onboot boolean
ostype enum=debian,devuan,ubuntu,centos,fedora,opensuse,archlinux,alpine,gentoo,nixos,unmanaged
protection boolean
rootfs sub=rootfs
searchdomain format=dns-name-list list
startup format=startup
swap integer 0..
tags format=tag-list list
template boolean
timezone format=timezone
tty integer 0..6
unprivileged boolean
unused[256] sub=unused`

func buildSchemas() {
	const volume = `
acl boolean
idmap
mountoptions re=((discard|lazytime|noatime|nodev|noexec|nosuid);?)+
quota boolean
replicate boolean
ro boolean
shared boolean
size format=disk-size
volume!* format=mp-volume
`
	Net = New(`
bridge re=[-_.\w\d]+
firewall boolean
gw format=ipv4
gw6 format=ipv6
host-managed boolean
hwaddr format=mac
ip format=ipv4-config
ip6 format=ipv6-config
link_down boolean
mtu integer 64..65535
name! re=[-_.\w\d]+
rate number
tag integer 1..4094
trunks re=\d+(;\d+)*
type enum=veth`)
	RootFS = New(volume)
	MountPoint = New(volume + `
backup boolean
keepattrs boolean
mp! format=mp`)
	Features = New(`
force_rw_sys boolean
fuse boolean
keyctl boolean
mknod boolean
mount re=[a-zA-Z0-9_;\x20]+
nesting boolean`)
	Device = New(`
deny-write boolean
gid integer 0..
mode re=0[0-7]{3}
path* format=dev
uid integer 0..`)
	propertyStrings = map[string]*Schema{
		"net": Net, "mp": MountPoint, "rootfs": RootFS,
		"features": Features, "dev": Device,
		"unused": New("volume!* format=volume-id"),
	}
	Config = New(configText)
}
