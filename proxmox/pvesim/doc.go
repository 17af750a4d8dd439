// Package pvesim is a Proxmox VE node in memory: its API and its host.
//
// A real client cannot tell it apart. It enforces what breaks programs that manage
// containers: options for root@pam only, config locks and file locks, what a restore keeps
// and loses, warnings, lists that leave out in silence what the caller may not see. It is
// the test bed of felhom-agent, the place where users rehearse (--simulate), and, served by
// cmd/pvesim, a node for anybody's client. It models containers (LXC), storages, backups,
// snapshots, tasks, users and tokens, several nodes, and of the host the disks, mounts and
// fstab, with the programs that one runs there as root.
//
// # Use
//
// A [Sim] is an [http.RoundTripper] and an [http.Handler]; [Sim.Host] is the machine of a
// node, [Sim.Do] a person's click, [Sim.Shell] a person's command. [Sim.String] prints the
// state for comparisons and [Sim.Data] what the guests' volumes hold.
//
// # Time
//
// The clock is simulated: it begins at the time of the world and advances with the real one
// (which is virtual in a testing/synctest bubble), faster by [Sim.SetSpeed] while a task
// runs. There are no goroutines and no timers: whatever is due has happened, in order and at
// its own time, when the next method is called. The clock stands still between processes.
//
// # Data
//
// Every volume has a fingerprint instead of data. A template gives one; WriteData and the
// first start change it; backup, restore, snapshot, rollback, clone and move carry it along or
// lose it as PVE does. A * at its end means that the volume was never started since it came
// from a template or was sealed.
//
// # The fresh world
//
// [New] is one node, pve1, PVE 9.2.11, in Europe/Budapest, on Sunday 22 November 2026 at
// 18:02:09. It has
//
//   - the storages local (directory /var/lib/vz: templates, ISOs, backups, snippets, no
//     containers), local-lvm (lvmthin, 500 GiB) and usb-backup (directory /mnt/usb/backup,
//     backups, is_mountpoint, keep-all=1; inactive until a disk is mounted there);
//   - the templates local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst and
//     local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz, and the bridge vmbr0;
//   - two USB disks, plugged in and not mounted: "blue" (6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11,
//     ext4, /dev/sdb1, 4 TB) and "media" (51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77, ext4, /dev/sdc1,
//     with the folders library and photos);
//   - the container 101, "dns", running, with one backup of 20 November on the disk blue;
//   - the user felhom@pve with the role FelhomAgent (16 privileges) on /, its privilege-separated
//     token felhom@pve!agent with the same role, and root@pam (password: pvesim).
//
// # World files
//
// [Load] and [Sim.Save] read and write a world as YAML. The first line is `format: 1`. What
// follows is clock (RFC 3339), version, agent (the token that [Sim.TokenID] names), access
// (users with tokens, roles, acl), storages, nodes (name, zone, boot, bridges, disks with what
// storages keep on them, mounts, fstab, volumes of block storages, tasks), guests (vmid, node,
// config as the text of PVE's file, running), pools, faults (see [Fault]) and events. Save the
// fresh world to see one. Tasks that run are saved too and go on after Load.
package pvesim
