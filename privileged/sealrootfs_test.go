package privileged

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree makes files (name ends in no slash), directories (a slash) and links ("name -> target"). It works through [os.Root]: what one name planted as a link
// can never lead the next one out of root.
func tree(t testing.TB, dir string, names ...string) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range names {
		link, target, isLink := strings.Cut(name, " -> ")
		if err := root.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch {
		case isLink:
			err = root.Symlink(target, link)
		case strings.HasSuffix(name, "/"):
			err = root.MkdirAll(strings.TrimSuffix(link, "/"), 0o755)
		default:
			err = root.WriteFile(link, []byte("secret of "+name), 0o600)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func sealed(t *testing.T, dir string) ([]string, error) {
	t.Helper()
	return NewMachine(dir).SealRootfs(t.Context(), "/")
}

func TestSealKinds(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  string // what it says it did
	}{
		"debian": {[]string{"etc/machine-id", "var/lib/dbus/machine-id -> /etc/machine-id", "etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub", "etc/ssh/sshd_config", "usr/lib/systemd/systemd", "usr/bin/ssh-keygen", "lib -> usr/lib"},
			"machine-id is empty; 2 SSH host key files are gone; new SSH host keys are made at the first boot"},
		"debian without ssh": {[]string{"etc/machine-id", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "usr/lib/systemd/systemd"},
			"machine-id is empty; D-Bus machine-id is gone; random-seed is gone"},
		"alpine":        {[]string{"etc/os-release", "etc/ssh/ssh_host_ed25519_key", "etc/dropbear/dropbear_rsa_host_key", "usr/bin/ssh-keygen"}, "2 SSH host key files are gone"},
		"no machine-id": {[]string{"etc/", "usr/lib/systemd/systemd"}, "machine-id is empty"},
		"bare":          {[]string{"etc/"}, ""},
	} {
		dir := t.TempDir()
		tree(t, dir, c.files...)
		for _, again := range []string{"once", "again"} {
			done, err := sealed(t, dir)
			if err != nil {
				t.Fatalf("%s %s: %v", name, again, err)
			}
			if got := strings.Join(done, "; "); again == "once" && got != c.want {
				t.Errorf("%s: %s; want %s", name, got, c.want)
			}
		}
		if data, err := os.ReadFile(dir + "/etc/machine-id"); err == nil && len(data) > 0 {
			t.Errorf("%s: machine-id is %q", name, data)
		}
		if keys, _ := filepath.Glob(dir + "/etc/*/*host*key*"); len(keys) > 0 {
			t.Errorf("%s: %q", name, keys)
		}
	}
	if _, err := sealed(t, t.TempDir()); err == nil {
		t.Error("a directory that is no root file system was sealed")
	}
}

// A container whose owner expects the seal: every way that a link could lead root out of it.
func TestSealStaysInside(t *testing.T) {
	outside := t.TempDir()
	tree(t, outside, "machine-id", "ssh_host_rsa_key", "random-seed", "system/")
	before := listing(t, outside)
	for _, trap := range [][]string{
		{"etc -> " + outside},
		{"etc -> ../../" + filepath.Base(outside)},
		{"etc/ssh -> " + outside},
		{"etc/ssh/x -> y", "etc/dropbear -> ../../../../../../../../" + outside},
		{"etc/machine-id -> " + outside + "/machine-id"},
		{"etc/machine-id/inside/"},
		{"etc/ssh/ssh_host_rsa_key -> " + outside + "/ssh_host_rsa_key"},
		{"etc/ssh/ssh_host_rsa_key/"},
		{"etc/systemd/system -> " + outside + "/system"},
		{"etc/systemd/system/multi-user.target.wants -> " + outside},
		{"etc/systemd/system/felhom-ssh-host-keys.service -> " + outside + "/machine-id"},
		{"etc/systemd/system/multi-user.target.wants/felhom-ssh-host-keys.service -> " + outside + "/machine-id"},
		{"etc/x", "var/lib/systemd -> " + outside},
		{"etc/x", "var/lib/dbus -> " + outside},
		{"etc/x", "var -> /"},
		{"etc/x", "usr/bin -> " + outside, "usr/lib -> " + outside},
	} {
		dir := t.TempDir()
		if !strings.Contains(strings.Join(trap, " "), "usr/") {
			trap = append(trap, "usr/lib/systemd/systemd", "usr/bin/ssh-keygen")
		}
		tree(t, dir, trap...)
		done, err := sealed(t, dir)
		if after := listing(t, outside); after != before {
			t.Fatalf("%q: it left the container (%q, %v):\n%s", trap, done, err, after)
		}
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	b := testBox{t: t, root: dir}
	return b.world()
}
