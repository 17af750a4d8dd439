package pvesim

import (
	"fmt"
	"strings"
	"time"
)

// What PVE's API shows of the snapshots of a Proxmox Backup Server, and what a backup to it
// does. PVE: Storage::PBSPlugin, VZDump.

const snapshotTime = "2006-01-02T15:04:05Z"

// listSnapshot writes the entry of a snapshot. Its size is that of all files in it, also of
// those that the server writes itself: notes and verifications let it grow.
func (c *call) listSnapshot(d *doc, st *storage, name string, v *volume) {
	m := snapshotRE.FindStringSubmatch(name)
	subtype := map[string]string{"ct": "lxc", "vm": "qemu"}[m[1]]
	at, _ := time.Parse(snapshotTime, m[3])
	d.open().str("volid", st.ID+":"+name).str("content", "backup").num("size", v.listedSize())
	d.num("ctime", at.Unix()).str("format", "pbs-"+m[1]).str("subtype", subtype).num("vmid", int64(atoi(m[2])))
	if v.Notes != "" {
		d.str("notes", firstLine(v.Notes))
	}
	if v.Protected {
		d.num("protected", 1)
	}
	if v.Encrypted != "" {
		d.str("encrypted", v.Encrypted)
	}
	if v.Verified != "" {
		d.key("verification").open().str("state", v.Verified).
			str("upid", fmt.Sprintf("UPID:pbs:00000F1D:00012584:00000001:%08X:verify:%s:root@pam:", v.VerifiedAt, st.Datastore)).close()
	}
	d.close()
}

// listedSize is the size as a backup server lists it.
func (v *volume) listedSize() int64 {
	if v.Unfinished {
		return 1
	}
	size := v.Size + int64(len(v.Notes))
	if v.Verified != "" {
		size += 120
	}
	return size
}

// beginSnapshot is the begin of an upload: from now on the snapshot is listed, as unfinished.
func (s *Sim) beginSnapshot(t *task, p *place, g *guest) error {
	name := "backup/" + t.Args["base"]
	if p.st.KeyLost {
		return fail("encryption configured ('%s') but no encryption key file found!", p.st.Key)
	}
	if err := p.refuses(name, writes); err != nil {
		t.log("INFO: Error: %s", strings.TrimPrefix(err.Error(), "Error: "))
		return s.clientFailed(t)
	}
	t.log("INFO: creating Proxmox Backup Server archive '%s'", t.Args["base"])
	p.put(name, &volume{VMID: g.VMID, Size: 1, Created: s.now.Unix(), Unfinished: true})
	return nil
}

// clientFailed is the failure of the program that uploads.
func (s *Sim) clientFailed(t *task) error {
	return fmt.Errorf("command 'lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- /usr/bin/proxmox-backup-client backup '--crypt-mode=none' pct.conf:/var/tmp/vzdumptmp%d_%s/etc/vzdump/pct.conf root.pxar:/mnt/vzsnap0 --include-dev /mnt/vzsnap0/. --skip-lost-and-found --backup-type ct --backup-id %s' failed: exit code 255",
		t.PID, t.Args["vmid"], t.Args["vmid"])
}

// endSnapshot is the end of an upload.
func (s *Sim) endSnapshot(t *task, p *place, v *volume) error {
	name := "backup/" + t.Args["base"]
	if err := p.refuses(name, writes); err != nil {
		p.drop(name)
		t.log("INFO: Error: %s", strings.TrimPrefix(err.Error(), "Error: "))
		return s.clientFailed(t)
	}
	if v.Size > p.avail() {
		p.drop(name)
		t.log("INFO: Error: inserting chunk on store '%s' failed - mkstemp failed: ENOSPC: No space left on device", p.st.Datastore)
		return s.clientFailed(t)
	}
	v.Format, v.Encrypted, v.Written = "", p.st.Key, nil
	p.put(name, v)
	return nil
}

// cutSnapshots removes what a backup that fails has begun. One that is killed leaves it.
func (s *Sim) cutSnapshots(t *task) {
	st := s.storages[t.Args["storage"]]
	if st == nil || st.Type != "pbs" {
		return
	}
	if p, err := s.place(t.node, st); err == nil {
		if v := p.items["backup/"+t.Args["base"]]; v != nil && v.Unfinished {
			p.drop("backup/" + t.Args["base"])
		}
	}
}

// of is the guest of an archive, "" where its name does not say.
func (p *place) of(name string) string {
	if m := snapshotRE.FindStringSubmatch(name); m != nil && p.datastore != nil {
		return m[2]
	}
	if m := dumpRE.FindStringSubmatch(name); m != nil {
		return m[2]
	}
	return ""
}

// printDatastores prints all snapshots, whoever sees them.
func (s *Sim) printDatastores(b *strings.Builder) {
	for _, d := range s.w.Datastores {
		fmt.Fprintf(b, "datastore %s on %s\n", d.Name, d.Server)
		for _, space := range sortedKeys(d.Spaces) {
			for _, name := range sortedKeys(d.Spaces[space]) {
				fmt.Fprintf(b, "  %s/%s:%s: owner=%s %s\n", d.Name, space, name, d.owner(space, name), d.Spaces[space][name].print())
			}
		}
	}
}

// setServer sets what a storage of type pbs knows of its server.
func (st *storage) setServer(key, value string) {
	switch key {
	case "server":
		st.Server = value
	case "datastore":
		st.Datastore = value
	case "namespace":
		st.Namespace = value
	case "username":
		st.Username = value
	case "fingerprint":
		st.Fingerprint = value
	case "encryption-key":
		st.Key = value
	}
}

// serverConfig writes what GET /storage tells of it; the key is shown as its fingerprint.
func (d *doc) serverConfig(st *storage) {
	if st.Type != "pbs" {
		return
	}
	d.str("server", st.Server).str("datastore", st.Datastore).str("username", st.user())
	for _, kv := range [][2]string{{"namespace", st.Namespace}, {"fingerprint", st.Fingerprint}, {"encryption-key", st.Key}} {
		if kv[1] != "" {
			d.str(kv[0], kv[1])
		}
	}
}
