package node

import (
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
)

func HoldsGuestData(s proxmox.Storage) bool {
	return slices.ContainsFunc([]string{"backup", "rootdir", "images"}, func(c string) bool { return slices.Contains(s.Content, c) })
}
