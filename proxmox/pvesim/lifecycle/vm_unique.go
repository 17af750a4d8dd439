package lifecycle

import (
	"regexp"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
)

var hardwareAddress = regexp.MustCompile(`=[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}`)

// makeUnique gives what was restored other hardware addresses and another SMBIOS UUID, but for the
// interfaces that the request named. PVE: qmrestore with unique.
func makeUnique(cl *cluster.Cluster, conf *lxcconf.Config, asked map[string]string) {
	conf.Section.Set("smbios1", "uuid="+places.UUID(cl))
	for _, key := range conf.Numbered("net") {
		if asked[key] == "" {
			conf.Section.Set(key, hardwareAddress.ReplaceAllString(conf.Vals[key], "="+guests.MAC(cl)))
		}
	}
}
