// Package datacenter answers the requests about the cluster and its nodes as a whole: lists,
// resources, tasks, pools, hardware, charts.
package datacenter

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"

	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
)

// PackageVersions lists the few packages that matter to a client.
func PackageVersions(c *request.Call) error {
	d := c.Data().List()
	for _, p := range [][2]string{{"proxmox-ve", "9.2.0"}, {"pve-manager", c.Cluster.World.Version}, {"pve-container", "6.1.10"}} {
		d.Open().Str("Package", p[0]).Str("Title", p[0]).Str("Version", p[1]).Str("OldVersion", p[1]).Str("CurrentState", "Installed")
		d.Str("Arch", "all").Str("Origin", "Proxmox").Str("Priority", "optional").Str("Section", "admin").Str("Description", p[0])
		if p[0] == "proxmox-ve" {
			d.Str("RunningKernel", c.Node.KernelRelease())
		}
		d.Close()
	}
	d.End()
	return nil
}

// HostsFile is the node's /etc/hosts.
func HostsFile(c *request.Call) error {
	text := cmp.Or(c.Node.Files["/etc/hosts"], "127.0.0.1 localhost\n")
	sum := sha1.Sum([]byte(text))
	c.Data().Open().Str("data", text).Str("digest", hex.EncodeToString(sum[:])).Close()
	return nil
}

// FirewallLog answers GET /nodes/{node}/lxc/{vmid}/firewall/log.
func FirewallLog(c *request.Call) error {
	c.Data().List().Open().Num("n", 1).Str("t", "no content").Close().End()
	c.Total = 1
	return nil
}
