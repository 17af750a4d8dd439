package privileged

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// policyPath is what root says to the fence. Never does the caller say it.
const policyPath = "/etc/felhom-agent/fence.json"

// policy is the file at policyPath. What it leaves out has its default.
type policy struct {
	Roots   []string `json:"roots"`   // under which disks are mounted and directories are bound; default /mnt
	Devices []string `json:"devices"` // patterns of path.Match of the devices that guests may have
	Users   []string `json:"users"`   // who may speak to the socket, besides root; default felhom-agent
}

var defaultPolicy = policy{
	Roots:   []string{"/mnt"},
	Devices: []string{"/dev/dri/card*", "/dev/dri/renderD*", "/dev/net/tun", "/dev/ttyUSB*", "/dev/ttyACM*"},
	Users:   []string{"felhom-agent"},
}

// LocalRoots are the folders of this machine below which its fence mounts disks and binds folders, for those who want
// to know before they ask it. It is an error where root's file cannot be read or is not right.
func LocalRoots() ([]string, error) { return rootsIn(policyPath) }

func rootsIn(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return defaultPolicy.Roots, nil
	case err != nil:
		return nil, err
	}
	p, err := parsePolicy(data)
	return p.Roots, err
}

func parsePolicy(data []byte) (policy, error) {
	var p policy
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return policy{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return policy{}, errTrailing
	}
	if p.Roots == nil {
		p.Roots = defaultPolicy.Roots
	}
	if p.Devices == nil {
		p.Devices = defaultPolicy.Devices
	}
	if p.Users == nil {
		p.Users = defaultPolicy.Users
	}
	return p, nil
}

func (s *scene) policy() (policy, error) {
	data, err := s.read(policyPath)
	if err != nil || data == nil {
		return defaultPolicy, err
	}
	p, err := parsePolicy(data)
	if err != nil {
		return policy{}, &RefusedError{Op: s.op, Reason: policyPath + " is not right: " + err.Error(), Cure: `It looks like {"roots": ["/mnt"], "devices": ["/dev/dri/*"]}`}
	}
	return p, nil
}

// system are the directories that no root in the policy opens.
var system = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr", "/var"}

// allowedPath makes sure that the path in an argument lies below an allowed root and in no directory of the system.
func (s *scene) allowedPath(arg string) error {
	p, err := s.policy()
	if err != nil {
		return err
	}
	at := s.args[arg]
	for _, dir := range system {
		if within(at, dir) {
			return s.refuse(arg, "it lies in a directory of the system", "Choose a path below "+strings.Join(p.Roots, " or "))
		}
	}
	for _, root := range p.Roots {
		if root = path.Clean(root); path.IsAbs(root) && at != root && within(at, root) {
			return nil
		}
	}
	return s.refuse(arg, "it does not lie below "+strings.Join(p.Roots, " or "),
		"As root, add a root to "+policyPath+` of this host: {"roots": ["/mnt", "`+path.Dir(at)+`"]}`)
}

// allowedDevice makes sure that the policy lets guests have this device.
func (s *scene) allowedDevice(arg string) error {
	p, err := s.policy()
	if err != nil {
		return err
	}
	for _, pattern := range p.Devices {
		if ok, _ := path.Match(pattern, s.args[arg]); ok && strings.HasPrefix(pattern, "/dev/") {
			return nil
		}
	}
	return s.refuse(arg, "the fence does not pass this device; it passes "+strings.Join(p.Devices, ", "), "As root, add it to devices in "+policyPath)
}
