package world

import (
	"time"
)

// The two USB disks of the fresh world.
const (
	BlueUUID  = "6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11"
	MediaUUID = "51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77"
	rootUUID  = "a7d0c1f2-3b64-4f0e-9c1d-5e8b7a6f4d21"
	dnsMAC    = "BC:24:11:0D:05:65"
)

const freshFstab = `# <file system> <mount point> <type> <options> <dump> <pass>
UUID=` + rootUUID + ` / ext4 errors=remount-ro 0 1
proc /proc proc defaults 0 0
`

// agentPrivileges are the role that the agent needs, and no more.
var agentPrivileges = []string{"Datastore.AllocateSpace", "Datastore.Audit", "Pool.Audit", "SDN.Use", "Sys.Audit",
	"VM.Allocate", "VM.Audit", "VM.Backup", "VM.Config.CPU", "VM.Config.Disk", "VM.Config.Memory", "VM.Config.Network",
	"VM.Config.Options", "VM.PowerMgmt", "VM.Snapshot", "VM.Snapshot.Rollback"}

// dnsConfig is the config of the guest of the fresh world.
const dnsConfig = `arch: amd64
cores: 1
hostname: dns
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=` + dnsMAC + `,ip=dhcp,type=veth
onboot: 1
ostype: debian
rootfs: local-lvm:vm-101-disk-0,size=4G
swap: 512
unprivileged: 1
`

// Fresh is the world that the package comment of pvesim describes.
func Fresh() *World {
	zone, err := time.LoadLocation("Europe/Budapest")
	if err != nil {
		panic("pvesim: " + err.Error()) // time/tzdata is linked in
	}
	clock := time.Date(2026, 11, 22, 18, 2, 9, 0, zone)
	boot := clock.Add(-20 * 24 * time.Hour).Unix()
	made := time.Date(2026, 11, 20, 2, 30, 4, 0, zone).Unix()
	templates := time.Date(2026, 10, 3, 11, 0, 0, 0, zone).Unix()
	dnsData := Imprint("dns, as the fresh world has it")
	w := &World{
		Format: Format, Clock: clock, Version: "9.2.11", Agent: "felhom@pve!agent",
		Access: Access{
			Users: []*User{
				{ID: "root@pam", Password: "pvesim"},
				{ID: "felhom@pve", Comment: "felhom-agent", Tokens: []*Token{
					{ID: "agent", Secret: "6d1f0a52-3c7e-4b8f-9a16-2e5d7c0b4f83"}}},
			},
			Roles: map[string][]string{"FelhomAgent": agentPrivileges},
			ACL: []ACLEntry{
				{Path: "/", Type: "user", ID: "felhom@pve", Role: "FelhomAgent"},
				{Path: "/", Type: "token", ID: "felhom@pve!agent", Role: "FelhomAgent"},
			},
		},
		Storages: []*Storage{
			{ID: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"vztmpl", "iso", "backup", "snippets"}},
			{ID: "local-lvm", Type: "lvmthin", VG: "pve", Pool: "data", Content: []string{"rootdir", "images"}, Size: 500 << 30},
			{ID: "usb-backup", Type: "dir", Path: "/mnt/usb/backup", Content: []string{"backup"}, Mountpoint: "yes", Prune: "keep-all=1"},
		},
		Guests: []*Guest{{VMID: 101, Node: "pve1", Text: dnsConfig, Running: true, PID: 1467, Since: boot + 61, Born: boot, Using: 152}},
	}
	n := &Node{
		Name: "pve1", Zone: "Europe/Budapest", Boot: boot, IP: "192.0.2.11", CPUs: 4, Memory: 16 << 30,
		Bridges: []string{"vmbr0"}, NICs: []string{"eno1"}, Fstab: freshFstab, PID: 41200,
		Disks: []*Disk{
			{UUID: rootUUID, FS: "ext4", Device: "/dev/sda2", Size: 100 << 30, Used: 9 << 30, Model: "Simulated SSD", Serial: "SIMSSD0001", Transport: "ssd",
				Folders: []string{"/mnt", "/root", "/srv", "/var/lib/vz"},
				Dirs: map[string]Store{"/var/lib/vz": {
					"vztmpl/debian-13-standard_13.1-1_amd64.tar.zst":   {Size: 129 << 20, Created: templates, OS: "debian"},
					"vztmpl/alpine-3.22-default_20250617_amd64.tar.xz": {Size: 3 << 20, Created: templates, OS: "alpine"},
				}}},
			{UUID: BlueUUID, Label: "blue", FS: "ext4", Device: "/dev/sdb1", Size: 4e12, Model: "Simulated USB Disk", Serial: "SIMUSB0001", Transport: "usb", Instance: 1,
				Dirs: map[string]Store{"/": {
					"backup/vzdump-lxc-101-2026_11_20-02_30_04.tar.zst": {
						VMID: 101, Size: 387973120, Format: "tar.zst", Created: made, Config: dnsConfig,
						Parts: []Part{{MP: "rootfs", Path: "/", Data: dnsData, Used: 840 << 20}}},
				}}},
			{UUID: MediaUUID, Label: "media", FS: "ext4", Device: "/dev/sdc1", Size: 2e12, Used: 740e9, Model: "Simulated USB Disk", Serial: "SIMUSB0002", Transport: "usb", Instance: 1,
				Folders: []string{"/library", "/photos"}},
		},
		Mounts: []*Mount{{Device: "/dev/sda2", UUID: rootUUID, Target: "/", FS: "ext4", Options: "rw,relatime,errors=remount-ro"}},
		Pools: map[string]Store{"local-lvm": {"vm-101-disk-0": {
			VMID: 101, Size: 4 << 30, Used: 840 << 20, Format: "raw", Created: boot - 86400, Data: dnsData}}},
	}
	w.Nodes = []*Node{n}
	return w
}
