package guests

import (
	"crypto/sha1"
	"fmt"
	"strconv"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
)

// MAC is a hardware address as PVE draws one, but by the world's count.
func MAC(cl *cluster.Cluster) string {
	sum := sha1.Sum([]byte("mac " + strconv.Itoa(cl.World.NextSerial())))
	return fmt.Sprintf("BC:24:11:%02X:%02X:%02X", sum[0], sum[1], sum[2])
}
