package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// An obstacle is why a storage cannot be used, or seen, now.
type obstacle struct {
	reason string
	cure   []string
	mount  string // the declared mount whose disk this plan is about to mount: wait for it
	passes bool   // it is expected to, by itself
}

// seen says why the content of a storage cannot be known now, or nil. What cannot
// be seen is not absent.
func (p *planner) seen(storage string) *obstacle {
	state := p.have.Storages[storage]
	if deliberate.trustUnseen && state != nil {
		return nil
	}
	if state == nil {
		return &obstacle{
			reason: fmt.Sprintf("storage %s is not to be seen: it does not exist%s, or the token may not see it", storage, p.didYouMean(storage)),
			cure:   []string{fmt.Sprintf("pvesm status; or give the token's role Datastore.Audit: %s", appendPrivilege("Datastore.Audit"))},
		}
	}
	m, mounted := p.have.mountOf(p.want, storage)
	if m != nil && m.Storage == storage && state.Conf.Path != "" && !within(m.Path, state.Conf.Path) {
		return &obstacle{reason: fmt.Sprintf("storage %s lies at %s, and %s at %s", storage, state.Conf.Path, m.Ref, m.Path),
			cure: []string{fmt.Sprintf("name the storage that lies there in %s, or make this one anew: pvesm remove %s; pvesm add dir %s --path %s --content backup --is_mountpoint yes --prune-backups keep-all=1", m.Ref, storage, storage, m.Path)}}
	}
	if m != nil && mounted {
		if ob := p.ejecting(m); ob != nil {
			return ob
		}
	}
	if m != nil && !mounted {
		if p.mounting[m.Ref.Name] {
			return &obstacle{reason: fmt.Sprintf("mounts/%s is not mounted yet", m.Ref.Name), mount: m.Ref.Name}
		}
		why, cure := p.away(m)
		return &obstacle{reason: fmt.Sprintf("storage %s lies on mounts/%s, which is not mounted%s", storage, m.Ref.Name, why), cure: cure}
	}
	if state.Conf.Disabled {
		return &obstacle{reason: fmt.Sprintf("storage %s is disabled", storage), cure: []string{fmt.Sprintf("pvesm set %s --disable 0", storage)}}
	}
	if state.Status == nil || !state.Status.Active {
		return &obstacle{reason: fmt.Sprintf("storage %s is not active", storage), cure: []string{"look: pvesm status"}}
	}
	if state.Err != nil {
		return &obstacle{reason: fmt.Sprintf("storage %s cannot be read: %v", storage, state.Err), cure: cureOf(state.Err, "look: pvesm list "+storage)}
	}
	if !state.Looked {
		return &obstacle{reason: fmt.Sprintf("storage %s was not looked at", storage), cure: []string{"run it again"}}
	}
	return nil
}

// didYouMean names the storage that a mistyped name is like.
func (p *planner) didYouMean(storage string) string {
	if best := spec.Nearest(storage, p.storages()); best != "" {
		return fmt.Sprintf(" (did you mean %s?)", best)
	}
	return ""
}

// allSeen says which storage's content cannot be known, of those that are to hold backups
// of a guest and of all that the token sees.
func (p *planner) allSeen(g *spec.Guest) *obstacle {
	for _, name := range slices.Sorted(maps.Keys(p.want.Backups)) {
		b := p.want.Backups[name]
		if !slices.Contains(p.want.BackupGuests(b), g.Ref.Name) {
			continue
		}
		if o := p.seen(b.Storage); o != nil { // it does not exist, say, or is disabled
			return o
		}
		if o := p.listsBackups(b.Storage); o != nil {
			return o
		}
	}
	for _, id := range p.storages() {
		if state := p.have.Storages[id]; state.Conf.Disabled || !holdsGuestData(state.Conf) {
			continue
		}
		if o := p.seen(id); o != nil {
			return o
		}
		if o := p.visible(id); o != nil {
			return o
		}
	}
	return nil
}

// listsBackups says why a storage that is there lists no backups, whatever lies on it.
func (p *planner) listsBackups(storage string) *obstacle {
	conf := p.have.Storages[storage].Conf
	if slices.Contains(conf.Content, "backup") {
		return nil
	}
	return &obstacle{reason: fmt.Sprintf("storage %s does not list backups (content: %s)", storage, strings.Join(conf.Content, ", ")), cure: contentCure(conf, "backup")}
}

// visible says which right is missing to see what a storage holds: PVE filters its
// lists in silence, so an empty one proves nothing.
func (p *planner) visible(storage string) *obstacle {
	content := p.have.Storages[storage].Conf.Content
	if slices.Contains(content, "backup") {
		if o := p.missing("/storage/"+storage, "Datastore.AllocateSpace"); o != nil {
			return o
		}
	}
	if slices.Contains(content, "rootdir") || slices.Contains(content, "images") {
		return p.missing("/storage/"+storage, "Datastore.Audit")
	}
	return nil
}

func holdsGuestData(s proxmox.Storage) bool {
	return slices.ContainsFunc([]string{"backup", "rootdir", "images"}, func(c string) bool { return slices.Contains(s.Content, c) })
}

func (p *planner) storages() []string {
	return slices.Sorted(maps.Keys(p.have.Storages))
}

// canHold are the kinds of content, of those that matter here, that PVE lets a type of
// storage have (PVE::Storage: plugindata of its plugins). Types of others' plugins are not
// in it.
var canHold = map[string][]string{
	"dir": {"backup", "rootdir"}, "nfs": {"backup", "rootdir"}, "cifs": {"backup", "rootdir"}, "btrfs": {"backup", "rootdir"},
	"cephfs": {"backup"}, "glusterfs": {"backup"}, "pbs": {"backup"},
	"lvm": {"rootdir"}, "lvmthin": {"rootdir"}, "zfspool": {"rootdir"}, "rbd": {"rootdir"},
}

// contentCure is what to do about a storage that does not take a kind of content.
func contentCure(conf proxmox.Storage, content string) []string {
	if !slices.Contains(canHold[conf.Type], content) {
		return []string{fmt.Sprintf("name another storage: one of type %s is not for that", conf.Type)}
	}
	return []string{fmt.Sprintf("name another storage, or: pvesm set %s --content %s", conf.ID, strings.Join(append(slices.Clone(conf.Content), content), ","))}
}

// takesBackups says why a storage cannot take archives of ours, or nil.
func (p *planner) takesBackups(storage string) *obstacle {
	if o := p.seen(storage); o != nil {
		return o
	}
	conf := p.have.Storages[storage].Conf
	if !slices.Contains(conf.Content, "backup") {
		return &obstacle{
			reason: fmt.Sprintf("storage %s does not take backups (content: %s)", storage, strings.Join(conf.Content, ", ")),
			cure:   contentCure(conf, "backup"),
		}
	}
	if prune := conf.PruneBackups; prune != "" && prune != "keep-all=1" {
		return &obstacle{
			reason: fmt.Sprintf("storage %s has its own retention (%s): PVE would delete archives that are not ours, or refuse ours", storage, prune),
			cure:   []string{fmt.Sprintf("set it off: pvesm set %s --prune-backups keep-all=1", storage)},
		}
	}
	for _, m := range p.want.Mounts {
		if m.Storage != storage || !p.have.hasMount(m) {
			continue
		}
		if conf.IsMountpoint == "" || !within(m.Path, conf.Path) {
			return &obstacle{
				reason: fmt.Sprintf("storage %s does not say that %s is a mount point (path %s): with the disk away PVE would fill the root disk", storage, m.Path, conf.Path),
				cure:   []string{fmt.Sprintf("pvesm set %s --is_mountpoint %s", storage, m.Path)},
			}
		}
	}
	if missing := p.missing("/storage/"+storage, "Datastore.AllocateSpace"); missing != nil {
		return missing
	}
	return nil
}

// missing names the first privilege that the token lacks on a path.
func (p *planner) missing(path string, privileges ...string) *obstacle {
	for _, privilege := range privileges {
		if p.have.Permissions.Has(path, privilege) {
			continue
		}
		o := &obstacle{reason: fmt.Sprintf("the token %s lacks %s on %s", p.have.TokenID, privilege, path)}
		if p.have.Permissions.Has("/", privilege) {
			o.cure = []string{fmt.Sprintf("an ACL entry on %s replaces the one on /: pveum acl delete %s --tokens '%s' --roles ROLE (pveum acl list names it)", path, path, p.have.TokenID)}
		} else {
			o.cure = []string{appendPrivilege(privilege)}
		}
		return o
	}
	return nil
}

// appendPrivilege is the line that grants a privilege without hiding others: never
// a new narrow ACL entry, which would replace the role that / gives.
func appendPrivilege(privilege string) string {
	return "pveum role modify FelhomAgent --append 1 --privs " + privilege
}

// cureOf reads the cure out of an error of PVE, with a fallback.
func cureOf(err error, fallback string) []string {
	if proxmox.IsDenied(err) {
		if d := proxmox.DeniedBy(err); d != nil && len(d.Privileges) > 0 {
			return []string{appendPrivilege(d.Privileges[0])}
		}
	}
	return []string{fallback}
}

// holdFor holds an object for an obstacle, or lets it wait for a mount of this plan.
func (p *planner) holdFor(o *spec.Object, field string, ob *obstacle, waiting Later) {
	if ob.mount != "" {
		waiting.Object = o.Ref
		waiting.Waits = fmt.Sprintf("when mounts/%s is mounted", ob.mount)
		p.later(waiting)
		return
	}
	p.hold(o, field, ob.reason, ob.cure...)
}

// disks names the disks of a mount for people.
func disks(m *spec.Mount) string {
	var names []string
	for _, d := range m.UUIDs {
		if d.Label != "" {
			names = append(names, d.Label)
		} else {
			names = append(names, d.UUID)
		}
	}
	return strings.Join(names, " or ")
}
