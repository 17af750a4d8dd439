package privileged

import (
	"fmt"
	"sort"
	"strings"
)

// Vet reports, as a *RefusedError, what in the text of the operation the fence would not let through, on any node. What it looks at in the world
// before it acts is not asked here.
func (o Op) Vet() error {
	_, err := vet(true, o.Node, o.Name, o.Args)
	return err
}

// Queue names what the operation works on: "lxc/9000" for operations on a guest, "mount/NAME" for mounts. Operations of one queue never overlap.
func (o Op) Queue() string {
	if v := o.Args["vmid"]; v != "" {
		return "lxc/" + v
	}
	return "mount/" + o.Args["name"]
}

// String is one line for people, e.g. "BindMount lxc/112: mp0 /mnt/usb/media/library on /media, read only".
func (o Op) String() string {
	a := o.Args
	s := o.Name + " " + o.Queue() + ": "
	switch o.Name {
	case "CreateGoldenLXC":
		s += fmt.Sprintf("%s, %sG on %s", a["template"], a["size"], a["storage"])
		if f := featureWords(a); f != "" {
			s += ", " + f
		}
	case "MountUSBByUUID":
		s += fmt.Sprintf("%s on %s", a["uuid"], a["path"])
		if a["fstab"] == "1" {
			s += ", with a line in /etc/fstab"
		}
	case "UnmountUSB":
		s += a["path"]
		if a["uuid"] != "" {
			s = fmt.Sprintf("%s (%s)", s, a["uuid"])
		}
		if a["fstab"] == "1" {
			s += ", and the agent's line out of /etc/fstab"
		}
	case "BindMount":
		s += fmt.Sprintf("mp%s %s on %s", a["index"], a["source"], a["mp"])
		if a["ro"] == "1" {
			s += ", read only"
		}
	case "Unbind":
		s += fmt.Sprintf("mp%s %s away", a["index"], a["source"])
	case "PassDevice":
		s += fmt.Sprintf("dev%s %s", a["index"], a["path"])
	case "RemoveDevice":
		s += fmt.Sprintf("dev%s %s away", a["index"], a["path"])
	case "KeepKit":
		s += fmt.Sprintf("recovery kit %s on %s", a["time"], a["path"])
	case "KeepTemplate":
		s += fmt.Sprintf("a copy of %s for the recovery kits on %s", a["template"], a["path"])
	case "SealGolden":
		s += "take out machine-id and SSH host keys"
	default:
		s = o.Name
	}
	return s
}

func featureWords(a map[string]string) string {
	var words []string
	for k, v := range a {
		if f, ok := strings.CutPrefix(k, "features."); ok && v != "0" {
			if v != "1" {
				f += "=" + v
			}
			words = append(words, f)
		}
	}
	sort.Strings(words)
	return strings.Join(words, ", ")
}
