package schema

import "strings"

// machineText are the keys of a virtual machine's config. PVE: QemuServer, confdesc. What a
// property string may hold is checked for networks and drives alone.
const machineText = `
acpi boolean
affinity
agent
arch enum=x86_64,aarch64
args
audio0
autostart boolean
balloon integer 0..
bios enum=seabios,ovmf
boot
bootdisk
cdrom
cicustom
cipassword
citype enum=configdrive2,nocloud,opennebula
ciupgrade boolean
ciuser
cores integer 1..
cpu
cpulimit number 0..128
cpuunits integer 1..262144
description len=0..8192
efidisk0 sub=drive
freeze boolean
hookscript format=volume-id
hostpci[16]
hotplug
hugepages enum=any,2,1024
ide[4] sub=drive
ipconfig[32]
ivshmem
keephugepages boolean
keyboard
kvm boolean
localtime boolean
lock enum=backup,clone,create,migrate,rollback,snapshot,snapshot-delete,suspending,suspended
machine
memory re=(current=)?\d+
meta
name format=dns-name
nameserver
net[32] sub=vmnet
numa boolean
onboot boolean
ostype enum=other,wxp,w2k,w2k3,w2k8,wvista,win7,win8,win10,win11,l24,l26,solaris
parallel[3]
protection boolean
reboot boolean
rng0
sata[6] sub=drive
scsi[31] sub=drive
scsihw enum=lsi,lsi53c810,virtio-scsi-pci,virtio-scsi-single,megasas,pvscsi
searchdomain
serial[4]
shares integer 0..50000
smbios1 len=0..512
smp integer 1..
sockets integer 1..
spice_enhancements
sshkeys
startdate
startup format=startup
tablet boolean
tags format=tag-list list
tdf boolean
template boolean
tpmstate0 sub=drive
unused[256]
usb[14]
vcpus integer 1..
vga
virtio[16] sub=drive
virtiofs[10]
vmgenid
vmstatestorage format=storage
watchdog`

// netModels are the models of a virtual machine's interface; each is a key with the MAC as value.
const netModels = "e1000 e1000-82540em e1000-82544gc e1000-82545em e1000e i82551 i82557b i82559er ne2k_isa ne2k_pci pcnet rtl8139 virtio vmxnet3"

func buildMachine() {
	net := `
bridge re=[-_.\w\d]+
firewall boolean
link_down boolean
macaddr format=mac
model* enum=` + strings.ReplaceAll(netModels, " ", ",") + `
mtu integer 1..65520
queues integer 0..64
rate number 0..
tag integer 1..4094
trunks re=\d+(;\d+)*
`
	for _, model := range strings.Fields(netModels) {
		net += model + " format=mac\n"
	}
	VMNet = New(net)
	Drive = New(`
aio enum=native,threads,io_uring
backup boolean
cache enum=none,writethrough,writeback,unsafe,directsync
discard enum=ignore,on
efitype enum=2m,4m
format enum=raw,qcow2,qed,vmdk,cow,cloop,subvol
import-from
iops integer
iothread boolean
media enum=cdrom,disk
pre-enrolled-keys boolean
replicate boolean
ro boolean
serial
size format=disk-size
ssd boolean
version
volume!*`)
	propertyStrings["vmnet"], propertyStrings["drive"] = VMNet, Drive
	Machine = New(machineText)
}

// NetOf is a network of a container or of a virtual machine, with its name for the bridge.
func NetOf(text string) (Props, error) {
	p, err := Net.Parse(text, "")
	if err == nil {
		return p, nil
	}
	if p, vm := VMNet.Parse(text, ""); vm == nil {
		return p, nil
	}
	return nil, err
}

// VMNetText is a network of a virtual machine as PVE stores it: model and address first.
// model=virtio,macaddr=MAC becomes virtio=MAC; without an address it has the one given.
func VMNetText(text, mac string) (string, error) {
	p, err := VMNet.Parse(text, "")
	if err != nil {
		return "", err
	}
	model := p["model"]
	if p["macaddr"] != "" {
		mac = p["macaddr"]
	}
	for _, m := range strings.Fields(netModels) {
		if p[m] != "" {
			model, mac = m, p[m]
			delete(p, m)
		}
	}
	delete(p, "model")
	delete(p, "macaddr")
	rest := VMNet.Text(p)
	if rest != "" {
		rest = "," + rest
	}
	return model + "=" + strings.ToUpper(mac) + rest, nil
}
