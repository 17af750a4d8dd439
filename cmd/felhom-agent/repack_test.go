package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestRepack: what is made again from an installed package is that package, whatever was edited since.
func TestRepack(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("dpkg-deb"); err != nil || os.Geteuid() != 0 {
		t.Skip("it needs dpkg and root")
	}
	dir := t.TempDir()
	repack, err := filepath.Abs("packaging/repack")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"tree/DEBIAN/control":              "Package: felhom-agent\nVersion: 1.2.3~dev\nArchitecture: amd64\nMaintainer: x <x@example.com>\nSection: admin\nDescription: a test\n of two lines\n",
		"tree/DEBIAN/conffiles":            "/etc/felhom-agent/agent.yaml\n/etc/sudoers.d/felhom-agent\n",
		"tree/DEBIAN/postinst":             "#!/bin/sh\nexit 0\n",
		"tree/usr/bin/felhom-agent":        "a program",
		"tree/etc/felhom-agent/agent.yaml": "url: https://127.0.0.1:8006\n", "tree/usr/share/felhom-agent/original/agent.yaml": "url: https://127.0.0.1:8006\n",
		"tree/etc/sudoers.d/felhom-agent": "felhom-agent ALL\n", "tree/usr/share/felhom-agent/original/sudoers": "felhom-agent ALL\n",
	} {
		at := filepath.Join(dir, name)
		mode := os.FileMode(0o644)
		if filepath.Base(at) == "postinst" || filepath.Base(filepath.Dir(at)) == "bin" {
			mode = 0o755
		}
		os.MkdirAll(filepath.Dir(at), 0o755)
		if err := os.WriteFile(at, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	script := `set -e; cd "$1"; umask 022; chmod 440 tree/etc/sudoers.d/felhom-agent
dpkg-deb --root-owner-group -b tree first.deb >/dev/null
mkdir -p root/var/lib/dpkg/updates root/var/lib/dpkg/info; touch root/var/lib/dpkg/status
dpkg --root="$1/root" --force-script-chrootless --log=/dev/null --unpack first.deb >/dev/null
echo 'token_secret: 1d1f0a52-3c7e-4b8f-9a16-2e5d7c0b4f83' >>root/etc/felhom-agent/agent.yaml
"$2" "$1/out" "$1/root"
diff <(dpkg-deb -c first.deb | awk '{print $1, $2, $3 * ($1 !~ /^d/), $6}') <(dpkg-deb -c out/felhom-agent_1.2.3~dev_amd64.deb | awk '{print $1, $2, $3 * ($1 !~ /^d/), $6}')
diff <(dpkg-deb -f first.deb | sort) <(dpkg-deb -f out/felhom-agent_1.2.3~dev_amd64.deb | sort)
! dpkg-deb --fsys-tarfile out/*.deb | grep -a 1d1f0a52`
	if out, err := exec.Command("bash", "-c", script, "bash", dir, repack).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
