package pvesim

import (
	"fmt"
	"strings"
	"testing"
)

// A stripped node has what the installer makes, and root's programs set it up again as an administrator would.
func TestANodeIsSetUpAgain(t *testing.T) {
	s := New()
	s.Reinstall()
	s.Strip()
	if s.TokenSecret() != "" {
		t.Error("a stripped node still has the agent's token")
	}
	for _, line := range []string{
		"pvesm add dir usb-backup --path /mnt/usb/backup --content backup --is_mountpoint yes --prune-backups keep-all=1",
		"pveum role add FelhomAgent --privs Datastore.Audit,Sys.Audit",
		"pveum user add felhom@pve --comment felhom-agent",
		"pveum user token add felhom@pve agent --privsep 1 --output-format json",
		"pveum acl modify / --users felhom@pve --roles FelhomAgent",
		"pveum acl modify / --tokens felhom@pve!agent --roles FelhomAgent",
		"pveam download local debian-13-standard_13.1-1_amd64.tar.zst",
		"systemctl enable --now felhom-fence.socket",
		"systemctl is-enabled felhom-fence.socket",
	} {
		out, err := s.Shell("pve1", line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if strings.Contains(line, "token add") && !strings.Contains(out, s.TokenSecret()) {
			t.Errorf("the secret %q is not in %s", s.TokenSecret(), out)
		}
	}
	for line, want := range map[string]string{
		"pvesh get /storage --output-format json":                                           "/mnt/usb/backup",
		"pvesh get /access/acl --output-format json":                                        "felhom@pve!agent",
		"pvesh get /nodes/pve1/storage/local/content --content vztmpl --output-format json": "debian-13-standard",
	} {
		if out, err := s.Shell("pve1", line); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, %s", line, err, out)
		}
	}
	for _, line := range []string{"pvesm add dir usb-backup --path /x", "pvesm add dir other", "pvesm add dir other --path /x --format --frobnicate 1", "pveum role add FelhomAgent --privs Sys.Audit", "systemctl is-enabled felhom-agent"} {
		if _, err := s.Shell("pve1", line); err == nil {
			t.Errorf("%s: it was taken", line)
		}
	}
}

// A kit stays on its disk through a fire, the newest five are kept, and a disk that is not there takes none.
func TestKitsOnADisk(t *testing.T) {
	s := New()
	h := s.Host("pve1")
	if _, err := s.Shell("pve1", "mkdir -p /mnt/usb/backup"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Shell("pve1", "mount /dev/sdb1 /mnt/usb/backup"); err != nil {
		t.Fatal(err)
	}
	for i := range 7 {
		name := fmt.Sprintf("20261122T18000%dZ", i)
		if err := h.KeepKit("/mnt/usb/backup", "pve1", name, map[string][]byte{"README.txt": []byte(name), "desired/a.yaml": nil}, 5); err != nil {
			t.Fatal(err)
		}
	}
	s.Reinstall()
	if _, err := h.ReadDir("/mnt/usb/backup/felhom-recovery/pve1"); err == nil {
		t.Error("the kits of an unmounted disk are visible")
	}
	s.Shell("pve1", "mkdir -p /mnt/usb/backup")
	s.Shell("pve1", "mount -o ro /dev/sdb1 /mnt/usb/backup")
	names, err := h.ReadDir("/mnt/usb/backup/felhom-recovery/pve1")
	if err != nil || len(names) != 5 || names[0] != "20261122T180002Z" {
		t.Errorf("%v, %v", names, err)
	}
	text, err := h.ReadFile("/mnt/usb/backup/felhom-recovery/pve1/20261122T180006Z/README.txt")
	if err != nil || string(text) != "20261122T180006Z" {
		t.Errorf("%q, %v", text, err)
	}
	if err := h.KeepKit("/mnt/usb/backup", "pve1", "20261122T180009Z", nil, 5); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("on a disk that is mounted read-only: %v", err)
	}
}
