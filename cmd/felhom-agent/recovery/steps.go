package recovery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// A Step is one thing that is missing on the host, as plain data. At most one of Root, Program, File and Folder is set; none of them: it is only
// shown.
type Step struct {
	What string // e.g. "storage usb-backup"
	Text string // what is done, or why nothing is

	Root     *privileged.Op
	Program  string
	Args     []string
	Secret   bool          // the program prints the secret of a new token, which goes straight into the token's file
	Storage  *kit.Storage  // what Program creates, and needs secrets for
	Template *kit.Template // what Program downloads; where that fails it is copied from the kit
	Waits    string        // which objects wait for the template
	May      bool          // where it fails the recovery goes on, and names it at the end
	File     string
	Content  []byte
	Folder   map[string][]byte // for the desired state
}

// Does reports whether a step changes something.
func (s Step) Does() bool { return s.Root != nil || s.Program != "" || s.File != "" || s.Folder != nil }

// plan compares a kit with what the host has. It is pure: the same kit and the same host give the same steps, and on a host that is set up there is
// none that does something.
func plan(k *kit.Kit, want *spec.Desired, have *State) []Step {
	token := tokenFor(k, have)
	var steps []Step
	steps = append(steps, policyStep(k, have)...)
	steps = append(steps, mountSteps(want, have)...)
	steps = append(steps, storageSteps(k, have)...)
	steps = append(steps, accessSteps(want, have, token)...)
	steps = append(steps, fileSteps(k, have, token)...)
	steps = append(steps, templateSteps(k, want, have)...)
	if !have.Enabled[socket] {
		steps = append(steps, Step{What: "root helper", Text: "enable " + socket, Program: systemctl, Args: []string{"enable", "--now", socket}})
	}
	if slices.ContainsFunc(steps, Step.Does) {
		steps = append(markStep(k, have, token), steps...)
	}
	for _, b := range k.Bridges {
		if !slices.Contains(have.Bridges, b) {
			steps = append(steps, Step{What: "bridge " + b, Text: "missing on this host: create it (System, Network), else guests on it do not start"})
		}
	}
	return steps
}

// digest names a kit whatever its folder is called.
func digest(k *kit.Kit) string { return kit.Digest(k.Files) }

// tokenFor is the ID of the token that the agent will have: the one in use, the one that a recovery has begun with, else the kit's, with a number
// where another token has its name already, for nobody can read the secret of that one any more.
func tokenFor(k *kit.Kit, have *State) string {
	if len(have.Files[tokenFile]) > 0 {
		for _, id := range []string{have.Mark.Token, kit.Key(have.Files[agentFile], "token_id")} {
			if id != "" && have.has(id) {
				return id
			}
		}
	}
	if have.Mark.Token != "" && !have.has(have.Mark.Token) {
		return have.Mark.Token
	}
	id := k.Token
	for n := 2; have.has(id); n++ {
		id = k.Token + "-" + strconv.Itoa(n)
	}
	return id
}

func markStep(k *kit.Kit, have *State, token string) []Step {
	text, _ := json.Marshal(Mark{Kit: digest(k), Token: token})
	if bytes.Equal(have.Files[markFile], text) {
		return nil
	}
	return []Step{{What: "recovery", Text: "note that it has begun, in " + markFile, File: markFile, Content: text}}
}

func policyStep(k *kit.Kit, have *State) []Step {
	policy := k.Policy()
	if policy == nil || bytes.Equal(have.Files[policyFile], policy) {
		return nil
	}
	folders, err := privileged.FoldersOf(policy)
	if err != nil {
		return []Step{{What: privileged.KitPolicy, Text: "left out, it is invalid: " + err.Error()}}
	}
	text := "allow the root helper: " + strings.Join(folders.Roots, ", ")
	if len(folders.Kits) > 0 {
		text += "; for recovery kits: " + strings.Join(folders.Kits, ", ")
	}
	if len(folders.IDMap) > 0 {
		text += "; for IDs of the host: " + strings.Join(folders.IDMap, ", ")
	}
	return []Step{{What: privileged.KitPolicy, Text: text, File: policyFile, Content: policy}}
}

// mountSteps mount the backup disks that are connected: a storage on a mount point cannot be created before.
func mountSteps(want *spec.Desired, have *State) []Step {
	var steps []Step
	for _, name := range slices.Sorted(maps.Keys(want.Mounts)) {
		m := want.Mounts[name]
		if m.Storage == "" || m.Absent {
			continue
		}
		mounted := slices.ContainsFunc(have.Mounts, func(at privileged.Mount) bool { return at.Path == m.Path && at.Mounted && !at.Gone })
		i := slices.IndexFunc(m.UUIDs, func(disk spec.Disk) bool { return diskOf(have, disk.UUID) != nil })
		switch {
		case mounted:
		case i < 0:
			steps = append(steps, Step{What: "mount " + name, Text: "its disk is not connected"})
		default:
			disk := diskOf(have, m.UUIDs[i].UUID)
			s := privileged.MountSpec{Name: name, UUID: disk.UUID, Path: m.Path, FSType: m.FSType, Options: m.Options, Fstab: len(m.UUIDs) == 1}
			op := privileged.MountUSBByUUID(have.Node, s.On(*disk))
			steps = append(steps, Step{What: "mount " + name, Text: fmt.Sprintf("mount %s (%s) at %s", disk.Device, label(disk), m.Path), Root: &op})
		}
	}
	return steps
}

func diskOf(have *State, uuid string) *privileged.Disk {
	i := slices.IndexFunc(have.Disks, func(d privileged.Disk) bool { return strings.EqualFold(d.UUID, uuid) })
	if i < 0 {
		return nil
	}
	return &have.Disks[i]
}

func label(d *privileged.Disk) string {
	if d.Label != "" {
		return d.Label
	}
	return d.UUID
}

func storageSteps(k *kit.Kit, have *State) []Step {
	var steps []Step
	for _, s := range k.Storages {
		at, exists := have.Storages[s.ID]
		step := Step{What: "storage " + s.ID}
		switch {
		case exists:
			differ := s.Differs(at)
			if len(differ) == 0 {
				continue
			}
			step.Text = "exists with other settings and is left as it is (" + strings.Join(differ, "; ") + ")"
		default:
			step.Program, step.Args = pvesm, s.Args()
			step.Text = "pvesm " + strings.Join(quoted(step.Args), " ")
			if s.NeedsPassword() {
				step.Storage, step.May = &s, true
				step.Text += "; asks for its " + needs(s)
			}
		}
		steps = append(steps, step)
	}
	return steps
}

// needs names the secrets of a storage.
func needs(s kit.Storage) string {
	if s.Key != "" {
		return "password and its encryption key"
	}
	return "password"
}

// accessSteps make role, user, token and grants, as --print-setup says. The privileges are this program's own, whatever the kit says.
func accessSteps(want *spec.Desired, have *State, token string) []Step {
	privileges := PrivilegesFor(want)
	var steps []Step
	add := func(what, text string, args ...string) {
		steps = append(steps, Step{What: what, Text: text, Program: pveum, Args: args})
	}
	lacking := slices.DeleteFunc(slices.Clone(privileges), func(p string) bool { return slices.Contains(have.Roles[Role], p) })
	switch _, exists := have.Roles[Role]; {
	case !exists:
		add("role "+Role, fmt.Sprintf("create it with %d privileges", len(privileges)), "role", "add", Role, "--privs", strings.Join(privileges, ","))
	case len(lacking) > 0:
		add("role "+Role, "add "+strings.Join(lacking, ", "), "role", "modify", Role, "--append", "1", "--privs", strings.Join(lacking, ","))
	}
	user, name, _ := strings.Cut(token, "!")
	if _, exists := have.Tokens[user]; !exists {
		add("user "+user, "create it", "user", "add", user, "--comment", "felhom-agent")
	}
	if !have.has(token) || len(have.Files[tokenFile]) == 0 {
		steps = append(steps, Step{What: "token " + token, Text: "create it; its secret goes into " + tokenFile, Program: pveum, Secret: true,
			Args: []string{"user", "token", "add", user, name, "--privsep", "1", "--comment", "felhom-agent on " + have.Node, "--output-format", "json"}})
	}
	for _, g := range []struct{ kind, id string }{{"user", user}, {"token", token}} {
		if !slices.Contains(have.ACL, Grant{"/", g.kind, g.id, Role}) {
			add("grant", Role+" on / for "+g.kind+" "+g.id, "acl", "modify", "/", "--"+g.kind+"s", g.id, "--roles", Role)
		}
	}
	return steps
}

// fileSteps put the agent's files in their places.
func fileSteps(k *kit.Kit, have *State, token string) []Step {
	var steps []Step
	file := func(path string, text []byte) {
		if !bytes.Equal(have.Files[path], text) {
			beside := ""
			if have.Files[path] != nil {
				beside = "; the one that is there is kept beside it"
			}
			steps = append(steps, Step{What: path[strings.LastIndexByte(path, '/')+1:], Text: "put it to " + path + beside, File: path, Content: text})
		}
	}
	if desired := k.DesiredOn(have.Node); !maps.EqualFunc(have.Desired, desired, bytes.Equal) {
		beside := ""
		if len(have.Desired) > 0 {
			beside = "; the files that are there are kept beside it"
		}
		if have.Node != k.Node {
			beside += fmt.Sprintf(", with node: %s in place of %s", have.Node, k.Node)
		}
		steps = append(steps, Step{What: "desired state", Text: fmt.Sprintf("put %d files to %s%s", len(desired), desiredDir, beside), Folder: desired})
	}
	if text, err := agentYAML(k, have, token); err == nil {
		file(agentFile, text)
	}
	if text := stateText(k); text != nil && have.Files[stateFile] == nil {
		file(stateFile, text)
	}
	return steps
}

// agentYAML is the kit's, or the one that the package brought, for this node and token.
func agentYAML(k *kit.Kit, have *State, token string) ([]byte, error) {
	text := k.Files[kit.AgentFile]
	if text == nil {
		text = have.Files[agentFile]
	}
	keys := map[string]string{}
	for key, value := range map[string]string{"token_id": token, "token_file": tokenFile} {
		if kit.Key(text, key) != value {
			keys[key] = value
		}
	}
	if kit.Key(text, "url") == "" {
		keys["url"], keys["ca"] = "https://127.0.0.1:8006", "/etc/pve/pve-root-ca.pem"
	}
	if runner := kit.Key(text, "runner"); runner == "" {
		keys["runner"] = "socket"
	}
	if k.Node != have.Node {
		keys["owner"] = k.Owner
		if kit.Key(text, "node") != "" {
			keys["node"] = have.Node
		}
	}
	if kit.Key(text, "fingerprint") != "" { // a new host has a new certificate, of its own CA
		keys["fingerprint"], keys["url"], keys["ca"] = "", "https://127.0.0.1:8006", "/etc/pve/pve-root-ca.pem"
	}
	if len(keys) == 0 {
		return text, nil
	}
	return kit.WithKeys(text, keys)
}

var heldName = regexp.MustCompile(`\A(all|[a-z]{3,12}/[A-Za-z0-9][A-Za-z0-9._-]{0,63})\z`)

// stateText is what a person had said on the old host: its holds, and which objects were known. That somebody has reviewed the agent there says nothing
// about this host, and an ejected disk may be connected again.
func stateText(k *kit.Kit) []byte {
	var old reconcile.Stored
	if json.Unmarshal(k.Files[kit.StateFile], &old) != nil || old.Format != 1 {
		return nil
	}
	kept := reconcile.Stored{Format: 1, Backups: old.Backups, Known: old.Known}
	for _, hold := range old.Holds {
		if (hold.Kind == reconcile.HoldPerson || hold.Kind == reconcile.HoldDestroyed) && heldName.MatchString(hold.Name) {
			kept.Holds = append(kept.Holds, hold)
		}
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return nil
	}
	return text
}

// quoted are arguments as they are typed.
func quoted(args []string) []string {
	out := slices.Clone(args)
	for i, arg := range out {
		if arg == "" || strings.ContainsAny(arg, " \t'\"$`\\*?&|;<>()!") {
			out[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return out
}
