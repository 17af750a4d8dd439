package privileged

import (
	"errors"
	"fmt"
	"io/fs"
)

func passDevice(j *job) error {
	a := j.args
	if _, err := j.managed(); err != nil {
		return err
	}
	if err := j.allowedDevice("path"); err != nil {
		return err
	}
	mode, _, err := j.host.Stat(a["path"])
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return j.miss("path", "there is no such device", "Plug it in, or load its driver")
	case err != nil:
		return j.refuse("path", err.Error(), "")
	case mode&fs.ModeCharDevice == 0:
		return j.refuse("path", "it is not a character device", "")
	}
	rest := map[string]string{}
	for _, key := range []string{"mode", "uid", "gid", "deny-write"} {
		if a[key] != "" {
			rest[key] = a[key]
		}
	}
	_, err = j.run(pct, "set", a["vmid"], "--dev"+a["index"], properties(a["path"], rest))
	return err
}

func removeDevice(j *job) error {
	a := j.args
	c, err := j.managed()
	if err != nil {
		return err
	}
	key := "dev" + a["index"]
	now, waiting := c.value(key)
	if now == "" {
		now = waiting
	}
	if now == "" {
		return nil // it is gone already
	}
	if have := source(now, "path"); have != a["path"] {
		return j.refuse("path", fmt.Sprintf("%s of %s is %s", key, a["vmid"], have), "Look again")
	}
	_, err = j.run(pct, "set", a["vmid"], "--delete", key)
	return err
}
