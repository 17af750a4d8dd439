package kit

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// common are the options that every type of storage has.
var common = []string{"content", "nodes", "shared", "disable", "prune-backups", "max-protected-backups"}

// storageTypes are the types of storages that a recovery creates, with their options. None of these is a secret.
var storageTypes = map[string][]string{
	"dir":     {"path", "is_mountpoint", "mkdir", "create-base-path", "create-subdirs", "content-dirs", "preallocation", "format"},
	"btrfs":   {"path", "is_mountpoint", "mkdir", "nocow", "preallocation"},
	"nfs":     {"server", "export", "path", "options", "preallocation", "create-subdirs", "content-dirs"},
	"cifs":    {"server", "share", "username", "domain", "smbversion", "subdir", "path", "options", "preallocation"},
	"pbs":     {"server", "datastore", "username", "fingerprint", "port", "namespace"},
	"lvm":     {"vgname", "base", "saferemove", "tagged_only"},
	"lvmthin": {"vgname", "thinpool"},
	"zfspool": {"pool", "blocksize", "sparse", "mountpoint"},
}

// systemFolders are no place for a storage that a kit of unknown origin asks for.
var systemFolders = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr", "/var"}

// StorageOf is a storage by the answer of PVE's API.
func StorageOf(raw map[string]string) Storage {
	options := maps.Clone(raw)
	maps.DeleteFunc(options, func(key, _ string) bool {
		return key == "storage" || key == "type" || key == "digest" || key == "encryption-key"
	})
	return Storage{ID: raw["storage"], Type: raw["type"], Options: options, Key: fingerprintOf(raw["encryption-key"])}
}

// public is a storage with the options that are known to be no secret.
func (s Storage) public() Storage {
	known := slices.Concat(common, storageTypes[s.Type])
	options := maps.Clone(s.Options)
	maps.DeleteFunc(options, func(key, _ string) bool { return !slices.Contains(known, key) })
	s.Options = options
	return s
}

// Args are the arguments of pvesm that create a storage.
func (s Storage) Args() []string {
	args := []string{"add", s.Type, s.ID}
	for _, key := range slices.Sorted(maps.Keys(s.Options)) {
		args = append(args, "--"+key, s.Options[key])
	}
	return args
}

// NeedsPassword reports whether a storage cannot be reached without one.
func (s Storage) NeedsPassword() bool {
	return s.Type == "pbs" || s.Type == "cifs" && s.Options["username"] != ""
}

// Differs names the options in which what a node has is not what the kit says, as "content: backup here, backup,iso in the kit"; empty where the
// two are the same.
func (s Storage) Differs(have Storage) []string {
	if s.Type != have.Type {
		return []string{fmt.Sprintf("type: %s here, %s in the kit", have.Type, s.Type)}
	}
	var differ []string
	have = have.public()
	all := maps.Clone(s.Options)
	maps.Copy(all, have.Options)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		a, b := have.Options[key], s.Options[key]
		if key == "content" || key == "nodes" {
			a, b = sorted(a), sorted(b)
		}
		if a != b {
			differ = append(differ, fmt.Sprintf("%s: %s here, %s in the kit", key, orUnset(a), orUnset(b)))
		}
	}
	if s.Key != have.Key {
		differ = append(differ, fmt.Sprintf("encryption key: %s here, %s in the kit", orUnset(have.Key), orUnset(s.Key)))
	}
	return differ
}

func sorted(list string) string {
	words := strings.Split(list, ",")
	slices.Sort(words)
	return strings.Join(words, ",")
}

func orUnset(s string) string {
	if s == "" {
		return "(unset)"
	}
	return s
}

var storageID = regexp.MustCompile(`\A[A-Za-z][A-Za-z0-9._-]{0,98}[A-Za-z0-9]\z`)

// check says what is wrong with a storage of a kit, or nothing.
func (s Storage) check() string {
	known, ok := storageTypes[s.Type]
	switch {
	case !storageID.MatchString(s.ID):
		return fmt.Sprintf("invalid storage name %q", clip(s.ID))
	case !ok:
		return fmt.Sprintf("storage %s has the unknown type %q: create it by hand", s.ID, clip(s.Type))
	}
	for _, key := range slices.Sorted(maps.Keys(s.Options)) {
		value := s.Options[key]
		switch {
		case !slices.Contains(known, key) && !slices.Contains(common, key):
			return fmt.Sprintf("storage %s has the unknown option %q", s.ID, clip(key))
		case value == "" || len(value) > 1024 || strings.HasPrefix(value, "-") || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return fmt.Sprintf("storage %s has the invalid value %q for %s", s.ID, clip(value), key)
		}
	}
	if s.Key != "" && (s.Type != "pbs" || s.Key != fingerprintOf(s.Key)) {
		return fmt.Sprintf("storage %s has the invalid fingerprint %q of an encryption key", s.ID, clip(s.Key))
	}
	if at := s.Options["path"]; at != "" {
		if !path.IsAbs(at) || path.Clean(at) != at || at == "/" {
			return fmt.Sprintf("storage %s has the invalid path %q", s.ID, clip(at))
		}
		for _, dir := range systemFolders {
			if (at == dir || strings.HasPrefix(at, dir+"/")) && at != "/var/lib/vz" && !strings.HasPrefix(at, "/var/lib/vz/") {
				return fmt.Sprintf("storage %s has the path %s in a directory of the system", s.ID, clip(at))
			}
		}
	}
	return ""
}

// clip is a text of a kit as a message shows it.
func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}
