package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/recovery"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

const chrootYAML = `golden:
  debian: {vmid: 9000, template: "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", rootfs: {storage: local, size: 8G}}
guests:
  web: {vmid: 112, from: {newest: disk}}
backups:
  nightly: {guests: all, storage: disk, at: "02:30", keep: {daily: 7}}
`

// chroot is a host that has nothing but stubs of PVE's programs, and a kit in /mnt/disk.
func chroot(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a chroot needs root")
	}
	if reconciletest.RaceDetector {
		t.Skip("a run without the race detector builds the programs of the chroot")
	}
	dir := t.TempDir()
	for to, from := range map[string]string{"usr/bin/felhom-agent": ".", "usr/sbin/felhom-fence": "../felhom-fence", "usr/sbin/pvesm": "./testdata/pvestub"} {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, to), from)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, folder := range []string{"proc/1", "proc/self", "etc/pve/nodes/pve1", "etc/felhom-agent", "tmp", "run", "dev", "mnt/disk", "var/lib/felhom-agent"} {
		os.MkdirAll(filepath.Join(dir, folder), 0o755)
	}
	for link, to := range map[string]string{"usr/sbin/pveum": "pvesm", "usr/bin/pveam": "../sbin/pvesm", "usr/bin/pvesh": "../sbin/pvesm", "usr/bin/systemctl": "../sbin/pvesm",
		"usr/sbin/blkid": "pvesm", "usr/bin/agent": "../sbin/pvesm", "proc/self/exe": "/usr/bin/agent", "etc/pve/local": "nodes/pve1"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mknod(filepath.Join(dir, "dev/null"), syscall.S_IFCHR|0o666, 1<<8|3); err != nil {
		t.Skipf("a chroot needs /dev/null: %v", err)
	}
	files, err := kit.Build(kit.Facts{Node: "pve1", Owner: "pve1", PVE: "9.2.11", Version: "1", Token: "felhom@pve!agent", Role: recovery.Role, Bridges: []string{"vmbr0"},
		Guests: []kit.Guest{{Name: "web", VMID: 112}},
		Storages: []kit.Storage{{ID: "disk", Type: "dir", Options: map[string]string{"path": "/mnt/disk", "content": "backup", "prune-backups": "keep-all=1"}},
			{ID: "offsite", Type: "pbs", Options: map[string]string{"server": "192.0.2.9", "datastore": "home", "username": "felhom@pbs!pve1"}, Key: keyPrintOf}},
		Templates: []kit.Template{{Volume: "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"}}},
		time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC), map[string][]byte{"home.yaml": []byte(chrootYAML)}, []byte("url: https://127.0.0.1:8006\nca: /ca\nrunner: socket\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"proc/partitions": "", "tmp/password": offsitePassword + "\n", "tmp/key": offsiteKey(0) + "}", "proc/1/mountinfo": "22 1 8:2 / / rw,relatime - ext4 /dev/sda2 rw\n", "etc/fstab": "",
		"state.json": `{"Storages":[{"storage":"local","type":"dir","path":"/var/lib/vz"}]}`, "etc/felhom-agent/agent.yaml": "# as the package brings it\n"} {
		os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
	}
	files[privileged.KitSums] = privileged.Sums(files)
	for name, text := range files {
		at := filepath.Join(dir, "mnt/disk/felhom-recovery/pve1/20261122T180000Z", name)
		os.MkdirAll(filepath.Dir(at), 0o755)
		if err := os.WriteFile(at, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What kills a recovery does not kill the program that it waits for: pvesm ends what it has begun, and the next recovery goes on from there.
func TestRecoverInAChrootIsKilled(t *testing.T) {
	t.Parallel()
	dir := chroot(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	await := func(name string) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(at(name)); err == nil {
				return
			}
		}
		t.Fatalf("there never was a file %s", name)
	}
	start := func() *exec.Cmd {
		cmd := exec.Command("/usr/bin/felhom-agent", "--recover", "/mnt/disk", "--yes")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
		cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin", "TMPDIR=/tmp"}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	os.WriteFile(at("slow"), nil, 0o600)
	killed := start()
	await("started")
	killed.Process.Kill()
	killed.Wait()
	os.Remove(at("ended"))
	os.WriteFile(at("go"), nil, 0o600)
	await("ended")
	again := start()
	if again.Wait(); again.ProcessState.ExitCode() != 3 { // the stub of the agent brings nothing back
		t.Errorf("exit code %d", again.ProcessState.ExitCode())
	}
	calls, _ := os.ReadFile(at("calls"))
	if strings.Count(string(calls), "pvesm add dir disk") != 1 || !strings.HasSuffix(string(calls), "systemctl enable --now felhom-agent.service\n") {
		t.Errorf("the commands of both were\n%s", calls)
	}
}

// Without internet the template comes from the disk, and nothing of it is left half where somebody pulled the plug before.
func TestRecoverInAChrootWithoutInternet(t *testing.T) {
	t.Parallel()
	dir := chroot(t)
	const name = "debian-13-standard_13.1-1_amd64.tar.zst"
	at, cache := filepath.Join(dir, "mnt/disk/felhom-recovery/pve1/templates"), filepath.Join(dir, "var/lib/vz/template/cache")
	for file, text := range map[string]string{filepath.Join(at, name): "a template", filepath.Join(cache, "."+name+".recovery"): "a tem", filepath.Join(dir, "offline"): ""} {
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		cmd := exec.Command("/usr/bin/felhom-agent", "--recover", "/mnt/disk", "--yes")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
		cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin", "TMPDIR=/tmp"}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 3 {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	left, _ := os.ReadDir(cache)
	if text, err := os.ReadFile(filepath.Join(cache, name)); err != nil || string(text) != "a template" || len(left) != 1 {
		t.Errorf("%q, %v; the folder has %v", text, err, left)
	}
	calls, _ := os.ReadFile(filepath.Join(dir, "calls"))
	if n := strings.Count(string(calls), "pveam download"); n != 1 {
		t.Errorf("%d downloads were tried:\n%s", n, calls)
	}
}

// On a real host a recovery runs exactly these commands, and a second one none that changes anything. The secret of the token is in its file alone.
func TestRecoverInAChroot(t *testing.T) {
	t.Parallel()
	dir := chroot(t)
	run := func() string {
		cmd := exec.Command("/usr/bin/felhom-agent", "--recover", "/mnt/disk", "--yes", "--password-file", "offsite=/tmp/password", "--key-file", "offsite=tmp/key")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
		cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin", "TMPDIR=/tmp"}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 3 || !bytes.Contains(out, []byte("NOT BACK  it was never backed up")) { // the stub of the agent brings nothing back
			t.Fatalf("%v, expected is exit code 3\n%s", err, out)
		}
		if bytes.Contains(out, []byte("5ec2e700")) || bytes.Contains(out, []byte(offsitePassword)) {
			t.Errorf("a secret is on the screen:\n%s", out)
		}
		calls, _ := os.ReadFile(filepath.Join(dir, "calls"))
		os.Remove(filepath.Join(dir, "calls"))
		return string(calls)
	}
	const agent = "agent --selftest\nagent --plan /etc/felhom-agent/desired\nagent --once /etc/felhom-agent/desired\n"
	want := `pvesm add dir disk --content backup --path /mnt/disk --prune-backups keep-all=1
pvesm add pbs offsite --datastore home --server 192.0.2.9 --username felhom@pbs!pve1 --encryption-key /tmp/key --password
pveum role add FelhomAgent --privs ` + strings.Join(recovery.Privileges, ",") + `
pveum user add felhom@pve --comment felhom-agent
pveum user token add felhom@pve agent --privsep 1 --comment felhom-agent on pve1 --output-format json
pveum acl modify / --users felhom@pve --roles FelhomAgent
pveum acl modify / --tokens felhom@pve!agent --roles FelhomAgent
pveam update
pveam download local debian-13-standard_13.1-1_amd64.tar.zst
systemctl enable --now felhom-fence.socket
` + agent + "systemctl enable --now felhom-agent.service\n"
	if have := run(); have != want {
		t.Errorf("the commands were\n%s\nexpected are\n%s", have, want)
	}
	if fed, _ := os.ReadFile(filepath.Join(dir, "password")); string(fed) != offsitePassword+"\n" {
		t.Errorf("pvesm has read %q as the password", fed)
	}
	secret, err := os.ReadFile(filepath.Join(dir, "etc/felhom-agent/token"))
	info, _ := os.Stat(filepath.Join(dir, "etc/felhom-agent/token"))
	if err != nil || !strings.HasPrefix(string(secret), "5ec2e700") || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %q, %v", err, secret, info.Mode())
	}
	kept, _ := filepath.Glob(filepath.Join(dir, "etc/felhom-agent/agent.yaml.2*"))
	if len(kept) != 1 {
		t.Errorf("the agent.yaml of the package was not kept: %q", kept)
	}
	tree := func() string {
		out, err := exec.Command("sh", "-c", `cd "$1"/etc && find . -type f -printf '%p %T@ %m\n' | sort`, "sh", dir).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	before := tree()
	if have := run(); have != agent {
		t.Errorf("a second run does\n%s", have)
	}
	if after := tree(); after != before {
		t.Errorf("a second run wrote files:\n%s\nbefore:\n%s", after, before)
	}
}
