package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Defaults are merged map by map; what an object says, or merges itself, wins; a list is replaced. They count in every file.
func TestDefaults(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"defaults.yaml": `defaults:
  guests:
    timeout: 1h
    config: {onboot: true, tags: [lan], startup: {order: 5, up: 10}, net0: {bridge: vmbr0, ip: dhcp}}
`,
		"home.yaml": `x-slow: &slow {timeout: 3h}
guests:
  web: {vmid: 111, config: {cores: 2, startup: {order: 1}, tags: [web, shop]}}
  db: {vmid: 112, timeout: 2h}
  mail: {<<: *slow, vmid: 113, config: {net0: {ip: 10.0.10.13/24}}}
restores:
  alone: {vmid: 114, from: {newest: local}, storage: local}
snapshots:
  daily: {guests: "tag:lan", every: 24h}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := Loader{}.Resolved(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := `restores:
    alone:
        vmid: 114
        from:
            newest: local
        storage: local
guests:
    db:
        vmid: 112
        timeout: 2h
        config:
            onboot: true
            tags: [lan]
            startup:
                order: 5
                up: 10
            net0:
                bridge: vmbr0
                ip: dhcp
    mail:
        vmid: 113
        config:
            net0:
                ip: 10.0.10.13/24
                bridge: vmbr0
            onboot: true
            tags: [lan]
            startup:
                order: 5
                up: 10
        timeout: 3h
    web:
        vmid: 111
        config:
            cores: 2
            startup:
                order: 1
                up: 10
            tags: [web, shop]
            onboot: true
            net0:
                bridge: vmbr0
                ip: dhcp
        timeout: 1h
snapshots:
    daily/db:
        guest: db
        every: 24h
    daily/mail:
        guest: mail
        every: 24h
`
	if string(have) != want {
		t.Errorf("have\n%s\nwant\n%s", have, want)
	}
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if at := d.Guests["web"].At("config.onboot").String(); at != "defaults.yaml:4" {
		t.Errorf("a default is found at %s", at)
	}
	if again := filepath.Join(t.TempDir(), "a.yaml"); os.WriteFile(again, []byte(strings.Replace(want, "daily/db", "daily-db", 1)), 0o644) != nil {
		t.Fatal("not written")
	}
}

// What is anchored in itself, or multiplies, ends.
func TestDefaultsWithoutEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	text := "defaults:\n  guests: &d\n    config: *d\nguests:\n  web: {vmid: 111, config: {cores: 1}}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil {
		t.Error("it is valid")
	}
	if _, err := (Loader{}).Resolved(file); err == nil {
		t.Error("it can be resolved")
	}
}
