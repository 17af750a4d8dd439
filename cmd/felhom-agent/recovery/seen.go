package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile"
)

// State is what a host has before a step of a recovery.
type State struct {
	Node       string
	Guests     []Guest
	Storages   map[string]kit.Storage
	Roles      map[string][]string // their privileges
	Tokens     map[string][]string // of each user that exists
	ACL        []Grant
	Bridges    []string
	Templates  map[string]bool   // volume ids
	Appliances map[string]string // SHA-512 of the templates that PVE offers this host
	Files      map[string][]byte
	Desired    map[string][]byte // in the agent's folder; nil: there is none
	Enabled    map[string]bool   // units
	Disks      []privileged.Disk
	Mounts     []privileged.Mount
	Mark       Mark
}

// A Guest is a container or VM that exists on the host.
type Guest struct {
	VMID   int
	Name   string
	Owners []string // of its ownership markers
}

// A Grant is one entry of the ACL.
type Grant struct{ Path, Type, ID, Role string }

// A Mark is what a recovery that has begun notes for itself.
type Mark struct {
	Kit   string `json:"kit"`   // the digest of its files
	Token string `json:"token"` // the ID of the token that this recovery creates
}

// guestWire is a guest as /cluster/resources has it.
type guestWire struct {
	VMID             int
	Name, Node, Type string
}

// look reads the host. templates are the storages on which templates are expected.
func look(ctx context.Context, h Host, templates []string) (*State, error) {
	s := &State{Storages: map[string]kit.Storage{}, Roles: map[string][]string{}, Tokens: map[string][]string{}, Templates: map[string]bool{}, Files: map[string][]byte{}, Enabled: map[string]bool{}}
	var err error
	if s.Node, err = h.NodeName(); err != nil {
		return nil, fmt.Errorf("this is not a node of Proxmox VE: %w", err)
	}
	for _, read := range []func(context.Context, Host) error{s.readGuests, s.readStorages, s.readAccess, s.readNode, s.readFiles} {
		if err := read(ctx, h); err != nil {
			return nil, err
		}
	}
	for _, id := range templates {
		var volumes []struct{ VolID string }
		if _, known := s.Storages[id]; known && get(ctx, h, &volumes, "/nodes/"+s.Node+"/storage/"+id+"/content", "--content", "vztmpl") == nil {
			for _, v := range volumes {
				s.Templates[v.VolID] = true
			}
		}
	}
	s.Appliances = map[string]string{}
	var appliances []struct{ Template, SHA512Sum string }
	if len(templates) > 0 && get(ctx, h, &appliances, "/nodes/"+s.Node+"/aplinfo") == nil {
		for _, a := range appliances {
			s.Appliances[a.Template] = a.SHA512Sum
		}
	}
	for _, unit := range []string{service, socket} {
		_, exit, err := h.Run(ctx, systemctl, "is-enabled", unit)
		s.Enabled[unit] = err == nil && exit == 0
	}
	return s, nil
}

// get asks PVE as root.
func get(ctx context.Context, h Host, into any, path string, params ...string) error {
	out, exit, err := h.Run(ctx, pvesh, append([]string{"get", path, "--output-format", "json"}, params...)...)
	if err != nil {
		return fmt.Errorf("%s: %w", pvesh, err)
	}
	if exit != 0 {
		return fmt.Errorf("pvesh get %s: %s", path, lastLine(out))
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("pvesh get %s: invalid JSON: %w", path, err)
	}
	return nil
}

func (s *State) readGuests(ctx context.Context, h Host) error {
	var all []guestWire
	if err := get(ctx, h, &all, "/cluster/resources", "--type", "vm"); err != nil {
		return err
	}
	for _, w := range all {
		g := Guest{VMID: w.VMID, Name: w.Name}
		if w.Node == s.Node {
			var config struct{ Description string }
			if err := get(ctx, h, &config, fmt.Sprintf("/nodes/%s/%s/%d/config", s.Node, w.Type, w.VMID)); err != nil {
				return err
			}
			for _, m := range reconcile.FindMarkers(config.Description) {
				g.Owners = append(g.Owners, m.Owner)
			}
		}
		s.Guests = append(s.Guests, g)
	}
	return nil
}

func (s *State) readStorages(ctx context.Context, h Host) error {
	var all []map[string]any
	if err := get(ctx, h, &all, "/storage"); err != nil {
		return err
	}
	for _, entry := range all {
		raw := map[string]string{}
		for key, value := range entry {
			if text, ok := value.(string); ok {
				raw[key] = text
			} else {
				number, _ := json.Marshal(value)
				raw[key] = string(number)
			}
		}
		s.Storages[raw["storage"]] = kit.StorageOf(raw)
	}
	return nil
}

func (s *State) readAccess(ctx context.Context, h Host) error {
	var roles []struct{ RoleID, Privs string }
	var users []struct{ UserID string }
	var acl []struct{ Path, Type, UGID, RoleID string }
	if err := errors.Join(get(ctx, h, &roles, "/access/roles"), get(ctx, h, &users, "/access/users"), get(ctx, h, &acl, "/access/acl")); err != nil {
		return err
	}
	for _, r := range roles {
		s.Roles[r.RoleID] = strings.Split(r.Privs, ",")
	}
	for _, u := range users {
		var tokens []struct{ TokenID string }
		if strings.HasSuffix(u.UserID, "@pve") {
			if err := get(ctx, h, &tokens, "/access/users/"+u.UserID+"/token"); err != nil {
				return err
			}
		}
		s.Tokens[u.UserID] = []string{}
		for _, t := range tokens {
			s.Tokens[u.UserID] = append(s.Tokens[u.UserID], t.TokenID)
		}
	}
	for _, e := range acl {
		s.ACL = append(s.ACL, Grant{e.Path, e.Type, e.UGID, e.RoleID})
	}
	return nil
}

func (s *State) readNode(ctx context.Context, h Host) (err error) {
	var interfaces []struct{ Iface, Type string }
	if err := get(ctx, h, &interfaces, "/nodes/"+s.Node+"/network"); err != nil {
		return err
	}
	for _, i := range interfaces {
		if strings.HasSuffix(strings.ToLower(i.Type), "bridge") {
			s.Bridges = append(s.Bridges, i.Iface)
		}
	}
	if s.Disks, err = privileged.Disks(ctx, h.Root(), s.Node); err != nil {
		return err
	}
	s.Mounts, err = privileged.Mounts(ctx, h.Root(), s.Node)
	return err
}

func (s *State) readFiles(_ context.Context, h Host) error {
	for _, file := range []string{agentFile, tokenFile, policyFile, markFile, stateFile} {
		text, err := h.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil {
			s.Files[file] = text
		}
	}
	quote.Secret(strings.TrimSpace(string(s.Files[tokenFile])))
	json.Unmarshal(s.Files[markFile], &s.Mark) // a damaged one is none: the checks of a fresh host apply
	names, err := h.List(desiredDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") {
			continue
		}
		text, err := h.ReadFile(desiredDir + "/" + name)
		if err != nil {
			return err
		}
		if s.Desired == nil {
			s.Desired = map[string][]byte{}
		}
		s.Desired[name] = text
	}
	return nil
}

// has reports whether a token exists, by its whole ID.
func (s *State) has(token string) bool {
	user, name, _ := strings.Cut(token, "!")
	return slices.Contains(s.Tokens[user], name)
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return quote.Line(lines[len(lines)-1])
}
