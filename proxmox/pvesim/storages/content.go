package storages

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// volumeOf is the volume of the path, as full ID or the part after the colon.
func volumeOf(c *request.Call) (volid, name string, st *world.Storage, err error) {
	volid = c.Param("volume")
	id := c.Param("storage")
	if !strings.HasPrefix(volid, id+":") {
		if head, _, ok := strings.Cut(volid, ":"); ok && schema.StorageRE.MatchString(head) && !strings.Contains(head, "/") {
			return "", "", nil, refusal.BadParam("volume", "storage ID mismatch ("+head+" != "+id+")\n")
		}
		volid = id + ":" + volid
	}
	name = volid[len(id)+1:]
	if st = c.Cluster.Storages[id]; st == nil {
		return "", "", nil, refusal.Fail("storage '%s' does not exist", id)
	}
	return volid, name, st, nil
}

// GetVolume answers GET /nodes/{node}/storage/{storage}/content/{volume+}.
func GetVolume(c *request.Call) error {
	volid, name, st, err := volumeOf(c)
	if err != nil {
		return err
	}
	v, err := accessible(c, volid, name, st)
	if err != nil {
		return err
	}
	kind, _, _ := st.KindOf(name)
	used := (v.Size + 4095) / 4096 * 4096
	d := c.Data().Open().Str("path", st.PathOf(name))
	if kind == "images" {
		d.Num("size", v.Size).Num("used", v.Used).Str("format", v.Format).Close()
		return nil
	}
	size := v.Size
	if !strings.HasSuffix(name, ".tar") {
		size = used
	}
	d.Num("size", size).Num("used", used).Str("format", "raw")
	if kind == "backup" {
		d.Str("notes", v.Notes).Flag("protected", v.Protected)
	}
	d.Close()
	return nil
}

// accessible is a volume that exists and that the caller may use.
func accessible(c *request.Call, volid, name string, st *world.Storage) (*world.Volume, error) {
	kind, _, err := st.KindOf(name)
	if err != nil {
		return nil, err
	}
	if err := VolumeAccess(c.Cluster, c.Who, 0, volid, kind); err != nil {
		return nil, err
	}
	v, _, err := places.Find(c.Cluster, c.Node, volid)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, refusal.Fail("volume_size_info on '%s' failed - no format", volid)
	}
	return v, nil
}

// SetVolume sets the notes and the protection of an archive.
func SetVolume(c *request.Call) error {
	volid, name, st, err := volumeOf(c)
	if err != nil {
		return err
	}
	kind, owner, err := st.KindOf(name)
	if err != nil {
		return err
	}
	if err := VolumeAccess(c.Cluster, c.Who, 0, volid, kind); err != nil {
		return err
	}
	switch {
	case kind == "backup":
	case c.Has("notes") && st.IsDir():
		return refusal.Fail("only backups can have notes")
	case c.Has("notes"):
		return refusal.Fail("attribute 'notes' is not supported for storage type '%s'", st.Type)
	case c.Has("protected") && st.IsDir():
		return refusal.Fail("only backups support attribute 'protected'")
	case c.Has("protected"):
		return refusal.Fail("attribute 'protected' is not supported for storage type '%s'", st.Type)
	}
	v, p, err := places.Find(c.Cluster, c.Node, volid)
	if err != nil {
		return err
	}
	if p.Datastore != nil && v == nil {
		return p.Missing(volid)
	}
	if err := p.Refuses(name, world.Writes); err != nil {
		return refusal.Fail("%s", err.Error())
	}
	if v == nil { // a file of notes, beside an archive that is not there
		return nil
	}
	if kind == "backup" && c.Flag("protected") && !v.Protected {
		if err := protectsTooMany(c, p, owner); err != nil {
			return err
		}
	}
	if notes, ok := c.Params["notes"]; ok {
		cl := c.Cluster
		if v.Noted == nil {
			v.OldNotes = v.Notes
		}
		at := cl.Now
		if v.Notes, v.Noted = notes, &at; p.Datastore != nil {
			v.Noted = nil // the server has it
		}
	}
	if c.Has("protected") {
		v.Protected = c.Flag("protected")
	}
	return nil
}

// protectsTooMany is the limit of protected archives per guest, for who may not manage the storage.
func protectsTooMany(c *request.Call, p *places.Place, owner int) error {
	st := p.Storage
	if c.Cluster.Rights.Can(c.Who, rights.OnStorage(st.ID), "Datastore.Allocate") {
		return nil
	}
	limit := 5
	if st.MaxProtected != nil {
		limit = *st.MaxProtected
	}
	count := 0
	for other, o := range p.Items {
		if _, id, _ := st.KindOf(other); id == owner && o.Protected {
			count++
		}
	}
	if limit >= 0 && count >= limit {
		return refusal.Fail("The number of protected backups per guest is limited to %d on storage '%s'", limit, st.ID)
	}
	return nil
}

// DeleteVolume answers DELETE /nodes/{node}/storage/{storage}/content/{volume+}.
func DeleteVolume(c *request.Call) error {
	cl := c.Cluster
	volid, name, st, err := volumeOf(c)
	if err != nil {
		return err
	}
	kind, owner, err := st.KindOf(name)
	if err != nil {
		return err
	}
	if kind == "backup" && owner != 0 {
		if err := cl.Rights.Need(c.Who, rights.OnStorage(st.ID), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		if err := cl.Rights.Need(c.Who, rights.OnVM(owner), "VM.Backup"); err != nil {
			return err
		}
	} else if err := cl.Rights.Need(c.Who, rights.OnStorage(st.ID), "Datastore.Allocate"); err != nil {
		return err
	}
	if _, err := places.StorageOn(cl, c.Node, st.ID); err != nil {
		return err
	}
	id := st.ID
	if owner != 0 {
		id = strconv.Itoa(owner) + "@" + st.ID
	}
	t := cl.Start(c.Node, "imgdel", id, c.Who.ID, 0, map[string]string{"volid": volid})
	if v := c.Param("delay"); v != "" {
		if err := cl.SleepUntil(c.Ctx, cl.Now.Add(time.Duration(notation.Atoi(v))*time.Second), func() bool { return t.End != 0 }); err != nil {
			return err
		}
		if t.End != 0 {
			if t.Status != "OK" {
				return refusal.Fail("%s", t.Status)
			}
			return nil
		}
	}
	return c.Started(t)
}

// RunDelete runs imgdel.
func RunDelete(cl *cluster.Cluster, t *world.Task) error {
	if t.Phase == 0 {
		volid := t.Args["volid"]
		v, p, err := places.Find(cl, t.Node, volid)
		if err != nil {
			return err
		}
		if v != nil && v.Protected {
			_, name, _ := strings.Cut(volid, ":")
			return fmt.Errorf("cannot remove protected volume '%s' on '%s'", name, p.Storage.ID)
		}
		return cl.Then(t, 1)
	}
	lines, err := places.Free(cl, t.Node, t.Args["volid"])
	if err != nil {
		return err
	}
	t.Log = append(t.Log, lines...)
	t.Logf("Removed volume '%s'", t.Args["volid"])
	return cluster.ErrDone
}
