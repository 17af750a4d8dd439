package kit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// The most that a kit may have. Real ones have some ten files and some ten KiB.
const (
	mostBytes = 16 << 20 // of all files
	mostFiles = 4500
	mostFacts = 1 << 20 // bytes of kit.json
	mostList  = 1000    // guests, storages, bridges, templates
)

// Entry is one name in a folder.
type Entry struct {
	Name    string
	Dir     bool
	Regular bool // false with Dir false: a link, a device, a socket, a pipe
}

// Folder reads a disk of unknown origin. All paths are relative and slash-separated. It never follows a link, and never waits for a device.
type Folder interface {
	// Entries lists a folder; it fails with fs.ErrNotExist where there is none.
	Entries(dir string) ([]Entry, error)
	// Read reads a regular file of at most so many bytes.
	Read(file string, most int64) ([]byte, error)
}

// Error says what is wrong with a kit. Nothing of it is used.
type Error struct {
	Path  string // of the kit
	Text  string
	Newer bool // a newer version of this program wrote it
}

func (e *Error) Error() string { return "the recovery kit " + e.Path + " is refused: " + e.Text }

// Find reads all kits of a disk, the newest first by their own time, and says of the others why they are refused.
func Find(disk Folder) (kits []*Kit, refused []error) {
	nodes, err := disk.Entries(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []error{&Error{Path: folder, Text: err.Error()}}
	}
	for _, node := range nodes {
		if !node.Dir || !nodeName.MatchString(node.Name) {
			refused = append(refused, &Error{Path: path.Join(folder, clip(node.Name)), Text: "expected the folder of a node"})
			continue
		}
		entries, err := disk.Entries(path.Join(folder, node.Name))
		if err != nil {
			refused = append(refused, &Error{Path: path.Join(folder, node.Name), Text: err.Error()})
		}
		for _, e := range entries {
			if !kitName.MatchString(e.Name) { // a package, templates, an unfinished kit
				continue
			}
			at := path.Join(folder, node.Name, e.Name)
			kit, err := Read(disk, at)
			if err == nil && kit.Node != node.Name {
				err = &Error{Path: at, Text: fmt.Sprintf("it is of the node %s, in the folder of %s", kit.Node, node.Name)}
			}
			if err != nil {
				refused = append(refused, err)
				continue
			}
			kits = append(kits, kit)
		}
	}
	slices.SortStableFunc(kits, Newer)
	return kits, refused
}

// Newer orders kits, the newest first.
func Newer(a, b *Kit) int {
	return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.Path, a.Path))
}

var (
	nodeName = regexp.MustCompile(`\A[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\z`)
	owner    = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._@-]{0,127}\z`)
	kitName  = regexp.MustCompile(`\A[0-9]{8}T[0-9]{6}Z\z`)
	iface    = regexp.MustCompile(`\A[A-Za-z][A-Za-z0-9_.-]{0,14}\z`)
	template = regexp.MustCompile(`\A[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]:vztmpl/[A-Za-z0-9](\.?[A-Za-z0-9_+~-])*\.tar\.(gz|xz|zst|bz2)\z`)
	sumLine  = regexp.MustCompile(`\A([0-9a-f]{64})  (.{1,300})\z`)
	sha512   = regexp.MustCompile(`\A[0-9a-f]{128}\z`)
	word     = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._+~_-]{0,63}\z`)
)

// Read reads one kit and checks all of it.
func Read(disk Folder, at string) (*Kit, error) {
	refuse := func(format string, a ...any) (*Kit, error) {
		return nil, &Error{Path: at, Text: fmt.Sprintf(format, a...)}
	}
	text, err := disk.Read(path.Join(at, FactsFile), mostFacts)
	if err != nil {
		return refuse("%v", err)
	}
	var head struct{ Format int }
	if json.Unmarshal(text, &head) == nil && head.Format > Format {
		return nil, &Error{Path: at, Newer: true, Text: fmt.Sprintf("it has format %d and this version reads %d: install the package that is beside it", head.Format, Format)}
	}
	listed, err := readSums(disk, at)
	if err != nil {
		return refuse("%v", err)
	}
	if err := onlyListed(disk, at, "", listed, 0); err != nil {
		return refuse("%v", err)
	}
	kit := &Kit{Path: at, Files: map[string][]byte{}}
	left := int64(mostBytes)
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		text, err := disk.Read(path.Join(at, name), left)
		if err != nil {
			return refuse("%v", err)
		}
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != listed[name] {
			return refuse("%s was altered or cut off after the kit was written", name)
		}
		left -= int64(len(text))
		kit.Files[name] = text
	}
	if kit.Time, err = time.Parse(time.RFC3339, strings.TrimSpace(string(kit.Files[TimeFile]))); err != nil {
		return refuse("%s is not a time such as 2026-11-22T18:05:00Z", TimeFile)
	}
	d := json.NewDecoder(bytes.NewReader(kit.Files[FactsFile]))
	d.DisallowUnknownFields()
	if err := d.Decode(&kit.Facts); err != nil {
		return refuse("%s: %v", FactsFile, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return refuse("%s: something follows the document", FactsFile)
	}
	if wrong := kit.check(); wrong != "" {
		return refuse("%s", wrong)
	}
	return kit, nil
}

// readSums reads the list of hashes, by file.
func readSums(disk Folder, at string) (map[string]string, error) {
	text, err := disk.Read(path.Join(at, sumsFile), mostFacts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("it has no %s, so it was cut off", sumsFile)
	}
	if err != nil {
		return nil, err
	}
	listed := map[string]string{}
	for line := range strings.Lines(string(text)) {
		m := sumLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil || !fileName(m[2]) || listed[m[2]] != "" || len(listed) == mostFiles {
			return nil, fmt.Errorf("%s: invalid line %q", sumsFile, clip(line))
		}
		listed[m[2]] = m[1]
	}
	for _, name := range []string{FactsFile, TimeFile} {
		if listed[name] == "" {
			return nil, fmt.Errorf("%s does not name %s, so it was cut off", sumsFile, name)
		}
	}
	return listed, nil
}

// fileName reports whether a kit may have a file of this name.
func fileName(name string) bool {
	if !fs.ValidPath(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return false
	}
	if rest, ok := strings.CutPrefix(name, Desired); ok {
		return !strings.Contains(rest, "/") && !strings.HasPrefix(rest, ".") && (strings.HasSuffix(rest, ".yaml") || strings.HasSuffix(rest, ".yml"))
	}
	if rest, ok := strings.CutPrefix(name, hostFiles); ok {
		return strings.Count(rest, "/") <= 1 && !strings.HasPrefix(rest, ".")
	}
	return slices.Contains([]string{FactsFile, ReadmeFile, AgentFile, StateFile, TimeFile, policyFile}, name)
}

// onlyListed makes sure that a kit is of regular files that its list names, and folders.
func onlyListed(disk Folder, at, dir string, listed map[string]string, depth int) error {
	entries, err := disk.Entries(path.Join(at, dir))
	if err != nil {
		return err
	}
	if len(entries) > mostFiles || depth > 3 {
		return fmt.Errorf("%s has more files or folders than a kit", cmp.Or(dir, "it"))
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		switch {
		case e.Dir:
			if err := onlyListed(disk, at, name, listed, depth+1); err != nil {
				return err
			}
		case !e.Regular:
			return fmt.Errorf("%q is a link or a device, not a regular file", clip(name))
		case listed[name] == "" && name != sumsFile:
			return fmt.Errorf("%q is not in its %s", clip(name), sumsFile)
		}
	}
	return nil
}

// check says what is wrong with the facts of a kit, or nothing.
func (k *Kit) check() string {
	switch {
	case k.Format != Format:
		return fmt.Sprintf("%s has format %d and this version reads %d", FactsFile, k.Format, Format)
	case !nodeName.MatchString(k.Node):
		return fmt.Sprintf("invalid node name %q", clip(k.Node))
	case !owner.MatchString(k.Owner):
		return fmt.Sprintf("invalid owner %q", clip(k.Owner))
	case len(k.Guests) > mostList || len(k.Storages) > mostList || len(k.Bridges) > mostList || len(k.Templates) > mostList || len(k.Privileges) > mostList:
		return fmt.Sprintf("%s has a list of more than %d", FactsFile, mostList)
	case len(k.DesiredFiles()) == 0:
		return "it has no desired state"
	}
	if token, err := proxmox.NewToken(k.Token, "unknown"); err != nil || token.IsRoot() || !strings.HasSuffix(token.User(), "@pve") {
		return fmt.Sprintf("invalid token %q: expected one of a user of the realm pve, such as felhom@pve!agent", clip(k.Token))
	}
	ids := map[string]bool{}
	for _, s := range k.Storages {
		if wrong := s.check(); wrong != "" {
			return wrong
		}
		if ids[s.ID] {
			return fmt.Sprintf("it has the storage %s twice", s.ID)
		}
		ids[s.ID] = true
	}
	return k.checkNames()
}

// checkNames checks what is only a name.
func (k *Kit) checkNames() string {
	for _, g := range k.Guests {
		if !word.MatchString(g.Name) || g.VMID < 100 || g.VMID > 999999999 || g.Storage != "" && !storageID.MatchString(g.Storage) {
			return fmt.Sprintf("invalid guest %q (%d)", clip(g.Name), g.VMID)
		}
	}
	for _, b := range k.Bridges {
		if !iface.MatchString(b) {
			return fmt.Sprintf("invalid bridge %q", clip(b))
		}
	}
	for _, t := range k.Templates {
		if !template.MatchString(t.Volume) {
			return fmt.Sprintf("invalid template %q", clip(t.Volume))
		}
		if t.SHA512 != "" && !sha512.MatchString(t.SHA512) {
			return fmt.Sprintf("invalid SHA-512 %q of the template %s", clip(t.SHA512), t.Name())
		}
	}
	for _, name := range slices.Concat([]string{k.PVE, k.Version, k.Role}, k.Privileges, k.LeftOut) {
		if name != "" && !word.MatchString(name) {
			return fmt.Sprintf("invalid word %q in %s", clip(name), FactsFile)
		}
	}
	if _, err := mapping(k.Files[AgentFile]); err != nil {
		return AgentFile + ": " + err.Error()
	}
	return ""
}
