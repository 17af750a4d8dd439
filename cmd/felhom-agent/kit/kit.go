package kit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
)

// Format is the version of kit.json that this program writes, and the newest that it reads.
const Format = 1

// The names of a kit's files. Root adds fence.json, those below host/ and SHA256SUMS; see package privileged.
const (
	FactsFile  = "kit.json"
	ReadmeFile = "README.txt"
	AgentFile  = "agent.yaml"
	StateFile  = "state.json"
	TimeFile   = "TIME"
	Desired    = "desired/"

	folder     = privileged.KitFolder
	sumsFile   = privileged.KitSums
	policyFile = privileged.KitPolicy
	hostFiles  = privileged.KitHost
	templates  = privileged.KitTemplates
)

// Facts are kit.json: what has to be there before the desired state can be carried out. Nothing in it is secret.
type Facts struct {
	Format     int        `json:"format"` // of this document
	Node       string     `json:"node"`
	Owner      string     `json:"owner"`   // in the ownership markers of the guests
	PVE        string     `json:"pve"`     // version of Proxmox VE
	Version    string     `json:"version"` // of felhom-agent
	Token      string     `json:"token"`   // its ID: USER@REALM!NAME
	Role       string     `json:"role"`
	Privileges []string   `json:"privileges"`
	Guests     []Guest    `json:"guests"`
	Storages   []Storage  `json:"storages"`
	Bridges    []string   `json:"bridges"`
	Templates  []Template `json:"templates"`
	LeftOut    []string   `json:"left_out,omitempty"` // keys of agent.yaml that may hold a secret
}

// A Guest is a declared guest with its last verified backup; a zero time where there is none.
type Guest struct {
	Name    string    `json:"name"`
	VMID    int       `json:"vmid"`
	Backup  time.Time `json:"backup,omitzero"`
	Storage string    `json:"storage,omitempty"` // of the backup
}

// A Storage is one of PVE's, by its options as `pvesm add` takes them; without passwords.
type Storage struct {
	ID      string            `json:"id"`
	Type    string            `json:"type"`
	Options map[string]string `json:"options"`
	Key     string            `json:"encryption_key,omitempty"` // the fingerprint of what it encrypts with, never the key; "1": not known
}

// A Template is what a golden image is built from.
type Template struct {
	Volume string `json:"volume"`           // its volume id
	SHA512 string `json:"sha512,omitempty"` // as PVE's list of appliances has it; "" where that has none
}

// Name is the name of its file.
func (t Template) Name() string { return path.Base(t.Volume) }

// Kit is one recovery kit, checked.
type Kit struct {
	Facts
	Path  string            // of its folder
	Time  time.Time         // when it was collected, by the clock of its node
	Files map[string][]byte // by name in the kit, all of them
}

// Build makes the files of a kit. desired is by file name, without a folder; agent is agent.yaml and state what --status keeps, both "" where
// there are none. The error is of agent.yaml that is not YAML.
func Build(facts Facts, now time.Time, desired map[string][]byte, agent, state []byte) (map[string][]byte, error) {
	facts.Format = Format
	for i, s := range facts.Storages {
		facts.Storages[i] = s.public()
	}
	if len(agent) > 0 {
		var err error
		if agent, facts.LeftOut, err = withoutSecrets(agent); err != nil {
			return nil, fmt.Errorf("agent.yaml: %w", err)
		}
	}
	text, err := json.MarshalIndent(facts, "", "  ")
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		FactsFile: append(text, '\n'), TimeFile: []byte(now.UTC().Format(time.RFC3339) + "\n"), ReadmeFile: readme(facts),
	}
	for name, text := range desired {
		files[Desired+name] = text
	}
	if len(state) > 0 {
		files[StateFile] = state
	}
	if len(agent) > 0 {
		files[AgentFile] = agent
	}
	return files, nil
}

// Digest is equal for kits that say the same, whenever they were collected: 12 hexadecimal digits.
func Digest(files map[string][]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name != TimeFile {
			fmt.Fprintf(h, "%q %d\n", name, len(files[name]))
			h.Write(files[name])
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// TemplatePath is where the copy of a template is, if there is one, from the top of the disk.
func (k *Kit) TemplatePath(t Template) string {
	return path.Join(folder, k.Node, templates, t.Name())
}

// HostFiles are files of PVE that nothing restores, by name without host/.
func (k *Kit) HostFiles() map[string][]byte { return k.below(hostFiles) }

// Policy is root's fence.json; nil where there was none.
func (k *Kit) Policy() []byte { return k.Files[policyFile] }

func (k *Kit) below(prefix string) map[string][]byte {
	files := map[string][]byte{}
	for name, text := range k.Files {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			files[rest] = text
		}
	}
	return files
}

// readme is what a person finds on the disk, who has nothing else.
func readme(f Facts) []byte {
	return fmt.Appendf(nil, `This is the recovery kit of the Proxmox VE node %s, written by felhom-agent %s.
With it and the backups beside it, the containers come back on a new host:

  1. Install Proxmox VE %s, with the node name %s if possible, and connect this disk.
  2. Mount it (mount /dev/sdX1 /mnt), and install the package: apt install /mnt/felhom-recovery/%s/felhom-agent_*.deb
  3. umount /mnt, then felhom-agent --recover: it shows each step first.

kit.json: storages, token ID, bridges, templates. desired/: the YAML. The other .yaml and .json: the configuration.
host/: firewall, HA, pools, backup jobs of Proxmox VE, for you to read: they are not restored.
No password, token secret or encryption key is in here. SHA256SUMS: sha256sum -c SHA256SUMS
`, f.Node, f.Version, major(f.PVE), f.Node, f.Node)
}

func major(version string) string {
	first, _, _ := strings.Cut(version, ".")
	return first
}
