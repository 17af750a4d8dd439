package node

import (
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// OnServer reports whether an archive lies on a backup server.
func OnServer(v proxmox.StorageContent) bool { return strings.HasPrefix(v.Format, "pbs-") }

// unfinished reports whether a backup server does not know how large an archive is: its
// backup still runs, or was cut off, or its manifest is damaged.
func unfinished(v proxmox.StorageContent) bool { return OnServer(v) && v.Size <= 1 }

// IsServer reports whether a storage is one of a Proxmox Backup Server.
func (s *StorageState) IsServer() bool { return s != nil && s.Conf.Type == "pbs" }

// ManagedArchives lists the archives on a storage that this agent has made, as their notes say, newest
// first.
func ManagedArchives(o *Observed, storage string) (all []proxmox.StorageContent) {
	if state := o.Storages[storage]; state != nil {
		for _, v := range state.Content {
			if m, ok := o.MarkerOf(v.Notes); ok && m.Owner == o.Owner && v.Content == "backup" && !o.Future(v.CTime) {
				all = append(all, v)
			}
		}
	}
	NewestFirst(all)
	return all
}

// KeyMissing says that this node does not have the key with which a backup server's archive
// is encrypted, or nil.
func KeyMissing(o *Observed, v proxmox.StorageContent) *plan.Blocker {
	if !v.Encrypted {
		return nil
	}
	storage := text.ProxmoxStorage(v.VolID)
	state := o.Storages[storage]
	if state == nil {
		return nil
	}
	key, has := state.Conf.EncryptionKey()
	reason := fmt.Sprintf("the archive of %s on %s is encrypted%s", o.Date(v.CTime), storage, withKey(v.Key))
	fix := fmt.Sprintf("put the key back, from where you keep it: pvesm set %s --encryption-key FILE", storage)
	switch {
	case !has:
		return &plan.Blocker{Reason: fmt.Sprintf("%s, and storage %s has no key on this node", reason, storage), Fix: []string{fix}}
	case key != "" && v.Key != "" && key != v.Key:
		return &plan.Blocker{Reason: fmt.Sprintf("%s, and storage %s has another key (%s)", reason, storage, ShortKey(key)), Fix: []string{fix}}
	}
	return nil
}

func withKey(key string) string {
	if key == "" {
		return ""
	}
	return " with the key " + ShortKey(key)
}

// ShortKey is how Proxmox Backup Server itself abbreviates a fingerprint: its first 8 bytes.
func ShortKey(fingerprint string) string {
	if len(fingerprint) > 23 {
		return fingerprint[:23]
	}
	return fingerprint
}

// VerifiedText says how long ago a backup server has verified an archive: "verified 41 days
// ago"; "" for archives elsewhere.
func VerifiedText(o *Observed, v proxmox.StorageContent) string {
	switch {
	case !OnServer(v):
		return ""
	case v.Verified == "":
		return "never verified"
	case v.VerifiedAt.IsZero() || v.VerifiedAt.After(o.Now):
		return "verified"
	}
	return "verified " + text.Ago(o.Now.Sub(v.VerifiedAt)) + " ago"
}
