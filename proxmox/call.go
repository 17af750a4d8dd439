package proxmox

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Params are the parameters of a call, as PVE takes them: text, numbers in
// decimal, booleans as 1 and 0.
type Params map[string]string

// Call is one request that changes something and has not been sent. It is
// plain data: it can be shown, stored, compared and sent later with
// Client.Do. Calls are built by the methods of On(node).
type Call struct {
	Method string `json:"method"`
	// Path is below /api2/json and not escaped.
	Path   string `json:"path"`
	Params Params `json:"params,omitempty"`
}

// String is the call for people, on one line, its parameters by name.
func (c Call) String() string {
	var b strings.Builder
	b.WriteString(c.Method + " " + c.Path)
	for _, key := range slices.Sorted(maps.Keys(c.Params)) {
		value := c.Params[key]
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r == '"' || r <= ' ' || r == 0x7f }) {
			value = strconv.Quote(value)
		}
		b.WriteString(" " + key + "=" + value)
	}
	return b.String()
}

// Key identifies the call: two calls have the same key exactly when they are
// the same request.
func (c Call) Key() string {
	key := c.Method + " " + (&url.URL{Path: c.Path}).EscapedPath()
	if len(c.Params) > 0 {
		key += "?" + c.Params.encode()
	}
	return key
}

// check refuses what PVE would take for another call than the one that was
// meant: it skips empty parts of a path, so that a missing name would move the
// rest of the path up.
func (c Call) check() error {
	switch c.Method {
	case "POST", "PUT", "DELETE":
	default:
		return fmt.Errorf("%s is not a call that changes something, it is not sent: read with a View", c)
	}
	if digest, ok := c.Params["digest"]; ok && digest == "" { // PVE compares none then (measured, 9.2.11)
		return fmt.Errorf("%s is not sent: its digest is empty, so PVE would not check it", c)
	}
	path, absolute := strings.CutPrefix(c.Path, "/")
	if !absolute {
		return fmt.Errorf("%s is not sent: its path does not begin with /", c)
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, unicode.IsControl) {
			return fmt.Errorf("%s is not sent: a name in its path is empty or none", c)
		}
	}
	return nil
}

// Async tells whether PVE answers with a task (a UPID) that does the work
// afterwards. The others, all PUTs but that of a resize and the stopping of a
// task, are done when they are answered.
func (c Call) Async() bool {
	switch c.Method {
	case "PUT":
		return strings.HasSuffix(c.Path, "/resize")
	case "DELETE":
		return !strings.Contains(c.Path, "/tasks/")
	}
	return true
}

func (p Params) encode() string {
	values := url.Values{}
	for key, value := range p {
		values.Set(key, value)
	}
	return values.Encode()
}

// set adds a parameter unless it is empty.
func (p Params) set(key, value string) {
	if value != "" {
		p[key] = value
	}
}

func (p Params) setBool(key string, value *bool) {
	if value != nil {
		p[key] = boolText(*value)
	}
}

func boolText(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// Builder builds the calls to one node.
type Builder struct {
	node string
	kind GuestType
}

// On builds calls to the node of that name. A guest is reached on the node
// where it lives, a storage on any node that has it.
func On(node string) Builder { return Builder{node: node} }

// Of builds calls to guests of a type; without it they are containers.
func (b Builder) Of(t GuestType) Builder {
	b.kind = t
	return b
}

func (b Builder) path(parts ...string) string {
	return "/nodes/" + b.node + "/" + strings.Join(parts, "/")
}

func (b Builder) guest(vmid VMID, parts ...string) string {
	return b.path(append([]string{b.kind.String(), vmid.String()}, parts...)...)
}

// RestoreSpec is a container made of a backup archive.
type RestoreSpec struct {
	VMID    VMID
	Archive string // volume id of the archive
	// Storage receives the volumes that are not named below. Empty means PVE's
	// default, local, which often cannot hold containers.
	Storage string
	// RootFS is the value of rootfs, such as local-lvm:16 (see NewVolume).
	// Empty: all volumes of the archive come back in their old sizes. Given:
	// only the mount points given here exist afterwards, all others of the
	// archive are dropped (PVE: LXC/Create).
	RootFS      string
	MountPoints map[int]string // values of mpN; PVE wants RootFS with them
	// Config overrides keys of the archive's config.
	Config       map[string]string
	Unprivileged *bool // nil: as in the archive
	Pool         string
}

// RestoreLXC makes a container of an archive. It never replaces an existing
// one: PVE's force destroys that before it unpacks, so it is not offered.
// Neither is start, which runs as a second task whose end nobody would see.
func (b Builder) RestoreLXC(s RestoreSpec) Call {
	p := Params{}
	for key, value := range s.Config {
		p[key] = value
	}
	p["vmid"], p["ostemplate"], p["restore"] = s.VMID.String(), s.Archive, "1"
	p.set("storage", s.Storage)
	p.set("rootfs", s.RootFS)
	for n, value := range s.MountPoints {
		p["mp"+strconv.Itoa(n)] = value
	}
	p.setBool("unprivileged", s.Unprivileged)
	p.set("pool", s.Pool)
	return Call{"POST", b.path("lxc"), p}
}

// RestoreVM makes a virtual machine of an archive, with the drives of the archive: PVE lets
// nobody choose their sizes or leave one out (PVE: API2/Qemu, create_vm). RootFS, MountPoints
// and Unprivileged of the spec are of containers and are not sent. force, unique, start and
// live-restore are never: the first destroys before it reads, the last runs the guest before
// its data is there.
func (b Builder) RestoreVM(s RestoreSpec) Call {
	p := Params{}
	for key, value := range s.Config {
		p[key] = value
	}
	p["vmid"], p["archive"] = s.VMID.String(), s.Archive
	p.set("storage", s.Storage)
	p.set("pool", s.Pool)
	return Call{"POST", b.path("qemu"), p}
}

// VzdumpSpec is one backup run. Empty fields are left to PVE's defaults, which
// are mode snapshot and no compression.
type VzdumpSpec struct {
	VMIDs    []VMID
	Storage  string
	Mode     string // snapshot, suspend or stop
	Compress string // zstd, gzip, lzo or 0
	// NotesTemplate becomes the archive's notes, written after the archive.
	// PVE wants Storage with it. See NotesTemplate for plain text.
	NotesTemplate    string
	NotificationMode string // auto, legacy-sendmail or notification-system
	MailTo           string
	// Remove lets PVE prune by the storage's own rules after the backup. Nil
	// is false here, although PVE's own default is true.
	Remove    *bool
	Protected *bool
	// ChangeDetection is legacy, data or metadata; only backup servers heed it.
	ChangeDetection string
}

// Vzdump backs guests up. PVE answers "OK" instead of a task when none of them
// lives on this node; Client.Do returns the zero UPID then. A guest that fails
// makes the whole task end as "job errors".
func (b Builder) Vzdump(s VzdumpSpec) Call {
	ids := make([]string, len(s.VMIDs))
	for i, id := range s.VMIDs {
		ids[i] = id.String()
	}
	p := Params{"vmid": strings.Join(ids, ","), "remove": "0"}
	p.set("storage", s.Storage)
	p.set("mode", s.Mode)
	p.set("compress", s.Compress)
	p.set("notes-template", s.NotesTemplate)
	p.set("notification-mode", s.NotificationMode)
	p.set("mailto", s.MailTo)
	p.setBool("remove", s.Remove)
	p.setBool("protected", s.Protected)
	p.set("pbs-change-detection-mode", s.ChangeDetection)
	return Call{"POST", b.path("vzdump"), p}
}

// NotesTemplate writes text as a notes template of vzdump, which is one line:
// newlines and backslashes are escaped. Variables such as {{vmid}} stay.
func NotesTemplate(text string) string {
	return notesEscaper.Replace(text)
}

var notesEscaper = strings.NewReplacer("\\", `\\`, "\n", `\n`)

// Snapshot takes a snapshot; a running guest stands still while it is taken.
// All refusals come from the task.
func (b Builder) Snapshot(vmid VMID, name, description string) Call {
	p := Params{"snapname": name}
	p.set("description", description)
	return Call{"POST", b.guest(vmid, "snapshot"), p}
}

// DeleteSnapshot removes a snapshot.
func (b Builder) DeleteSnapshot(vmid VMID, name string) Call {
	return Call{"DELETE", b.guest(vmid, "snapshot", name), nil}
}

// Rollback takes the guest back to a snapshot: its volumes and its config but
// the description. A running guest is killed first and stays stopped.
func (b Builder) Rollback(vmid VMID, name string) Call {
	return Call{"POST", b.guest(vmid, "snapshot", name, "rollback"), nil}
}

// SetSnapshotDescription rewrites a snapshot's description, at once.
func (b Builder) SetSnapshotDescription(vmid VMID, name, description string) Call {
	return Call{"PUT", b.guest(vmid, "snapshot", name, "config"), Params{"description": description}}
}

// ConfigChange is a change of a guest's config: values to set, keys to delete
// and, unless empty, the digest that the config must still have.
type ConfigChange struct {
	Set    map[string]string
	Delete []string
	Digest string
}

// SetConfig changes a guest's config: that of a container at once, that of a virtual machine
// by a task. What a running guest cannot take becomes pending until it is started the next
// time.
func (b Builder) SetConfig(vmid VMID, change ConfigChange) Call {
	p := Params{}
	for key, value := range change.Set {
		p[key] = value
	}
	p.set("delete", strings.Join(slices.Sorted(slices.Values(change.Delete)), ","))
	p.set("digest", change.Digest)
	if b.kind.VM() {
		return Call{"POST", b.guest(vmid, "config"), p}
	}
	return Call{"PUT", b.guest(vmid, "config"), p}
}

// Start starts the guest and applies its pending changes first.
func (b Builder) Start(vmid VMID) Call {
	return Call{"POST", b.guest(vmid, "status", "start"), nil}
}

// Stop kills the guest's processes.
func (b Builder) Stop(vmid VMID) Call {
	return Call{"POST", b.guest(vmid, "status", "stop"), nil}
}

// Shutdown asks the guest to end; the task fails when it has not within
// timeout, counted in whole seconds (0: PVE's 60 s). Until then it holds the
// lock of the guest's config.
func (b Builder) Shutdown(vmid VMID, timeout time.Duration) Call {
	p := Params{}
	if timeout > 0 {
		p["timeout"] = strconv.FormatInt(int64((timeout+time.Second-1)/time.Second), 10)
	}
	return Call{"POST", b.guest(vmid, "status", "shutdown"), p}
}

// Resize grows a volume (rootfs or mpN, a drive of a virtual machine) to a size. PVE refuses to shrink, and
// also the size that it has already.
func (b Builder) Resize(vmid VMID, disk string, size Size) Call {
	return Call{"PUT", b.guest(vmid, "resize"), Params{"disk": disk, "size": size.String()}}
}

// DeleteVolume deletes an archive or any other volume by its id. Deleting an
// archive that is already gone succeeds.
func (b Builder) DeleteVolume(volid string) Call {
	return Call{"DELETE", b.volume(volid), nil}
}

// SetNotes replaces the notes of an archive, at once; empty notes remove them.
func (b Builder) SetNotes(volid, notes string) Call {
	return Call{"PUT", b.volume(volid), Params{"notes": notes}}
}

func (b Builder) volume(volid string) string {
	storage, _, _ := strings.Cut(volid, ":")
	return b.path("storage", storage, "content", volid)
}

// RestoreLXC sends Builder.RestoreLXC.
func (c *Client) RestoreLXC(ctx context.Context, node string, s RestoreSpec) (UPID, error) {
	return c.Do(ctx, On(node).RestoreLXC(s))
}

// Vzdump sends Builder.Vzdump.
func (c *Client) Vzdump(ctx context.Context, node string, s VzdumpSpec) (UPID, error) {
	return c.Do(ctx, On(node).Vzdump(s))
}

// Snapshot sends Builder.Snapshot.
func (c *Client) Snapshot(ctx context.Context, node string, vmid VMID, name, description string) (UPID, error) {
	return c.Do(ctx, On(node).Snapshot(vmid, name, description))
}

// DeleteSnapshot sends Builder.DeleteSnapshot.
func (c *Client) DeleteSnapshot(ctx context.Context, node string, vmid VMID, name string) (UPID, error) {
	return c.Do(ctx, On(node).DeleteSnapshot(vmid, name))
}

// Rollback sends Builder.Rollback.
func (c *Client) Rollback(ctx context.Context, node string, vmid VMID, name string) (UPID, error) {
	return c.Do(ctx, On(node).Rollback(vmid, name))
}

// SetSnapshotDescription sends Builder.SetSnapshotDescription.
func (c *Client) SetSnapshotDescription(ctx context.Context, node string, vmid VMID, name, description string) (UPID, error) {
	return c.Do(ctx, On(node).SetSnapshotDescription(vmid, name, description))
}

// SetConfig sends Builder.SetConfig; the UPID is zero.
func (c *Client) SetConfig(ctx context.Context, node string, vmid VMID, change ConfigChange) (UPID, error) {
	return c.Do(ctx, On(node).SetConfig(vmid, change))
}

// Start sends Builder.Start.
func (c *Client) Start(ctx context.Context, node string, vmid VMID) (UPID, error) {
	return c.Do(ctx, On(node).Start(vmid))
}

// Stop sends Builder.Stop.
func (c *Client) Stop(ctx context.Context, node string, vmid VMID) (UPID, error) {
	return c.Do(ctx, On(node).Stop(vmid))
}

// Shutdown sends Builder.Shutdown.
func (c *Client) Shutdown(ctx context.Context, node string, vmid VMID, timeout time.Duration) (UPID, error) {
	return c.Do(ctx, On(node).Shutdown(vmid, timeout))
}

// Resize sends Builder.Resize.
func (c *Client) Resize(ctx context.Context, node string, vmid VMID, disk string, size Size) (UPID, error) {
	return c.Do(ctx, On(node).Resize(vmid, disk, size))
}

// DeleteVolume sends Builder.DeleteVolume.
func (c *Client) DeleteVolume(ctx context.Context, node, volid string) (UPID, error) {
	return c.Do(ctx, On(node).DeleteVolume(volid))
}

// SetNotes sends Builder.SetNotes; the UPID is zero.
func (c *Client) SetNotes(ctx context.Context, node, volid, notes string) (UPID, error) {
	return c.Do(ctx, On(node).SetNotes(volid, notes))
}
