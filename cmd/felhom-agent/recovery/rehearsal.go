package recovery

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/proxmox"
)

// Rehearsal writes a simulated node to a file on which Proxmox VE has just been installed, with the name, the bridges and the disks of the newest kit in
// a folder of this machine; the archives that are in the folder are on it too, by their names and sizes.
func Rehearsal(world, from string) error {
	if from == "" {
		return errors.New("a simulated node in memory has no disk with a recovery kit: give the folder of one, with --from PATH")
	}
	disk, err := kit.OpenDisk(from)
	if err != nil {
		return err
	}
	defer disk.Close()
	sim := simulated.FreshWorld()
	sim.Reinstall()
	sim.Strip()
	if kits, _ := kit.Find(disk); len(kits) > 0 {
		want, err := load(kits[0])
		if err != nil {
			return err
		}
		now := time.Now()
		if after := kits[0].Time.Add(time.Hour); now.Before(after) {
			now = after
		}
		if ahead := now.Sub(sim.Now()); ahead > 0 { // archives of a time to come count for nothing
			sim.Advance(ahead)
		}
		sim.Rename(kits[0].Node, kits[0].Bridges)
		for _, m := range want.Mounts {
			for i, d := range m.UUIDs {
				if i == 0 { // the others take turns with it
					sim.AddDisk(d.UUID, d.Label)
				}
				if m.Storage != "" && i == 0 {
					err = errors.Join(err, addArchives(sim, disk, d.UUID))
				}
			}
		}
		if err != nil {
			return err
		}
	}
	text, err := sim.Save()
	if err != nil {
		return err
	}
	return os.WriteFile(world, text, 0o600)
}

// An archiver is a node on which archives can be put.
type archiver interface {
	AddArchive(uuid, file, notes string, vmid int, size, created int64)
	Now() time.Time
}

// addArchives puts the archives of a real disk on a simulated one.
func addArchives(sim archiver, disk kit.Disk, uuid string) error {
	entries, err := disk.Entries("dump")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		a, ok := proxmox.ParseArchive("disk:backup/" + e.Name)
		if !e.Regular || !ok || a.Type != "lxc" {
			continue
		}
		size, changed, err := disk.Stat("dump/" + e.Name)
		if err != nil {
			return err
		}
		notes, _ := disk.Read("dump/"+e.Name+".notes", 64<<10) // none: not every archive has any
		sim.AddArchive(uuid, e.Name, string(notes), int(a.VMID), size, changed.Unix())
	}
	return err
}
