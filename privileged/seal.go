package privileged

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	sealTime    = 2 * time.Minute // for a whole seal, or until the deadline of who asked, where that comes earlier
	unmountTime = time.Minute     // for letting the container's disks go again, after that
)

// sealGolden mounts the stopped container's disks, seals its root file system and always unmounts them again, also when its time is up. While they
// are mounted PVE keeps the container locked (lock: mounted), so nobody starts it.
func (s *scene) sealGolden() (err error) {
	vmid := s.args["vmid"]
	c, err := s.ours()
	if err != nil {
		return err
	}
	if err := s.ownFolders(c); err != nil {
		return err
	}
	if lock := c.current["lock"]; lock != "" {
		return s.wait("vmid", "the container is locked ("+lock+")", "Wait for what holds it; what a crash left behind is cleared with: pct unlock "+vmid)
	}
	out, err := s.run(pct, "status", vmid)
	if err != nil {
		return s.late(err)
	}
	if status := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(out)), "status:")); status != "stopped" {
		return s.wait("vmid", "the container is "+status, "As root: pct stop "+vmid)
	}
	if _, err := s.run(pct, "mount", vmid); err != nil {
		if s.ctx.Err() != nil { // it was ended in the middle of its work
			err = errors.Join(s.late(err), s.unmountGuest(vmid))
		}
		return err
	}
	done, err := s.host.SealRootfs(s.ctx, "/var/lib/lxc/"+vmid+"/rootfs")
	s.result.Notes = append(s.result.Notes, done...)
	if err != nil {
		err = s.late(s.unexpected(err))
	}
	if e := s.unmountGuest(vmid); err == nil {
		err = e
	}
	return err
}

// unmountGuest lets a container's disks go. It has a time of its own: what is mounted must be let go also when the act has none left.
func (s *scene) unmountGuest(vmid string) error {
	was := s.ctx
	defer func() { s.ctx = was }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(was), unmountTime)
	defer cancel()
	s.ctx = ctx
	_, err := s.run(pct, "unmount", vmid)
	if err != nil {
		s.note("the disks of %s are still mounted; fix: pct unmount %s", vmid, vmid)
	}
	return err
}

// late says of what failed when the time was up that it was this.
func (s *scene) late(err error) error {
	if s.ctx.Err() == nil {
		return s.failed(err, "cannot seal the root file system")
	}
	return &FailedError{Op: s.op, Reason: fmt.Sprintf("sealing %s took too long and was ended; its disks were unmounted again", s.args["vmid"])}
}

// unexpected makes a refusal of what does not belong into the root file system.
func (s *scene) unexpected(err error) error {
	var odd *UnexpectedError
	if !errors.As(err, &odd) {
		return err
	}
	vmid := s.args["vmid"]
	at := "/var/lib/lxc/" + vmid + "/rootfs/" + odd.Path
	return s.refuse("vmid", "in the container, "+odd.Error(),
		"As root: pct mount "+vmid+"; mv "+quote(at)+" "+quote(at+".odd")+"; pct unmount "+vmid)
}

// ownFolders refuses a container that has a folder of the host where the seal would write: `pct mount` mounts that, too.
func (s *scene) ownFolders(c guestConfig) error {
	for _, key := range sortedKeys(c.current) {
		if !strings.HasPrefix(key, "mp") || !isBind(source(c.current[key], "volume")) {
			continue
		}
		at := source(c.current[key], "mp")
		for _, dir := range sealedFolders {
			if within("/"+dir, at) {
				return s.refuse("vmid", fmt.Sprintf("%s binds a folder of the host at %s, where the seal removes files", key, at), "As root: pct set "+s.args["vmid"]+" --delete "+key)
			}
		}
	}
	return nil
}
