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
func sealGolden(j *job) (err error) {
	vmid := j.args["vmid"]
	c, err := j.managed()
	if err != nil {
		return err
	}
	if err := ownFolders(j.admitted, c); err != nil {
		return err
	}
	if lock := c.current["lock"]; lock != "" {
		return j.wait("vmid", "the container is locked ("+lock+")", "Wait for what holds it; what a crash left behind is cleared with: pct unlock "+vmid)
	}
	out, err := j.run(pct, "status", vmid)
	if err != nil {
		return j.late(err)
	}
	if status := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(out)), "status:")); status != "stopped" {
		return j.wait("vmid", "the container is "+status, "As root: pct stop "+vmid)
	}
	if _, err := j.run(pct, "mount", vmid); err != nil {
		if j.ctx.Err() != nil { // it was ended in the middle of its work
			err = errors.Join(j.late(err), j.unmountGuest(vmid))
		}
		return err
	}
	done, err := j.machine.SealRootfs(j.ctx, "/var/lib/lxc/"+vmid+"/rootfs")
	j.result.Notes = append(j.result.Notes, done...)
	if err != nil {
		err = j.late(j.unexpected(err))
	}
	if e := j.unmountGuest(vmid); err == nil {
		err = e
	}
	return err
}

// unmountGuest lets a container's disks go. It has a time of its own: what is mounted must be let go also when the operation has none left.
func (j *job) unmountGuest(vmid string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(j.ctx), unmountTime)
	defer cancel()
	_, err := j.runIn(ctx, pct, "unmount", vmid)
	if err != nil {
		j.note("the disks of %s are still mounted; fix: pct unmount %s", vmid, vmid)
	}
	return err
}

// late says of what failed when the time was up that it was this.
func (j *job) late(err error) error {
	if j.ctx.Err() == nil {
		return j.failed(err, "cannot seal the root file system")
	}
	return &FailedError{Op: j.op, Reason: fmt.Sprintf("sealing %s took too long and was ended; its disks were unmounted again", j.args["vmid"])}
}

// unexpected makes a refusal of what does not belong into the root file system.
func (r admitted) unexpected(err error) error {
	var odd *UnexpectedError
	if !errors.As(err, &odd) {
		return err
	}
	vmid := r.args["vmid"]
	at := "/var/lib/lxc/" + vmid + "/rootfs/" + odd.Path
	return r.refuse("vmid", "in the container, "+odd.Error(),
		"As root: pct mount "+vmid+"; mv "+quote(at)+" "+quote(at+".odd")+"; pct unmount "+vmid)
}

// ownFolders refuses a container that has a folder of the host where the seal would write: `pct mount` mounts that, too.
func ownFolders(r admitted, c guestConfig) error {
	for _, key := range sortedKeys(c.current) {
		if !strings.HasPrefix(key, "mp") || !isBind(source(c.current[key], "volume")) {
			continue
		}
		at := source(c.current[key], "mp")
		for _, dir := range sealedFolders {
			if within("/"+dir, at) {
				return r.refuse("vmid", fmt.Sprintf("%s binds a folder of the host at %s, where the seal removes files", key, at), "As root: pct set "+r.args["vmid"]+" --delete "+key)
			}
		}
	}
	return nil
}
