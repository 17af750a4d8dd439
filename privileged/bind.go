package privileged

import (
	"errors"
	"fmt"
	"io/fs"
)

// bindMount sets mpN of a container to a folder of the host. The folder is opened without following a link and stays open while pct works: what stands
// in the configuration afterwards is the folder that was checked.
func (s *scene) bindMount() error {
	a := s.args
	c, err := s.ours()
	if err != nil {
		return err
	}
	if err := s.allowedPath("source"); err != nil {
		return err
	}
	if err := s.allowedIDMap("option.idmap", a["source"]); err != nil {
		return err
	}
	key := "mp" + a["index"]
	now, waiting := c.value(key)
	for _, v := range []string{now, waiting} {
		if v != "" && !isBind(source(v, "volume")) {
			return s.refuse("index", fmt.Sprintf("%s of %s is a volume (%s)", key, a["vmid"], source(v, "volume")), "Choose another number; the root helper never replaces a volume")
		}
	}
	same, closeFolder, err := s.bindSource()
	if err != nil {
		return err
	}
	defer closeFolder()
	if err := s.onMount(); err != nil {
		return err
	}
	rest := subkeys(a, "option.")
	if a["ro"] == "1" {
		rest["ro"] = "1"
	}
	if _, err := s.run(pct, "set", a["vmid"], "--"+key, properties(a["source"]+",mp="+a["mp"], rest)); err != nil {
		return err
	}
	if err := same(); err != nil {
		return s.rebind(key, now, err)
	}
	return nil
}

// bindSource opens the folder that is to be bound.
func (s *scene) bindSource() (same func() error, closeFolder func(), err error) {
	at := s.args["source"]
	same, closeFolder, err = s.host.OpenFolder(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, s.miss("source", "there is no such directory", "As root: mkdir -p "+quote(at)+" && chown 100000:100000 "+quote(at))
	case err != nil:
		return nil, nil, s.refuse("source", err.Error(), "")
	}
	return same, closeFolder, nil
}

// onMount makes sure that the folder lies on the disk that it must be on.
func (s *scene) onMount() error {
	at := s.args["mount"]
	if at == "" {
		return nil
	}
	if err := s.allowedPath("mount"); err != nil {
		return err
	}
	if !within(s.args["source"], at) || s.args["source"] == at {
		return s.refuse("source", "it does not lie below "+at, "")
	}
	table, err := s.hostMounts()
	if err != nil {
		return err
	}
	if _, ok := mountedAt(table, at); !ok {
		return s.miss("mount", "nothing is mounted there", "Plug the disk in")
	}
	return nil
}

// rebind takes back what was set, because the folder was exchanged while pct worked.
func (s *scene) rebind(key, before string, why error) error {
	args, undone := []string{"set", s.args["vmid"], "--delete", key}, key+" was deleted again"
	if before != "" {
		args, undone = []string{"set", s.args["vmid"], "--" + key, before}, key+" is again "+before
	}
	if _, err := s.run(pct, args...); err != nil {
		undone = key + " still has it; fix: pct set " + s.args["vmid"] + " --delete " + key
	}
	return &FailedError{Op: s.op, Reason: fmt.Sprintf("%s was exchanged while it was bound: %v", s.args["source"], why), Undone: []string{undone}}
}
