package storages

import (
	"fmt"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// listSnapshot writes the entry of a snapshot. Its size is that of all files in it, also of
// those that the server writes itself: notes and verifications let it grow.
func listSnapshot(c *request.Call, d *jsontext.Doc, st *world.Storage, name string, v *world.Volume) {
	m := world.SnapshotRE.FindStringSubmatch(name)
	subtype := map[string]string{"ct": "lxc", "vm": "qemu"}[m[1]]
	at, _ := time.Parse(world.SnapshotTime, m[3])
	d.Open().Str("volid", st.ID+":"+name).Str("content", "backup").Num("size", v.ListedSize())
	d.Num("ctime", at.Unix()).Str("format", "pbs-"+m[1]).Str("subtype", subtype).Num("vmid", int64(notation.Atoi(m[2])))
	if v.Notes != "" {
		d.Str("notes", firstLine(v.Notes))
	}
	if v.Protected {
		d.Num("protected", 1)
	}
	if v.Encrypted != "" {
		d.Str("encrypted", v.Encrypted)
	}
	if v.Verified != "" {
		d.Key("verification").Open().Str("state", v.Verified).
			Str("upid", fmt.Sprintf("UPID:pbs:00000F1D:00012584:00000001:%08X:verify:%s:root@pam:", v.VerifiedAt, st.Datastore)).Close()
	}
	d.Close()
}

// serverConfig writes what GET /storage tells of it; the key is shown as its fingerprint.
func serverConfig(d *jsontext.Doc, st *world.Storage) {
	if st.Type != "pbs" {
		return
	}
	d.Str("server", st.Server).Str("datastore", st.Datastore).Str("username", st.User())
	for _, kv := range [][2]string{{"namespace", st.Namespace}, {"fingerprint", st.Fingerprint}, {"encryption-key", st.Key}} {
		if kv[1] != "" {
			d.Str(kv[0], kv[1])
		}
	}
}
