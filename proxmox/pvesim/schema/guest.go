package schema

import (
	"strings"
)

// VolumeKind is volume, bind or device. PVE: classify_mountpoint.
func VolumeKind(volid string) string {
	switch {
	case strings.HasPrefix(volid, "/dev/"):
		return "device"
	case strings.HasPrefix(volid, "/"):
		return "bind"
	}
	return "volume"
}

// propertyStrings are the formats that are property strings.
var propertyStrings map[string]*Schema

// Net and the others are what the rest of the package parses with.
var (
	Net, MountPoint, RootFS, Features, Device *Schema
	Config                                    *Schema
	VMNet, Drive, Machine                     *Schema // of virtual machines
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
	buildMachine()
	Config = New(configText)
}
