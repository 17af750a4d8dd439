package questions

import (
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// DidYouMean names the storage that a mistyped name is like.
func DidYouMean(q Questions, storage string) string {
	if best := spec.Nearest(storage, Storages(q)); best != "" {
		return fmt.Sprintf(" (did you mean %s?)", best)
	}
	return ""
}

// ListsBackups says why a storage that is there lists no backups, whatever lies on it.
func ListsBackups(q Questions, storage string) *plan.Blocker {
	conf := q.Have.Storages[storage].Conf
	if slices.Contains(conf.Content, "backup") {
		return nil
	}
	return &plan.Blocker{Reason: fmt.Sprintf("storage %s does not list backups (content: %s)", storage, strings.Join(conf.Content, ", ")), Fix: ContentFix(conf, "backup")}
}

// Visible says which right is missing to see what a storage holds: PVE filters its
// lists in silence, so an empty one proves nothing.
func Visible(q Questions, storage string) *plan.Blocker {
	content := q.Have.Storages[storage].Conf.Content
	if slices.Contains(content, "backup") {
		if o := Missing(q, "/storage/"+storage, "Datastore.AllocateSpace"); o != nil {
			return o
		}
	}
	if slices.Contains(content, "rootdir") || slices.Contains(content, "images") {
		return Missing(q, "/storage/"+storage, "Datastore.Audit")
	}
	return nil
}

func Storages(q Questions) []string {
	return text.Keys(q.Have.Storages)
}

// canHold are the kinds of content, of those that matter here, that PVE lets a type of
// storage have (PVE::Storage: plugindata of its plugins). Types of others' plugins are not
// in it.
var canHold = map[string][]string{
	"dir": {"backup", "images", "rootdir"}, "nfs": {"backup", "images", "rootdir"}, "cifs": {"backup", "images", "rootdir"}, "btrfs": {"backup", "images", "rootdir"},
	"cephfs": {"backup"}, "glusterfs": {"backup"}, "pbs": {"backup"},
	"lvm": {"images", "rootdir"}, "lvmthin": {"images", "rootdir"}, "zfspool": {"images", "rootdir"}, "rbd": {"images", "rootdir"},
}

// ContentFix is what to do about a storage that does not take a kind of content.
func ContentFix(conf proxmox.Storage, content string) []string {
	if !slices.Contains(canHold[conf.Type], content) {
		return []string{fmt.Sprintf("name another storage: one of type %s is not for that", conf.Type)}
	}
	return []string{fmt.Sprintf("name another storage, or: pvesm set %s --content %s", conf.ID, strings.Join(append(slices.Clone(conf.Content), content), ","))}
}

// Missing names the first privilege that the token lacks on a path.
func Missing(q Questions, path string, privileges ...string) *plan.Blocker {
	for _, privilege := range privileges {
		if q.Have.Permissions.Has(path, privilege) {
			continue
		}
		o := &plan.Blocker{Reason: fmt.Sprintf("the token %s lacks %s on %s", q.Have.TokenID, privilege, path)}
		if q.Have.Permissions.Has("/", privilege) {
			o.Fix = []string{fmt.Sprintf("an ACL entry on %s replaces the one on /: pveum acl delete %s --tokens '%s' --roles ROLE (pveum acl list names it)", path, path, q.Have.TokenID)}
		} else {
			o.Fix = []string{AppendPrivilege(privilege)}
		}
		return o
	}
	return nil
}

// AppendPrivilege is the line that grants a privilege without hiding others: never
// a new narrow ACL entry, which would replace the role that / gives.
func AppendPrivilege(privilege string) string {
	return "pveum role modify FelhomAgent --append 1 --privs " + privilege
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
