package privileged_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/privileged"
)

const fstabGenerator = "/usr/lib/systemd/system-generators/systemd-fstab-generator"

// generated are the units that systemd makes of a fstab with this line: text by path, "link" for links.
func generated(t *testing.T, line string) map[string]string {
	t.Helper()
	if _, err := os.Stat(fstabGenerator); err != nil {
		t.Skipf("skipped: systemd's fstab generator is not installed here: %v", err)
	}
	dir := t.TempDir()
	fstab, out := filepath.Join(dir, "fstab"), filepath.Join(dir, "units")
	if err := os.WriteFile(fstab, []byte("# of this host\n"+line+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(fstabGenerator, out, out, out)
	cmd.Env = []string{"SYSTEMD_FSTAB=" + fstab, "SYSTEMD_LOG_TARGET=console", "SYSTEMD_PROC_CMDLINE=quiet"}
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", fstabGenerator, err, text)
	}
	units := map[string]string{}
	err := filepath.WalkDir(out, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(out, p)
		units[name] = "link"
		if d.Type().IsRegular() {
			text, err := os.ReadFile(p)
			units[name] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return units
}

// has says whether a unit has a line.
func has(unit, line string) bool { return slices.Contains(strings.Split(unit, "\n"), line) }

// What the line in /etc/fstab means is what systemd makes of it: the path that was asked for, whatever characters it has, with nosuid and nodev; and a boot
// that waits for no disk, though the disk has five minutes to come.
func TestFstabLineAsSystemdReadsIt(t *testing.T) {
	for _, at := range []string{"/mnt/usb/backup", "/mnt/my disk", "/mnt/disk#1", "/mnt/my disk #1", `/mnt/a\b`, "/mnt/ü", "/mnt/a'b", "/mnt/a-b", "/mnt/a%b", `/mnt/a"b`} {
		m := privileged.MountSpec{Name: "backup", UUID: blue, Path: at, FSType: "ext4", Options: []string{"noatime"}, Fstab: true}
		var unit, mount string
		for name, text := range generated(t, privileged.FstabEntry(m)) {
			switch {
			case strings.HasSuffix(name, ".mount") && !strings.Contains(name, "/"):
				mount, unit = name, text
			case strings.Contains(name, ".requires/") && strings.HasSuffix(name, ".mount"):
				t.Errorf("%s: the boot needs the disk: %s", at, name)
			}
		}
		// In a unit file, % is written twice (systemd.unit(5), specifiers), and a backslash or a quote may be escaped.
		where := strings.NewReplacer("%", "%%").Replace(at)
		if !has(unit, "Where="+where) && !has(unit, "Where="+strings.ReplaceAll(where, `\`, `\\`)) {
			t.Errorf("%s is mounted elsewhere:\n%s", at, unit)
		}
		if !has(unit, "What=/dev/disk/by-uuid/"+blue) || !has(unit, "Type=ext4") {
			t.Errorf("%s:\n%s", at, unit)
		}
		for _, o := range []string{"nosuid", "nodev", "nofail", "noatime"} {
			if _, options, _ := strings.Cut(unit, "\nOptions="); !slices.Contains(strings.Split(strings.TrimSpace(options), ","), o) {
				t.Errorf("%s: without %s:\n%s", at, o, unit)
			}
		}
		// With nofail the unit is wanted, and not ordered before local-fs.target: systemd.mount(5).
		if strings.Contains(unit, "Before=local-fs.target") || mount == "" {
			t.Errorf("%s: the boot waits for it:\n%s", at, unit)
		}
	}
}

func TestDiskHasFiveMinutesToComeAtBoot(t *testing.T) {
	m := privileged.MountSpec{Name: "backup", UUID: blue, Path: "/mnt/usb/backup", Fstab: true}
	limit := func(line string) string {
		for name, text := range generated(t, line) {
			if strings.HasSuffix(name, ".device.d/50-device-timeout.conf") {
				return text
			}
		}
		return ""
	}
	if text := limit(privileged.FstabEntry(m)); !has(text, "JobRunningTimeoutSec=5min") {
		t.Errorf("the device's limit:\n%s", text)
	}
	m.Options = []string{"x-systemd.device-timeout=30s"}
	if text := limit(privileged.FstabEntry(m)); !has(text, "JobRunningTimeoutSec=30s") {
		t.Errorf("the limit that was asked for:\n%s", text)
	}
}

// The one character that was written in octal and that systemd does not decode.
func TestSystemdDoesNotDecodeAnOctalNumberSign(t *testing.T) {
	for name, unit := range generated(t, "UUID="+blue+` /mnt/disk\0431 ext4 nofail 0 0`) {
		if strings.HasSuffix(name, ".mount") && has(unit, "Where=/mnt/disk#1") {
			t.Errorf("it does now:\n%s", unit)
		}
	}
}
