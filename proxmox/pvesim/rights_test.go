package pvesim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// What each method needs, and nothing more: with these privileges on / it is carried out,
// without any single one of them it is not, be it refused at once or in its task.
func TestWhatEachMethodNeeds(t *testing.T) {
	const archive = "local:backup/vzdump-lxc-300-2026_11_22-18_05_00.tar"
	for _, c := range []struct {
		call  string
		with  string
		needs string
	}{
		{"GET /nodes/pve1/lxc/300/config", "", "VM.Audit"},
		{"GET /nodes/pve1/lxc/300/pending", "", "VM.Audit"},
		{"GET /nodes/pve1/lxc/300/status/current", "", "VM.Audit"},
		{"GET /nodes/pve1/lxc/300/snapshot", "", "VM.Audit"},
		{"GET /nodes/pve1/lxc/300/feature", "feature=snapshot", "VM.Audit"},
		{"GET /nodes/pve1/status", "", "Sys.Audit"},
		{"GET /nodes/pve1/time", "", "Sys.Audit"},
		{"GET /cluster/status", "", "Sys.Audit"},
		{"POST /nodes/pve1/lxc/300/status/start", "", "VM.PowerMgmt"},
		{"POST /nodes/pve1/lxc/101/status/stop", "", "VM.PowerMgmt"},
		{"POST /nodes/pve1/lxc/101/status/shutdown", "", "VM.PowerMgmt"},
		{"POST /nodes/pve1/lxc/101/status/reboot", "", "VM.PowerMgmt"},
		{"POST /nodes/pve1/lxc/300/snapshot", "snapname=new", "VM.Snapshot"},
		{"DELETE /nodes/pve1/lxc/300/snapshot/old", "", "VM.Snapshot"},
		{"PUT /nodes/pve1/lxc/300/snapshot/old/config", "description=x", "VM.Snapshot"},
		{"POST /nodes/pve1/lxc/300/snapshot/old/rollback", "", "VM.Snapshot.Rollback"},
		{"POST /nodes/pve1/lxc/300/snapshot/old/rollback", "", "VM.Snapshot"},
		{"PUT /nodes/pve1/lxc/300/config", "cores=2 cpulimit=1 cpuunits=50", "VM.Config.CPU"},
		{"PUT /nodes/pve1/lxc/300/config", "memory=700 swap=0", "VM.Config.Memory"},
		{"PUT /nodes/pve1/lxc/300/config", "hostname=x nameserver=1.1.1.1 searchdomain=a", "VM.Config.Network"},
		{"PUT /nodes/pve1/lxc/300/config", "net0=name=eth0,bridge=vmbr0,ip=dhcp", "SDN.Use VM.Config.Network"},
		{"PUT /nodes/pve1/lxc/300/config", "delete=net0", "SDN.Use VM.Config.Network"},
		{"PUT /nodes/pve1/lxc/300/config", "description=x onboot=1 startup=3 protection=0 tags=x timezone=host tty=1 lock=backup", "VM.Config.Options"},
		{"PUT /nodes/pve1/lxc/300/config", "mp1=local-lvm:1,mp=/new", "Datastore.AllocateSpace VM.Config.Disk"},
		{"PUT /nodes/pve1/lxc/300/config", "delete=mp0", "VM.Config.Disk"},
		{"PUT /nodes/pve1/lxc/300/config", "mp0=local-lvm:vm-300-disk-1,mp=/else", "VM.Config.Disk"},
		{"PUT /nodes/pve1/lxc/300/config", "features=nesting=1", "VM.Allocate VM.Config.Options"},
		{"PUT /nodes/pve1/lxc/300/resize", "disk=mp0 size=+1G", "Datastore.AllocateSpace VM.Config.Disk VM.Config.Options"},
		{"POST /nodes/pve1/lxc/300/move_volume", "volume=mp0 storage=local-lvm", "Datastore.AllocateSpace VM.Config.Disk"},
		{"POST /nodes/pve1/lxc/300/clone", "newid=301 snapname=old", "Datastore.AllocateSpace SDN.Use VM.Allocate VM.Clone"},
		{"DELETE /nodes/pve1/lxc/300", "", "VM.Allocate"},
		{"POST /nodes/pve1/lxc", "vmid=302 restore=1 storage=local-lvm ostemplate=" + archive, "Datastore.AllocateSpace SDN.Use VM.Allocate VM.Backup"},
		{"POST /nodes/pve1/lxc", "vmid=302 restore=1 storage=local-lvm memory=300 cores=1 hostname=x onboot=0 rootfs=local-lvm:2 ostemplate=" + archive,
			"Datastore.AllocateSpace SDN.Use VM.Allocate VM.Backup VM.Config.CPU VM.Config.Disk VM.Config.Memory VM.Config.Network VM.Config.Options"},
		{"POST /nodes/pve1/lxc", "vmid=300 restore=1 force=1 storage=local-lvm ostemplate=" + archive, "Datastore.AllocateSpace SDN.Use VM.Backup"},
		{"POST /nodes/pve1/vzdump", "vmid=300 storage=local", "Datastore.AllocateSpace VM.Backup"},
		{"POST /nodes/pve1/vzdump", "vmid=300 storage=local bwlimit=100", "Datastore.AllocateSpace Sys.Modify VM.Backup"},
		{"POST /nodes/pve1/vzdump", "vmid=300 storage=local prune-backups=keep-last=3", "Datastore.Allocate Datastore.AllocateSpace VM.Backup"},
		{"GET /nodes/pve1/vzdump/extractconfig", "volume=" + archive, "Datastore.AllocateSpace VM.Backup"},
		{"GET /nodes/pve1/storage/local/content/" + archive, "", "Datastore.AllocateSpace VM.Backup"},
		{"PUT /nodes/pve1/storage/local/content/" + archive, "notes=x", "Datastore.AllocateSpace VM.Backup"},
		{"DELETE /nodes/pve1/storage/local/content/" + archive, "", "Datastore.AllocateSpace VM.Backup"},
		{"DELETE /nodes/pve1/storage/local/prunebackups", "vmid=300 prune-backups=keep-last=1", "Datastore.AllocateSpace VM.Backup"},
		{"DELETE /nodes/pve1/storage/local/prunebackups", "prune-backups=keep-last=1", "Datastore.Allocate"},
		{"GET /nodes/pve1/storage/local/content", "", "Datastore.Audit"},
		{"GET /nodes/pve1/storage/local/status", "", "Datastore.AllocateSpace"},
	} {
		needs := strings.Fields(c.needs)
		if why := carriedOut(t, c.call, c.with, needs); why != "" {
			t.Errorf("%s %s with %s: %s", c.call, c.with, c.needs, why)
		}
		for _, p := range needs {
			rest := slices.DeleteFunc(slices.Clone(needs), func(q string) bool { return q == p })
			if why := carriedOut(t, c.call, c.with, rest); !strings.Contains(why, "Permission check failed") {
				t.Errorf("%s %s without %s: %q", c.call, c.with, p, why)
			}
		}
	}
}

// What is given on a pool holds for its members, and the list of one's own rights names
// them; a path without any right is not in it.
func TestRightsByPool(t *testing.T) {
	s := New()
	for _, step := range [][2]string{
		{"POST /access/users", "userid=anna@pve"}, {"POST /pools", "poolid=homes"}, {"PUT /pools/homes", "vms=101 storage=local"},
		{"PUT /access/acl", "path=/pool/homes users=anna@pve roles=PVEAuditor"}, {"PUT /access/acl", "path=/vms/102 users=felhom@pve roles=PVEAuditor"},
	} {
		method, path, _ := strings.Cut(step[0], " ")
		params := map[string]string{}
		for _, pair := range strings.Fields(step[1]) {
			key, value, _ := strings.Cut(pair, "=")
			params[key] = value
		}
		if status, body := s.Do("root@pam", method, path, params); status != 200 {
			t.Fatalf("%s: %d %s", step[0], status, body)
		}
	}
	_, body := s.Do("anna@pve", "GET", "/access/permissions", nil)
	var answer struct{ Data map[string]map[string]int }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	if paths := slices.Sorted(maps.Keys(answer.Data)); !slices.Equal(paths, []string{"/pool/homes", "/storage/local", "/vms/101"}) {
		t.Errorf("%v: %s", paths, body)
	}
	if _, ok := answer.Data["/vms/101"]["VM.Audit"]; !ok {
		t.Error(body)
	}
}

// carriedOut makes a call on a fresh node by a user with some privileges on /; it says
// what PVE said against it.
func carriedOut(t *testing.T, call, with string, privileges []string) string {
	t.Helper()
	s := New()
	do := func(as, call, with string) (int, string) {
		method, path, _ := strings.Cut(call, " ")
		params := map[string]string{}
		for _, pair := range strings.Fields(with) {
			key, value, _ := strings.Cut(pair, "=")
			params[key] = value
		}
		status, body := s.Do(as, method, path, params)
		return status, body
	}
	for _, step := range [][2]string{
		{"POST /access/users", "userid=anna@pve"},
		{"POST /access/roles", "roleid=Anna privs=" + strings.Join(privileges, ",")},
		{"PUT /access/acl", "path=/ users=anna@pve roles=Anna"},
		{"POST /nodes/pve1/lxc", "vmid=300 ostemplate=local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz rootfs=local-lvm:1 mp0=local-lvm:1,mp=/data,backup=1 net0=name=eth0,bridge=vmbr0,ip=dhcp"},
		{"POST /nodes/pve1/lxc/300/snapshot", "snapname=old"},
		{"POST /nodes/pve1/vzdump", "vmid=300 storage=local"},
	} {
		if status, body := do("root@pam", step[0], step[1]); status != 200 {
			t.Fatalf("%s: %d %s", step[0], status, body)
		}
		s.Advance(time.Minute)
	}
	_, list := do("root@pam", "GET /nodes/pve1/storage/local/content", "content=backup vmid=300")
	var content struct{ Data []struct{ VolID string } }
	if err := json.Unmarshal([]byte(list), &content); err != nil || len(content.Data) != 1 {
		t.Fatalf("%v %s", err, list)
	}
	const archive = "local:backup/vzdump-lxc-300-2026_11_22-18_05_00.tar"
	status, body := do("anna@pve", strings.ReplaceAll(call, archive, content.Data[0].VolID), strings.ReplaceAll(with, archive, content.Data[0].VolID))
	if status != 200 {
		return fmt.Sprint(status, " ", body)
	}
	var answer struct{ Data any }
	if json.Unmarshal([]byte(body), &answer) != nil {
		return body
	}
	upid, isTask := answer.Data.(string)
	if !isTask || !strings.HasPrefix(upid, "UPID:") {
		return ""
	}
	s.Advance(10 * time.Minute)
	_, body = do("root@pam", "GET /nodes/pve1/tasks/"+upid+"/status", "")
	if strings.Contains(body, `"exitstatus":"OK"`) {
		return ""
	}
	return body
}
