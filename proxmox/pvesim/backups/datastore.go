package backups

import (
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// beginSnapshot is the begin of an upload: from now on the snapshot is listed, as unfinished.
// One that the server refuses is not listed, and fails at its end: the guest is prepared before.
func beginSnapshot(cl *cluster.Cluster, t *world.Task, p *places.Place, g *world.Guest) error {
	name := "backup/" + t.Args["base"]
	if p.Storage.KeyLost {
		return refusal.Fail("encryption configured ('%s') but no encryption key file found!", p.Storage.Key)
	}
	if err := p.Refuses(name, world.Writes); err != nil {
		t.Logf("INFO: Error: %s", strings.TrimPrefix(err.Error(), "Error: "))
		return nil
	}
	t.Logf("INFO: creating Proxmox Backup Server archive '%s'", t.Args["base"])
	p.Put(name, &world.Volume{VMID: g.VMID, Size: 1, Created: cl.Now.Unix(), Unfinished: true})
	return nil
}

// clientFailed is the failure of the program that uploads.
func clientFailed(t *world.Task) error {
	return fmt.Errorf("command 'lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- /usr/bin/proxmox-backup-client backup '--crypt-mode=none' pct.conf:/var/tmp/vzdumptmp%d_%s/etc/vzdump/pct.conf root.pxar:/mnt/vzsnap0 --include-dev /mnt/vzsnap0/. --skip-lost-and-found --backup-type ct --backup-id %s' failed: exit code 255",
		t.PID, t.Args["vmid"], t.Args["vmid"])
}

// endSnapshot is the end of an upload.
func endSnapshot(t *world.Task, p *places.Place, v *world.Volume) error {
	name := "backup/" + t.Args["base"]
	if p.Items[name] == nil {
		return clientFailed(t)
	}
	if err := p.Refuses(name, world.Writes); err != nil {
		p.Drop(name)
		t.Logf("INFO: Error: %s", strings.TrimPrefix(err.Error(), "Error: "))
		return clientFailed(t)
	}
	if v.Size > p.Avail() {
		p.Drop(name)
		t.Logf("INFO: Error: inserting chunk on store '%s' failed - mkstemp failed: ENOSPC: No space left on device", p.Storage.Datastore)
		return clientFailed(t)
	}
	v.Format, v.Encrypted, v.Written = "", p.Storage.Key, nil
	p.Put(name, v)
	return nil
}

// cutSnapshots removes what a backup that fails has begun. One that is killed leaves it.
func cutSnapshots(cl *cluster.Cluster, t *world.Task) {
	st := cl.Storages[t.Args["storage"]]
	if st == nil || st.Type != "pbs" {
		return
	}
	if p, err := places.Of(cl, t.Node, st); err == nil {
		if v := p.Items["backup/"+t.Args["base"]]; v != nil && v.Unfinished {
			p.Drop("backup/" + t.Args["base"])
		}
	}
}
