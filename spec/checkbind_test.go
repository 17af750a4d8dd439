package spec

import (
	"path/filepath"
	"strings"
	"testing"
)

// A bind in which root of the guest would be root of the host is a mistake, unless root allows it for the folder.
func TestBindIDMap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	for idmap, bad := range map[string]bool{
		"passthrough": true, "u:0:0:1": true, "g:0:99999:1": true, "u:0:100000:65536;g:0:100000:65536": false,
		"u:0:100000:65536;g:0:0:1": true, "u:0:4294967295:2": true, "u:0:99999999999999999999:1": true,
	} {
		for _, where := range []string{"{host: /mnt/tank/photos, mp: /p, idmap: '" + idmap + "'}", "{mount: disk, folder: photos, mp: /p, idmap: '" + idmap + "'}", "'/mnt/tank/photos,mp=/p,idmap=" + idmap + "'"} {
			write(t, path, "mounts: {disk: {uuid: 1234-ABCD, path: /mnt/disk}}\nguests: {a: {vmid: 111, config: {mp0: "+where+"}}}\n")
			_, err := Load(path)
			if (err != nil) != bad || bad && !strings.Contains(err.Error(), "fence.json") {
				t.Errorf("%s: %v", where, err)
			}
			if _, err := (Loader{IDMap: []string{"/mnt/tank/", "/mnt/disk/photos"}}).Load(path); err != nil {
				t.Errorf("%s, allowed: %v", where, err)
			}
			if _, err := (Loader{IDMap: []string{"/mnt/tan", "/mnt/disk/photo"}}).Load(path); (err != nil) != bad {
				t.Errorf("%s, others allowed: %v", where, err)
			}
		}
	}
}

// Where PVE mounts its storages nothing is bound or mounted, unless a root of its own says so.
func TestStoragesAreNoRoot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	for _, text := range []string{
		"guests: {a: {vmid: 111, config: {mp0: {host: /mnt/pve/nas/dump, mp: /p}}}}\n",
		"mounts: {disk: {uuid: 1234-ABCD, path: /mnt/pve/nas}}\n",
	} {
		write(t, path, text)
		for _, roots := range [][]string{nil, {"/mnt"}, {"/"}, {"/mnt/"}} {
			if _, err := (Loader{Roots: roots}).Load(path); err == nil || !strings.Contains(err.Error(), "/mnt/pve") {
				t.Errorf("%q with roots %q: %v", text, roots, err)
			}
		}
		if _, err := (Loader{Roots: []string{"/mnt/pve"}}).Load(path); err != nil {
			t.Errorf("%q, allowed: %v", text, err)
		}
	}
}
