package recovery

import (
	"cmp"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// mostTemplate is how large a container template may be.
const mostTemplate = 4 << 30

// keepTemplates copies the templates of golden images beside the kits, each once.
func (k *Keeper) keepTemplates(ctx context.Context, seen *Seen, places []place) {
	volumes := map[string]bool{}
	for _, g := range seen.Want.Golden {
		volumes[g.Template] = true
	}
	stored, err := k.Node.Store.Load()
	if err != nil || len(volumes) == 0 {
		return
	}
	all := slices.Sorted(maps.Keys(volumes))
	for _, p := range places {
		now, known := stored.Kits[p.key()]
		if !known || now.Templates == strings.Join(all, ",") || time.Since(k.copied[p.key()]) < copyPace {
			continue
		}
		if k.copied == nil {
			k.copied = map[string]time.Time{}
		}
		k.copied[p.key()] = time.Now()
		var there []string
		for _, volume := range all {
			if err := k.keepTemplate(ctx, p, volume); err != nil {
				k.Node.Log.Warn("a template could not be copied beside the recovery kit", zap.String("template", volume), zap.String("storage", p.storage), zap.Error(err))
			} else {
				there = append(there, volume)
			}
		}
		if now.Templates = strings.Join(there, ","); len(there) > 0 {
			k.note(p, now)
		}
	}
}

func (k *Keeper) keepTemplate(ctx context.Context, p place, volume string) error {
	ctx, cancel := context.WithTimeout(ctx, copyLimit)
	defer cancel()
	t := kit.Template{Volume: volume}
	op := privileged.KeepTemplate(k.Node.Source.Node, privileged.TemplateSpec{Name: p.name, Path: p.path, Mounted: p.mounted, Template: volume, SHA512: k.sums[t.Name()]})
	result, err := k.Node.Runner.Do(ctx, op, nil)
	if err == nil && result.StillRunning != nil {
		err = errors.New("the disk does not answer")
	}
	return err
}

// templateSteps download the templates that are missing; where that fails, the copy beside the kit is taken.
func templateSteps(k *kit.Kit, want *spec.Desired, have *State) []Step {
	var steps []Step
	listed := true
	for _, t := range k.Templates {
		id, err := proxmox.ParseVolumeID(t.Volume)
		if err != nil || have.Templates[t.Volume] {
			continue
		}
		name := t.Name()
		if have.Appliances[name] == "" && listed {
			listed = false // once
			steps = append(steps, Step{What: "template list", Text: "pveam update: " + name + " is not in the list of this host", Program: pveam, Args: []string{"update"}, May: true})
		}
		t.SHA512 = cmp.Or(have.Appliances[name], t.SHA512) // what Proxmox says to this host, before what stands on the disk
		var waits []string
		for _, golden := range slices.Sorted(maps.Keys(want.Golden)) {
			if want.Golden[golden].Template == t.Volume {
				waits = append(waits, "golden/"+golden)
			}
		}
		steps = append(steps, Step{What: "template", Text: "download " + name + " to " + id.Storage, Program: pveam, Args: []string{"download", id.Storage, name}, May: true,
			Template: &t, Waits: strings.Join(waits, ", ")})
	}
	return steps
}

// fromKit copies a template that could not be downloaded from the disk with the kit, and says so.
func (c *Course) fromKit(ctx context.Context, s *Step, download error) error {
	put := func(dir string) error {
		return c.Host.PutTemplate(ctx, dir, c.kit.kit.TemplatePath(*s.Template), s.Template.Volume, s.Template.SHA512)
	}
	err := c.onDisk(ctx, put)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("the kit has no copy of it")
	}
	if err != nil {
		return fmt.Errorf("%w; %w. Until the template is there these wait: %s", download, err, cmp.Or(s.Waits, "none"))
	}
	s.Text = "copied " + s.Template.Name() + " from the kit, for it could not be downloaded"
	if s.Template.SHA512 == "" {
		s.Text += "; its SHA-512 is not known, so it was not checked"
	}
	return nil
}

// onDisk uses the folder with the kit, where it is mounted now.
func (c *Course) onDisk(ctx context.Context, use func(dir string) error) error {
	if c.kit.uuid == "" {
		return use(c.kit.where)
	}
	node, err := c.Host.NodeName()
	if err != nil {
		return err
	}
	disks, err := privileged.Disks(ctx, c.Host.Root(), node)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(disks, func(d privileged.Disk) bool { return d.UUID == c.kit.uuid })
	switch {
	case i < 0:
		return errors.New("the disk with the kit is not connected any more")
	case len(disks[i].Mounted) > 0 && disks[i].Mounted[0] != peek:
		return use(disks[i].Mounted[0])
	}
	return peeked(ctx, c.Host, disks[i].Device, len(disks[i].Mounted) > 0, func() error { return use(peek) })
}

// PutTemplate implements [Host]. A kill leaves at most a file that begins with a dot, which the next copy replaces.
func (m *Machine) PutTemplate(ctx context.Context, dir, file, volume, sum string) error {
	out, exit, err := m.Run(ctx, pvesm, "path", volume)
	if err != nil || exit != 0 {
		return errors.Join(fmt.Errorf("pvesm path %s: %s", volume, lastLine(out)), err)
	}
	to := strings.TrimSpace(string(out))
	if !filepath.IsAbs(to) || filepath.Base(to) != filepath.Base(file) {
		return fmt.Errorf("pvesm path %s does not say where it belongs", volume)
	}
	disk, err := kit.OpenDisk(dir)
	if err != nil {
		return err
	}
	defer disk.Close()
	return copyTemplate(disk, file, to, sum)
}

// copyTemplate copies a regular file of a disk to a place where nothing is yet, all of it or nothing.
func copyTemplate(disk kit.Disk, file, to, sum string) error {
	from, err := disk.Open(file)
	if err != nil {
		return err
	}
	defer from.Close()
	if exists(to) {
		return fmt.Errorf("%s exists already, and is left as it is", to)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	beside := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+".recovery")
	if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	have, err := copyHashed(f, from)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = rightSum(file, have, sum)
	}
	if err == nil {
		err = os.Rename(beside, to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	return syncDir(filepath.Dir(to))
}

// copyHashed copies a template, and is its SHA-512.
func copyHashed(to io.Writer, from io.Reader) (string, error) {
	hash := sha512.New()
	n, err := io.Copy(io.MultiWriter(to, hash), io.LimitReader(from, mostTemplate+1))
	if err == nil && n > mostTemplate {
		err = fmt.Errorf("it is larger than %d MiB", mostTemplate>>20)
	}
	return hex.EncodeToString(hash.Sum(nil)), err
}

func rightSum(file, have, want string) error {
	if want == "" || have == want {
		return nil
	}
	return fmt.Errorf("the copy in the kit (%s) is refused: its SHA-512 begins with %s and not with %s, so it was altered or cut off", file, have[:12], want[:min(12, len(want))])
}
