// Package node is one Proxmox VE node at one moment, as it was read, with the questions that can be
// answered from that alone: which archive of a guest is the newest complete one, which task works on a
// guest, which disk is mounted. It is data: it reads nothing itself and plans nothing.
package node
