package privileged

import (
	"errors"
	"fmt"
	"io/fs"
)

// bindMount sets mpN of a container to a folder of the host. The folder is opened without following a link and stays open while pct works: what stands
// in the configuration afterwards is the folder that was checked.
func bindMount(j *job) error {
	a := j.args
	c, err := j.managed()
	if err != nil {
		return err
	}
	if err := j.allowedPath("source"); err != nil {
		return err
	}
	if err := j.allowedIDMap("option.idmap", a["source"]); err != nil {
		return err
	}
	key := "mp" + a["index"]
	now, waiting := c.value(key)
	for _, v := range []string{now, waiting} {
		if v != "" && !isBind(source(v, "volume")) {
			return j.refuse("index", fmt.Sprintf("%s of %s is a volume (%s)", key, a["vmid"], source(v, "volume")), "Choose another number; the root helper never replaces a volume")
		}
	}
	same, closeFolder, err := j.bindSource()
	if err != nil {
		return err
	}
	defer closeFolder()
	if err := j.onMount(); err != nil {
		return err
	}
	rest := subkeys(a, "option.")
	if a["ro"] == "1" {
		rest["ro"] = "1"
	}
	if _, err := j.run(pct, "set", a["vmid"], "--"+key, properties(a["source"]+",mp="+a["mp"], rest)); err != nil {
		return err
	}
	if err := same(); err != nil {
		return j.rebind(key, now, err)
	}
	return nil
}

// bindSource opens the folder that is to be bound.
func (j *job) bindSource() (same func() error, closeFolder func(), err error) {
	at := j.args["source"]
	same, closeFolder, err = j.machine.OpenFolder(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, j.miss("source", "there is no such directory", "As root: mkdir -p "+quote(at)+" && chown 100000:100000 "+quote(at))
	case err != nil:
		return nil, nil, j.refuse("source", err.Error(), "")
	}
	return same, closeFolder, nil
}

// onMount makes sure that the folder lies on the disk that it must be on.
func (r reader) onMount() error {
	at := r.args["mount"]
	if at == "" {
		return nil
	}
	if err := r.allowedPath("mount"); err != nil {
		return err
	}
	if !within(r.args["source"], at) || r.args["source"] == at {
		return r.refuse("source", "it does not lie below "+at, "")
	}
	table, err := r.hostMounts()
	if err != nil {
		return err
	}
	if _, ok := mountedAt(table, at); !ok {
		return r.miss("mount", "nothing is mounted there", "Plug the disk in")
	}
	return nil
}

// rebind takes back what was set, because the folder was exchanged while pct worked.
func (j *job) rebind(key, before string, why error) error {
	args, undone := []string{"set", j.args["vmid"], "--delete", key}, key+" was deleted again"
	if before != "" {
		args, undone = []string{"set", j.args["vmid"], "--" + key, before}, key+" is again "+before
	}
	if _, err := j.run(pct, args...); err != nil {
		undone = key + " still has it; fix: pct set " + j.args["vmid"] + " --delete " + key
	}
	return &FailedError{Op: j.op, Reason: fmt.Sprintf("%s was exchanged while it was bound: %v", j.args["source"], why), Undone: []string{undone}}
}

func unbind(j *job) error {
	a := j.args
	c, err := j.managed()
	if err != nil {
		return err
	}
	key := "mp" + a["index"]
	now, waiting := c.value(key)
	if now == "" {
		now = waiting
	}
	switch have := source(now, "volume"); {
	case now == "":
		return nil // it is gone already
	case !isBind(have):
		return j.refuse("index", fmt.Sprintf("%s of %s is a volume (%s)", key, a["vmid"], have), "The root helper removes only bind mounts")
	case have != a["source"]:
		return j.refuse("source", fmt.Sprintf("%s of %s binds %s", key, a["vmid"], have), "Look again")
	}
	_, err = j.run(pct, "set", a["vmid"], "--delete", key)
	return err
}
