package rehearse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
	"github.com/felhom/felhom-agent/spec"
)

// A Node is what is copied, and with what it is read.
type Node struct {
	View *proxmox.View
	Ask  privileged.Asker // nil without a root helper
	Name string
	// TokenID is the token whose privileges the copy's token gets.
	TokenID string
	Want    *spec.Desired
	// Policy is the text of the root helper's fence.json; "" where it is missing or not known.
	Policy string
}

// A Copy is a simulated node as a world file, and what is not as on the live node.
type Copy struct {
	World []byte
	// Running are the guests that run on the live node; in the copy all are stopped, until somebody starts them.
	Running []proxmox.VMID
	// Unknown are lines on what the copy cannot know, or knows otherwise.
	Unknown []string
}

// secret is the secret of the copy's token. It opens nothing but the copy.
const secret = "6d1f0a52-3c7e-4b8f-9a16-2e5d7c0b4f83"

// copier collects a world.
type copier struct {
	Node
	world   *world.World
	node    *world.Node
	dirs    []*world.Storage // directory storages, whose volumes lie on disks
	volumes map[string]world.Store
	status  map[string]proxmox.StorageStatus
	running []proxmox.VMID
	unknown []string
}

func (c *copier) miss(format string, args ...any) {
	c.unknown = append(c.unknown, fmt.Sprintf(format, args...))
}

// Read copies a node. An error is one of the view's, where the node as a whole cannot be read.
func Read(ctx context.Context, n Node) (*Copy, error) {
	c := &copier{Node: n, volumes: map[string]world.Store{}, status: map[string]proxmox.StorageStatus{}}
	for _, step := range []func(context.Context) error{c.base, c.neighbours, c.permissions, c.guests, c.storages, c.host} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	c.miss("the data inside guests and archives: the copy knows sizes, no contents")
	c.miss("how long this node's disks take: durations are those of a small host")
	text, err := yaml.Marshal(c.world)
	if err != nil {
		return nil, err
	}
	return &Copy{World: text, Running: c.running, Unknown: c.unknown}, nil
}

// base reads what the node is.
func (c *copier) base(ctx context.Context) error {
	version, err := c.View.Version(ctx)
	if err != nil {
		return err
	}
	clock, err := c.View.NodeTime(ctx, c.Name)
	if err != nil {
		return err
	}
	status, err := c.View.NodeStatus(ctx, c.Name)
	if err != nil {
		return err
	}
	bridges, err := c.View.Bridges(ctx, c.Name)
	if err != nil {
		bridges = []string{"vmbr0"}
		c.miss("the bridges of the node (%v): vmbr0 is assumed", err)
	}
	zone := clock.Zone
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "" {
		location, zone = time.UTC, "UTC"
		if clock.Ahead != nil && *clock.Ahead != 0 {
			zone = fmt.Sprintf("Etc/GMT%+d", -int(clock.Ahead.Hours())) // in these names east is minus
			if location, err = time.LoadLocation(zone); err != nil {
				return err
			}
		}
	}
	now := time.Unix(clock.Unix, 0).In(location)
	c.node = &world.Node{Name: c.Name, Zone: zone, Boot: now.Add(-status.Uptime).Unix(), IP: "192.0.2.11", CPUs: status.CPUs, Memory: int64(status.Memory.Total),
		Bridges: bridges, PID: 40000, Pools: map[string]world.Store{}}
	if c.Policy != "" {
		c.node.Files = map[string]string{"/etc/felhom-agent/fence.json": c.Policy}
	}
	c.world = &world.World{Format: world.Format, Clock: now, Version: version.Version, Nodes: []*world.Node{c.node}}
	return nil
}

// neighbours reads the other nodes, and which VMIDs their guests have.
func (c *copier) neighbours(ctx context.Context) error {
	nodes, err := c.View.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Name == c.Name {
			continue
		}
		root := &world.Disk{UUID: "00000000-0000-4000-8000-" + fmt.Sprintf("%012d", len(c.world.Nodes)), FS: "ext4", Device: "/dev/sda2", Size: 100 << 30}
		c.world.Nodes = append(c.world.Nodes, &world.Node{Name: n.Name, Zone: c.node.Zone, Boot: c.node.Boot, IP: fmt.Sprintf("192.0.2.%d", 11+len(c.world.Nodes)), Bridges: c.node.Bridges,
			Disks: []*world.Disk{root}, PID: 40000, Down: n.Status != "online",
			Mounts: []*world.Mount{{Device: root.Device, UUID: root.UUID, Target: "/", FS: "ext4", Options: "rw"}}})
	}
	resources, err := c.View.Resources(ctx, "vm")
	if err != nil {
		return err
	}
	pools := map[string]*world.Pool{}
	for _, r := range resources {
		if r.Pool != "" {
			if pools[r.Pool] == nil {
				pools[r.Pool] = &world.Pool{ID: r.Pool}
				c.world.Pools = append(c.world.Pools, pools[r.Pool])
			}
			pools[r.Pool].VMs = append(pools[r.Pool].VMs, int(r.VMID))
		}
		if r.Node != c.Name && c.world.Node(r.Node) != nil {
			c.world.Guests = append(c.world.Guests, &world.Guest{VMID: int(r.VMID), Node: r.Node, Qemu: r.Type == "qemu", Text: elsewhere(r)})
		}
	}
	return nil
}

// elsewhere is a config for a guest of another node, of which only its existence counts.
func elsewhere(r proxmox.Resource) string {
	if r.Type == "qemu" {
		return "memory: 512\nname: " + r.Name + "\n"
	}
	return "arch: amd64\nhostname: " + r.Name + "\nmemory: 512\nostype: unmanaged\n"
}

// permissions gives the copy's token what the live one has, path by path.
func (c *copier) permissions(ctx context.Context) error {
	have, err := c.View.Permissions(ctx)
	if err != nil {
		return err
	}
	user, name, ok := strings.Cut(c.TokenID, "!")
	if !ok {
		user, name = "felhom@pve", "agent"
	}
	access := &c.world.Access
	access.Roles = map[string][]string{}
	access.Users = []*world.User{{ID: "root@pam", Password: "pvesim"}}
	token := &world.Token{ID: name, Secret: secret}
	if user == "root@pam" {
		access.Users[0].Tokens = []*world.Token{token}
	} else {
		access.Users = append(access.Users, &world.User{ID: user, Tokens: []*world.Token{token}})
	}
	c.world.Agent = user + "!" + name
	for path, privileges := range have {
		for _, here := range []bool{false, true} { // what propagates, and what does not
			var role []string
			for privilege, propagates := range privileges {
				if propagates != here {
					role = append(role, privilege)
				}
			}
			if len(role) == 0 {
				continue
			}
			slices.Sort(role)
			id := fmt.Sprintf("Copied%d", len(access.Roles))
			access.Roles[id] = role
			for kind, who := range map[string]string{"user": user, "token": c.world.Agent} {
				access.ACL = append(access.ACL, world.ACLEntry{Path: path, Type: kind, ID: who, Role: id, Here: here})
			}
		}
	}
	return nil
}
