package privileged

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// A recovery kit lies on a backup disk as KitFolder/NODE/TIME/FILE. The agent gives most of its files; root adds what the agent cannot read, and the
// list of hashes.
const (
	KitFolder    = "felhom-recovery"
	KitSums      = "SHA256SUMS"              // lines of sha256sum(1) over all other files
	KitPolicy    = "fence.json"              // what root says to the root helper
	KitHost      = "host/"                   // begins the names of PVE's files, for a person to read
	KitTemplates = "templates"               // beside the kits: copies of container templates
	KitTime      = "20060102T150405Z"        // names a kit, in UTC
	PackagePath  = "/var/cache/felhom-agent" // where the package leaves a copy of itself

	kitsKept    = 5
	maxKit      = 16 << 20  // bytes of all files
	maxKitFiles = 2100      // of the agent's
	maxContent  = 180 << 10 // letters of the argument
)

// KitSpec is a recovery kit that is to be kept on a backup storage.
type KitSpec struct {
	Name    string            // of the mount object, else of the storage: what is done with its disk waits in one queue
	Path    string            // of the storage, under an allowed root or one of the folders for kits
	Mounted bool              // it must be a mount point, so that a kit never lands below a disk that is not there
	Time    time.Time         // when it was collected, by the node's clock
	Files   map[string][]byte // README.txt, kit.json, agent.yaml, state.json, TIME, desired/NAME.yaml
}

// KeepKit writes a recovery kit as root, all of it or nothing, and removes older ones but for the newest five. Root adds fence.json, PVE's firewall
// files, HA rules, pools and backup jobs, and the copy of the package. It fails where the files do not fit into one request (some 130 KiB compressed).
func KeepKit(node string, k KitSpec) (Op, error) {
	text, err := json.Marshal(k.Files)
	if err != nil {
		return Op{}, err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err = z.Write(text); err == nil {
		err = z.Close()
	}
	if err != nil {
		return Op{}, err
	}
	a := args{}
	a.set("name", k.Name)
	a.set("path", k.Path)
	a.flag("mounted", k.Mounted)
	a.set("time", k.Time.UTC().Format(KitTime))
	a.set("content", base64.StdEncoding.EncodeToString(packed.Bytes()))
	if len(a["content"]) > maxContent {
		return Op{}, fmt.Errorf("the recovery kit is %d KiB compressed; at most %d fit: remove what does not belong to the desired state", packed.Len()>>10, maxContent*3/4>>10)
	}
	return Op{Node: node, Name: "KeepKit", Args: a}, nil
}

// keepKit is the root helper's side of [KeepKit].
func keepKit(j *job) error {
	files, err := unpackKit(j.args["content"])
	if err != nil {
		return j.refuse("content", err.Error(), "Install felhom-agent and felhom-fence of one version")
	}
	if err := j.writable(); err != nil {
		return err
	}
	if err := j.addHostFiles(files); err != nil {
		return err
	}
	size := 0
	for _, text := range files {
		size += len(text)
	}
	if size > maxKit {
		return j.refuse("content", fmt.Sprintf("the kit would have %d MiB; at most %d are kept", size>>20, maxKit>>20), "")
	}
	files[KitSums] = Sums(files)
	if err := j.machine.KeepKit(j.args["path"], j.node, j.args["time"], files, kitsKept); err != nil {
		return j.failed(err, "cannot write the recovery kit to "+j.args["path"])
	}
	return nil
}

// writable makes sure that the path is allowed, and what is mounted there connected and not read-only.
func (r reader) writable() error {
	if err := r.allowedKit("path"); err != nil {
		return err
	}
	table, err := r.hostMounts()
	if err != nil {
		return err
	}
	at, ok := mountedAt(table, r.args["path"])
	if !ok && r.args["mounted"] == "1" {
		return r.miss("path", "nothing is mounted there", "connect the disk")
	}
	for dir := r.args["path"]; !ok && dir != "/"; {
		dir = path.Dir(dir)
		at, ok = mountedAt(table, dir)
	}
	switch gone, err := r.gone(at.source); {
	case err != nil:
		return err
	case ok && gone:
		return r.miss("path", "its disk was disconnected while it was mounted", "connect it again")
	case ok && slices.Contains(at.options, "ro"):
		return r.wait("path", "it is mounted read-only", "see dmesg: a disk with errors becomes read-only")
	}
	return nil
}

// unpackKit reads the files of a request and checks their names: nothing else than these is ever written.
func unpackKit(content string) (map[string][]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(content)
	if err != nil {
		return nil, fmt.Errorf("it is not base64: %w", err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("it is not gzip: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxKit*2))
	if err != nil {
		return nil, fmt.Errorf("it is not gzip: %w", err)
	}
	var files map[string][]byte
	if err := json.Unmarshal(text, &files); err != nil {
		return nil, fmt.Errorf("it is not a JSON object of files: %w", err)
	}
	if len(files) == 0 || len(files) > maxKitFiles {
		return nil, fmt.Errorf("it has %d files; a kit has 1 to %d", len(files), maxKitFiles)
	}
	for name := range files {
		if !kitName(name) {
			return nil, fmt.Errorf("a kit has no file %q", clip(printable(name), 60))
		}
	}
	return files, nil
}

// kitName reports whether the agent may put a file of this name into a kit.
func kitName(name string) bool {
	if rest, ok := strings.CutPrefix(name, "desired/"); ok {
		return (strings.HasSuffix(rest, ".yaml") || strings.HasSuffix(rest, ".yml")) && !strings.HasPrefix(rest, ".") &&
			!strings.Contains(rest, "/") && prose(rest) == "" && !strings.ContainsAny(rest, "\n\t\\") && len(rest) <= 255
	}
	return slices.Contains([]string{"README.txt", "kit.json", "agent.yaml", "state.json", "TIME"}, name)
}

// addHostFiles adds what only root and www-data may read: the policy, and what a person has to set up again by hand.
func (r reader) addHostFiles(files map[string][]byte) error {
	for from, to := range map[string]string{
		PolicyPath: KitPolicy, "/etc/pve/jobs.cfg": KitHost + "jobs.cfg", "/etc/pve/ha/rules.cfg": KitHost + "ha/rules.cfg",
		"/etc/pve/ha/resources.cfg": KitHost + "ha/resources.cfg", "/etc/pve/ha/groups.cfg": KitHost + "ha/groups.cfg",
		"/etc/pve/nodes/" + r.node + "/host.fw": KitHost + "firewall/host.fw",
	} {
		if err := r.addFile(files, from, to); err != nil {
			return err
		}
	}
	names, err := r.host.ReadDir("/etc/pve/firewall")
	if err != nil {
		names = nil // a node without a firewall has no such folder
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".fw") && !strings.HasPrefix(name, ".") && len(files) < maxKitFiles*2 {
			if err := r.addFile(files, "/etc/pve/firewall/"+name, KitHost+"firewall/"+name); err != nil {
				return err
			}
		}
	}
	users, err := r.read("/etc/pve/user.cfg")
	var pools []string
	for line := range strings.Lines(string(users)) { // the rest of it is about people
		if strings.HasPrefix(line, "pool:") {
			pools = append(pools, line)
		}
	}
	if len(pools) > 0 {
		files[KitHost+"pools.cfg"] = []byte(strings.Join(pools, ""))
	}
	return err
}

func (r reader) addFile(files map[string][]byte, from, to string) error {
	text, err := r.read(from)
	if len(text) > 0 {
		files[to] = text
	}
	return err
}

// Sums is the list of hashes of files, as sha256sum -c reads it.
func Sums(files map[string][]byte) []byte {
	var b bytes.Buffer
	for _, name := range sortedKeys(files) {
		sum := sha256.Sum256(files[name])
		fmt.Fprintf(&b, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	return b.Bytes()
}
