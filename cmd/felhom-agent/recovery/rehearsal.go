package recovery

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// Rehearsal writes a simulated node to a file on which Proxmox VE has just been installed, with the name, the bridges and the disks of the newest kit in
// a folder of this machine; the archives that are in the folder are on it too, by their names, sizes and notes, with what [inside] takes to be in them.
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
					err = errors.Join(err, addArchives(sim, disk, d.UUID, want))
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
	AddArchive(uuid, file, notes, config string, vmid int, size, created int64)
	Now() time.Time
	Advance(d time.Duration)
}

// farthest is how far the local time of one node can be ahead of that of another.
const farthest = 26 * time.Hour

// addArchives puts the archives of a real disk on a simulated one. Their names have the local time of the node that made them, which may be east of the
// simulated one; its clock then goes on to the newest of them.
func addArchives(sim archiver, disk kit.Disk, uuid string, want *spec.Desired) error {
	entries, err := disk.Entries("dump")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		a, ok := proxmox.ParseArchive("disk:backup/" + e.Name)
		if !e.Regular || !ok {
			continue
		}
		size, changed, err := disk.Stat("dump/" + e.Name)
		if err != nil {
			return err
		}
		notes, _ := disk.Read("dump/"+e.Name+".notes", 64<<10) // none: not every archive has any
		log, _ := disk.Read(strings.TrimSuffix("dump/"+e.Name, "."+a.Format)+".log", 4<<20)
		now := sim.Now()
		made, bad := time.ParseInLocation("2006_01_02-15_04_05", a.Stamp, now.Location())
		if ahead := made.Sub(now); bad == nil && ahead > 0 && ahead < farthest {
			sim.Advance(ahead + time.Minute)
		}
		sim.AddArchive(uuid, e.Name, string(notes), inside(a, string(notes), string(log), want), int(a.VMID), size, changed.Unix())
	}
	return err
}
