package proxmox

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// want reads with f and compares.
func want[T any](t *testing.T, name string, got T, err error, want T) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", name, err)
	} else if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s:\n%s", name, diff)
	}
}

func TestReadBridges(t *testing.T) {
	c := testClient(t, &script{to: map[string][]string{
		"GET /nodes/pve1/network": data(`[{"iface":"vmbr1","type":"OVSBridge"},{"iface":"eth0","type":"eth"},{"iface":"vmbr0","type":"bridge","active":1},{"iface":"vmbr0.5","type":"vlan"}]`),
		"GET /nodes/pve2/network": data(`[{"type":"bridge"}]`),
	}})
	bridges, err := c.Bridges(t.Context(), "pve1")
	want(t, "bridges", bridges, err, []string{"vmbr0", "vmbr1"})
	if _, err := c.Bridges(t.Context(), "pve2"); err == nil {
		t.Error("an interface without a name is accepted")
	}
}

func TestReadNodes(t *testing.T) {
	c := testClient(t, &script{to: map[string][]string{
		"GET /version": data(`{"release":"9.2","repoid":"14a22df35955d97d","version":"9.2.11"}`),
		"GET /nodes": data(`[{"node":"pve2","status":"offline","type":"node","id":"node/pve2"},
			{"node":"pve1","status":"online","cpu":0.0939490445859873,"maxcpu":2,"mem":999882752,"maxmem":4112318464,"uptime":624,"ssl_fingerprint":"64:DC","level":""}]`),
		"GET /nodes/pve1/status": data(`{"uptime":625,"pveversion":"pve-manager/9.2.11/14a22df35955d97d","kversion":"Linux 6.12","cpu":0.25,"loadavg":["0.57","0.88","0.59"],
			"memory":{"total":4112318464,"free":3173720064,"used":998936576,"available":3113381888},"swap":{"free":0,"used":0,"total":0},
			"rootfs":{"avail":22787919872,"total":25185042432,"used":1091858432,"free":24093184000},"cpuinfo":{"cpus":2,"model":"QEMU","mhz":"2596.098"}}`),
		"GET /nodes/pve1/time": data(`{"localtime":1795374641,"time":1795371041,"timezone":"Europe/Budapest"}`),
		"GET /cluster/status":  {`200 OK` + "\n" + `{"data":[{"name":"home","type":"cluster","quorate":0,"nodes":2},{"name":"pve2","ip":"10.0.0.2","type":"node","online":0,"local":0},{"name":"pve1","ip":"10.0.0.1","type":"node","online":1,"local":1}]}`, `200 OK` + "\n" + `{"data":[{"name":"pve1","ip":"10.0.0.1","nodeid":0,"type":"node","online":1,"local":1}]}`},
		"GET /cluster/resources?type=vm": data(`[{"id":"qemu/200","type":"qemu","node":"pve2","vmid":200,"status":"unknown","template":1},
			{"id":"lxc/100","type":"lxc","node":"pve1","vmid":"100","status":"running","name":"web","tags":"shop;home","lock":"backup","template":0,"hastate":"started","pool":"p","disk":0,"maxdisk":"1073741824"}]`),
		"GET /cluster/resources?type=storage": data(`[{"id":"storage/pve1/local","type":"storage","node":"pve1","storage":"local","status":"available","disk":1091858432,"maxdisk":25185042432,"content":"iso,backup","plugintype":"dir","shared":0},
			{"id":"storage/pve1/nas","type":"storage","node":"pve1","storage":"nas","status":"unknown","disk":0,"maxdisk":0,"content":"backup","plugintype":"nfs","shared":1}]`),
	}})
	ctx := t.Context()
	version, err := c.Version(ctx)
	want(t, "version", version, err, Version{"9.2.11", "9.2", "14a22df35955d97d"})
	nodes, err := c.Nodes(ctx)
	want(t, "nodes", nodes, err, []Node{
		{Name: "pve1", Status: "online", Fingerprint: "64:DC", CPU: 0.0939490445859873, CPUs: 2, Mem: 999882752, MaxMem: 4112318464, Uptime: 624 * time.Second},
		{Name: "pve2", Status: "offline"},
	})
	status, err := c.NodeStatus(ctx, "pve1")
	want(t, "status", status, err, NodeStatus{
		PVEVersion: "pve-manager/9.2.11/14a22df35955d97d", Kernel: "Linux 6.12", Uptime: 625 * time.Second, CPU: 0.25, CPUs: 2, CPUModel: "QEMU",
		LoadAvg: [3]float64{0.57, 0.88, 0.59},
		Memory:  Usage{4112318464, 998936576, 3173720064, 3113381888}, RootFS: Usage{25185042432, 1091858432, 24093184000, 22787919872},
	})
	clock, err := c.NodeTime(ctx, "pve1")
	want(t, "time", clock, err, NodeTime{1795371041, "Europe/Budapest", ptr(time.Hour)})
	cluster, err := c.ClusterStatus(ctx)
	want(t, "cluster", cluster, err, ClusterStatus{"home", false, []ClusterNode{{"pve1", "10.0.0.1", true, true}, {"pve2", "10.0.0.2", false, false}}})
	if cluster.Local() != "pve1" {
		t.Error(cluster.Local())
	}
	cluster, err = c.ClusterStatus(ctx)
	want(t, "no cluster", cluster, err, ClusterStatus{"", true, []ClusterNode{{"pve1", "10.0.0.1", true, true}}})
	resources, err := c.Resources(ctx, "vm")
	want(t, "resources", resources, err, []Resource{
		{ID: "lxc/100", Type: "lxc", Node: "pve1", Status: "running", Name: "web", Pool: "p", Lock: "backup", HAState: "started", VMID: 100, Tags: []string{"home", "shop"}, MaxDisk: GiB},
		{ID: "qemu/200", Type: "qemu", Node: "pve2", Status: "unknown", VMID: 200, Template: true, Tags: ParseTags("")},
	})
	resources, err = c.Resources(ctx, "storage")
	if err != nil || len(resources) != 2 {
		t.Fatal(err, resources)
	}
	want(t, "storages as resources", []StorageStatus{resources[0].StorageStatus(), resources[1].StorageStatus()}, nil, []StorageStatus{
		{ID: "local", Active: true, Enabled: true, Total: 25185042432, Used: 1091858432, Avail: 24093184000}, {ID: "nas", Enabled: true},
	})
}

func TestReadGuests(t *testing.T) {
	c := testClient(t, &script{to: map[string][]string{
		// vmid was a string before pve-container 5.0.10.
		"GET /nodes/pve1/lxc": data(`[{"vmid":"112","name":"CT112","status":"stopped","type":"lxc","cpus":"1.5","mem":0,"maxmem":536870912,"disk":0,"uptime":0,"template":1,"tags":""},
			{"vmid":100,"name":"ct100","status":"running","lock":"backup","tags":"b;a","cpus":2,"cpu":0.5,"mem":1052672,"maxmem":134217728,"swap":0,"maxswap":0,"disk":2482176,"maxdisk":1020702720,"uptime":38,"pid":2220,"pressureiofull":"0.01","netin":0}]`),
		// and missing in status/current
		"GET /nodes/pve1/lxc/100/status/current":           data(`{"name":"ct100","status":"running","ha":{"managed":1,"state":"started"},"mem":"1052672"}`),
		"GET /nodes/pve1/lxc/101/status/current":           data(`{"name":"ct101","status":"stopped","ha":{"managed":0},"vmid":101}`),
		"GET /nodes/pve1/lxc/100/feature?feature=snapshot": data(`{"hasFeature":1}`),
		"GET /nodes/pve1/lxc/101/feature?feature=snapshot": data(`{"hasFeature":"0"}`),
		"GET /nodes/pve1/lxc/102/feature?feature=snapshot": data(`{}`),
		"GET /nodes/pve1/lxc/100/snapshot": data(`[{"name":"current","digest":"d1","running":1,"description":"You are here!","parent":"second"},
			{"name":"second","snaptime":1795371457,"description":"","parent":"first"},{"name":"first","snaptime":1795371285,"description":"before\nit\n"},
			{"name":"torn","snaptime":1795371500,"description":"","snapstate":"prepare"}]`),
		"GET /nodes/pve1/lxc/101/snapshot": data(`[]`),
	}})
	ctx := t.Context()
	ct100 := Guest{
		VMID: 100, Name: "ct100", Status: "running", Lock: "backup", Tags: []string{"a", "b"}, CPUs: 2, CPU: 0.5, Mem: 1052672, MaxMem: 128 * MiB,
		Disk: 2482176, MaxDisk: 1020702720, Uptime: 38 * time.Second, PID: 2220,
	}
	guests, err := c.ListLXC(ctx, "pve1")
	want(t, "list", guests, err, []Guest{ct100, {VMID: 112, Name: "CT112", Status: "stopped", CPUs: 1.5, MaxMem: 512 * MiB, Template: true, Tags: ParseTags("")}})
	if !guests[0].Running() || guests[1].Running() {
		t.Error("running is wrong")
	}
	status, err := c.GuestStatus(ctx, "pve1", 100)
	want(t, "status", status, err, GuestStatus{Guest{VMID: 100, Name: "ct100", Status: "running", Mem: 1052672, Tags: ParseTags("")}, HA{true, "started"}})
	status, err = c.GuestStatus(ctx, "pve1", 101)
	want(t, "status", status, err, GuestStatus{Guest{VMID: 101, Name: "ct101", Status: "stopped", Tags: ParseTags("")}, HA{}})
	for vmid, can := range map[VMID]bool{100: true, 101: false} {
		got, err := c.Feature(ctx, "pve1", vmid, "snapshot")
		want(t, "feature", got, err, can)
	}
	if _, err := c.Feature(ctx, "pve1", 102, "snapshot"); err == nil {
		t.Error("a feature nobody spoke of")
	}
	snapshots, err := c.Snapshots(ctx, "pve1", 100)
	want(t, "snapshots", snapshots, err, SnapshotList{
		Digest: "d1", Running: true, Parent: "second",
		Snapshots: []Snapshot{
			{Name: "first", Description: "before\nit", Time: time.Unix(1795371285, 0)},
			{Name: "second", Parent: "first", Time: time.Unix(1795371457, 0)},
			{Name: "torn", Time: time.Unix(1795371500, 0), State: "prepare"},
		},
	})
	if _, err := c.Snapshots(ctx, "pve1", 101); err == nil {
		t.Error("a list without the current state passes: it cannot be PVE's")
	}
}

func TestReadConfig(t *testing.T) {
	c := testClient(t, &script{to: map[string][]string{
		"GET /nodes/pve1/lxc/100/config": data(`{"digest":"d1","memory":2048,"cpulimit":"0.5","cores":2,"hostname":"web","onboot":1,"unprivileged":1,"protection":0,
			"description":"one\n\ntwo\n","tags":"b;a","features":"keyctl=1,nesting=1","startup":"3","rootfs":"local-lvm:vm-100-disk-0,size=8G","lock":"backup","parent":"first",
			"mp0":"local-lvm:vm-100-disk-1,mp=/data,backup=1,size=1G","mp12":"/mnt/usb/media,mp=/media","net0":"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:3A:DF:2E,ip=dhcp,type=veth",
			"dev0":"/dev/dri/renderD128,gid=104","unused0":"local-lvm:vm-100-disk-2","lxc":[["lxc.apparmor.profile","unconfined"],["lxc.idmap","u 0 1 2"]],"brandnew":"x","newer":{"a":[1]},"template":true}`),
		"GET /nodes/pve1/lxc/101/config":                data(`{"memory":512}`),
		"GET /nodes/pve1/lxc/102/config":                data(`{"digest":"d","memory":{"x":1}}`),
		"GET /nodes/pve1/lxc/100/config?snapshot=first": data(`{"digest":"d1","memory":1024,"snaptime":1795371285}`),
		"GET /nodes/pve1/lxc/100/pending": data(`[{"key":"digest","value":"d1"},{"key":"memory","value":2048},{"key":"features","value":"nesting=1","pending":"keyctl=1"},
			{"key":"mp0","value":"local:1,mp=/a","delete":1},{"key":"tty","pending":2},{"key":"dev0","value":"/dev/x","delete":"2"}]`),
	}})
	ctx := t.Context()
	config, err := c.GuestConfig(ctx, "pve1", 100)
	if err != nil {
		t.Fatal(err)
	}
	type facts struct {
		VMID                                   VMID
		Digest, Hostname, Text, Lock, Parent   string
		Tags                                   []string
		MemoryMiB                              int64
		Unpriv, Template, Protect, OnBoot      bool
		Nets, Mounts, Devices, Rootfs, Feature string
		Unused, Extra                          map[string]string
		Order                                  int
		LXC                                    [][2]string
		CPULimit                               string
	}
	rootfs, _ := config.RootFS()
	order, _ := config.Startup().Order()
	got := facts{
		config.VMID, config.Digest, config.Hostname(), config.Description(), config.Lock(), config.Parent(),
		config.Tags(), config.MemoryMiB(), config.Unprivileged(), config.Template(), config.Protection(), config.OnBoot(),
		config.Nets()[0].String(), config.MountPoints()[0].Path() + " " + config.MountPoints()[12].Volume(), config.Devices()[0].String(), rootfs.String(), config.Features().String(),
		map[string]string{"0": config.Unused()[0]}, config.Extra(), order, config.LXC, config.Raw["cpulimit"],
	}
	want(t, "config", got, nil, facts{
		100, "d1", "web", "one\n\ntwo", "backup", "first", []string{"a", "b"}, 2048, true, true, false, true,
		"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:3A:DF:2E,ip=dhcp,type=veth", "/data /mnt/usb/media", "/dev/dri/renderD128,gid=104", "local-lvm:vm-100-disk-0,size=8G", "keyctl=1,nesting=1",
		map[string]string{"0": "local-lvm:vm-100-disk-2"}, map[string]string{"brandnew": "x", "newer": `{"a":[1]}`}, 3,
		[][2]string{{"lxc.apparmor.profile", "unconfined"}, {"lxc.idmap", "u 0 1 2"}}, "0.5",
	})
	if _, ok := config.Raw["digest"]; ok || config.Raw["memory"] != "2048" || config.Raw["template"] != "1" {
		t.Error(config.Raw)
	}
	for _, vmid := range []VMID{101, 102} {
		var answer *AnswerError
		if _, err := c.GuestConfig(ctx, "pve1", vmid); !errors.As(err, &answer) {
			t.Errorf("%d: %v", vmid, err)
		}
	}
	old, err := c.SnapshotConfig(ctx, "pve1", 100, "first")
	want(t, "snapshot", old, err, GuestConfig{VMID: 100, Digest: "d1", Raw: map[string]string{"memory": "1024", "snaptime": "1795371285"}})

	pending, err := c.GuestPending(ctx, "pve1", 100)
	want(t, "pending", pending, err, GuestConfig{
		VMID: 100, Digest: "d1", Raw: map[string]string{"memory": "2048", "features": "nesting=1", "mp0": "local:1,mp=/a", "dev0": "/dev/x"},
		Pending: map[string]string{"features": "keyctl=1", "tty": "2"}, Deleted: []string{"dev0", "mp0"},
	})
	want(t, "merged", pending.Merged(), nil, GuestConfig{VMID: 100, Digest: "d1", Raw: map[string]string{"memory": "2048", "features": "keyctl=1", "tty": "2"}})
	if len(pending.Raw) != 4 || pending.Raw["features"] != "nesting=1" {
		t.Error("Merged changed its receiver")
	}
	bare := GuestConfig{}
	if _, ok := bare.RootFS(); ok || bare.MemoryMiB() != 512 || bare.Features() != nil || bare.Startup() != nil || bare.Hostname() != "" {
		t.Error("defaults are wrong")
	}
}

func TestReadStorage(t *testing.T) {
	volid := "usb-backup:backup/vzdump-lxc-101-2026_11_22-18_40_55.tar.zst"
	c := testClient(t, &script{to: map[string][]string{
		"GET /storage": data(`[{"storage":"usb-backup","type":"dir","path":"/mnt/usb/backup","content":"backup","is_mountpoint":1,"prune-backups":"keep-all=1","nodes":"pve1,pve0","digest":"x"},
			{"storage":"local-lvm","type":"lvmthin","content":"rootdir,images","disable":1,"shared":"0"},{"storage":"nas","type":"nfs","content":"backup","is_mountpoint":"/mnt/nas","shared":1}]`),
		"GET /nodes/pve1/storage": data(`[{"storage":"usb-backup","type":"dir","content":"backup","active":0,"enabled":1,"shared":0,"total":0,"used":0,"avail":0},
			{"storage":"local","type":"dir","content":"iso,backup","active":1,"enabled":1,"shared":0,"total":25185042432,"used":"1091858432","avail":22787919872,"used_fraction":0.04}]`),
		"GET /nodes/pve1/storage/usb-backup/content?content=backup&vmid=101": data(`[{"volid":"` + volid + `","content":"backup","format":"tar.zst","subtype":"lxc","size":1111303,"ctime":1795372855,"vmid":101,"notes":"first line","protected":1},
			{"volid":"pbs:backup/ct/101/2026-11-20T01:30:00Z","content":"backup","format":"pbs-ct","subtype":"lxc","size":5,"ctime":1795138200,"vmid":"101","encrypted":"1","verification":{"state":"ok","upid":"x"}}]`),
		"GET /nodes/pve1/vzdump/defaults?storage=local":                                                                data(`{"stop":0,"zstd":1,"mode":"snapshot","prune-backups":"keep-last=3","fleecing":{"enabled":0},"compress":"0","storage":"local","remove":1,"performance":{"max-workers":16}}`),
		"GET /nodes/pve1/storage/local-lvm/content":                                                                    data(`[{"volid":"local-lvm:vm-100-disk-0","content":"rootdir","format":"raw","size":1073741824,"used":null,"vmid":100,"parent":null,"ctime":"1795371210"}]`),
		"GET /nodes/pve1/storage/usb-backup/content/" + volid:                                                          data(`{"path":"/mnt/usb/backup/dump/x","size":1111303,"used":1114112,"format":"raw","notes":"first line\nsecond","protected":0}`),
		"GET /nodes/pve1/vzdump/extractconfig?volume=usb-backup%3Abackup%2Fvzdump-lxc-101-2026_11_22-18_40_55.tar.zst": data(`"#felhom web%3A 100%25\n#\n#<!-- caf%C3%A9 -->\narch: amd64\nfeatures: keyctl=1,nesting=1\nhostname: ct100\nmemory: 128\nlxc.environment.runtime: A=1\nlxc.idmap: u 0 1 2\nrootfs: local-lvm:vm-100-disk-0,size=1G\n\n[before]\n#old\nhostname: old\n"`),
		"GET /nodes/pve1/vzdump/extractconfig?volume=usb-backup%3Aempty":                                               data(`""`),
	}})
	ctx := t.Context()
	keep, err := c.BackupRetention(ctx, "pve1", "local")
	want(t, "retention", keep, err, "keep-last=3")
	storages, err := c.ListStorage(ctx)
	for i := range storages {
		if storages[i].Raw["storage"] != storages[i].ID {
			t.Error(storages[i].Raw)
		}
		storages[i].Raw = nil
	}
	want(t, "storages", storages, err, []Storage{
		{ID: "local-lvm", Type: "lvmthin", Content: []string{"images", "rootdir"}, Disabled: true, Nodes: list("")},
		{ID: "nas", Type: "nfs", Content: []string{"backup"}, IsMountpoint: "/mnt/nas", Shared: true, Nodes: list("")},
		{ID: "usb-backup", Type: "dir", Path: "/mnt/usb/backup", Content: []string{"backup"}, IsMountpoint: "yes", PruneBackups: "keep-all=1", Nodes: []string{"pve0", "pve1"}},
	})
	states, err := c.NodeStorage(ctx, "pve1")
	want(t, "states", states, err, []StorageStatus{
		{ID: "local", Type: "dir", Content: []string{"backup", "iso"}, Active: true, Enabled: true, Total: 25185042432, Used: 1091858432, Avail: 22787919872},
		{ID: "usb-backup", Type: "dir", Content: []string{"backup"}, Enabled: true},
	})
	volumes, err := c.StorageContent(ctx, "pve1", "usb-backup", ContentFilter{"backup", 101})
	want(t, "content", volumes, err, []StorageContent{
		{VolID: "pbs:backup/ct/101/2026-11-20T01:30:00Z", Content: "backup", Format: "pbs-ct", Subtype: "lxc", Size: 5, CTime: time.Unix(1795138200, 0), VMID: 101, Encrypted: true, Verified: "ok"},
		{VolID: volid, Content: "backup", Format: "tar.zst", Subtype: "lxc", Size: 1111303, CTime: time.Unix(1795372855, 0), VMID: 101, Notes: "first line", Protected: true},
	})
	volumes, err = c.StorageContent(ctx, "pve1", "local-lvm", ContentFilter{})
	want(t, "images", volumes, err, []StorageContent{{VolID: "local-lvm:vm-100-disk-0", Content: "rootdir", Format: "raw", Size: GiB, VMID: 100, CTime: time.Unix(1795371210, 0)}})
	volume, err := c.VolumeInfo(ctx, "pve1", volid)
	want(t, "volume", volume, err, StorageContent{VolID: volid, Content: "backup", Format: "raw", Subtype: "lxc", Size: 1111303, Used: 1114112, VMID: 101, Notes: "first line\nsecond", Path: "/mnt/usb/backup/dump/x"})
	config, err := c.ArchiveConfig(ctx, "pve1", volid)
	want(t, "archive", config, err, GuestConfig{
		VMID: 101,
		Raw: map[string]string{
			"arch": "amd64", "features": "keyctl=1,nesting=1", "hostname": "ct100", "memory": "128", "rootfs": "local-lvm:vm-100-disk-0,size=1G",
			"description": "felhom web: 100%\n\n<!-- café -->\n",
		},
		LXC: [][2]string{{"lxc.environment.runtime", "A=1"}, {"lxc.idmap", "u 0 1 2"}},
	})
	// People write comments by hand: what is no escape stays as it is, and the rest is read.
	byHand := parseConfigText("# 100% caf%C3%A9, 50%2\n#%zz%3A\n#\nhostname: a\n").Raw["description"]
	if byHand != " 100% café, 50%2\n%zz:\n\n" {
		t.Errorf("%q", byHand)
	}
	if _, err := c.ArchiveConfig(ctx, "pve1", "usb-backup:empty"); err == nil {
		t.Error("an archive without a config passes")
	}
}

func TestReadAccess(t *testing.T) {
	c := testClient(t, &script{to: map[string][]string{
		"GET /access/permissions": {"200 OK\n" + `{"data":{"/":{"VM.Audit":1,"Sys.Audit":1},"/vms":{"VM.Audit":1},"/vms/131":{"VM.Backup":1},"/storage":{"VM.Audit":1,"Sys.Audit":1},"/sdn":{"VM.Audit":1,"Sys.Audit":1},"/nodes":{"Sys.Modify":0}}}`, "200 OK\n" + `{"data":{}}`,
			"200 OK\n" + `{"data":{"/":{"VM.Audit":1},"/vms":{"VM.Audit":1}}}`},
		"GET /access/permissions?path=%2Fvms%2F132": data(`{}`),
		"GET /access/permissions?path=%2Fvms%2F133": data(`{"/vms/133":{"VM.Audit":1}}`),
		"GET /access/users/felhom@pve":              data(`{"enable":1,"expire":1800000000,"tokens":{"agent":{"expire":0,"privsep":1,"comment":"x"},"old":{"expire":1700000000,"privsep":0}},"groups":[]}`),
		"GET /access/users/nobody@pve":              data(`{"enable":0,"tokens":[{"tokenid":"tok","expire":"5"}]}`),
		"GET /access/users/none@pve":                data(`{"enable":1}`),
		"GET /cluster/nextid?vmid=100":              {"400 Parameter verification failed.\n" + `{"errors":{"vmid":"VM 100 already exists"},"message":"Parameter verification failed.\n","data":null}`},
		"GET /cluster/nextid?vmid=101":              data(`"101"`),
		"GET /cluster/nextid?vmid=102":              {"401 Authentication failed!"},
		"GET /cluster/nextid?vmid=103":              {"200 OK\n{}"},
		"GET /cluster/nextid?vmid=104":              data("null"),
		"GET /cluster/nextid?vmid=105":              data(`"100"`),
	}})
	ctx := t.Context()
	p, err := c.Permissions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct {
		path, privilege string
		want            bool
	}{
		{"/", "VM.Audit", true},
		{"/vms/100", "VM.Audit", true},   // from /vms
		{"/vms/100", "Sys.Audit", false}, // /vms replaced /
		{"/vms/131", "VM.Audit", false},  // an own entry replaces, it does not add
		{"/vms/131", "VM.Backup", true},
		{"/pool/x", "VM.Audit", false}, // PVE lists /pool, unless the token has nothing there
		{"/pool", "VM.Audit", false},
		{"/storage/y", "VM.Audit", true},
		{"/nodes", "Sys.Modify", true},
		{"/nodes/pve1", "Sys.Modify", false}, // not handed down
		{"/nodes/pve1", "Sys.Audit", true},   // so / decides
		{"/sdn/zones/localnetwork/vmbr0", "Sys.Audit", true},
		{"/vms/100", "VM.Config.Disk", false},
	} {
		if got := p.Has(q.path, q.privilege); got != q.want {
			t.Errorf("%s on %s: %v", q.privilege, q.path, got)
		}
	}
	if p, err := c.Permissions(ctx); err != nil || p.Has("/", "VM.Audit") || p.Has("/vms/1", "VM.Audit") {
		t.Errorf("a token without rights: %v, %v", p, err)
	}

	// Of a path that is not listed, only PVE's own word on it is certain.
	exact, err := c.Permissions(ctx, "/vms/132", "/vms/133")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"/vms/132": false, "/vms/132/x": false, "/vms/133": true, "/vms/134": true} {
		if got := exact.Has(path, "VM.Audit"); got != want {
			t.Errorf("asked for: VM.Audit on %s: %v", path, got)
		}
	}

	for id, expected := range map[string]TokenInfo{
		"felhom@pve!agent": {ID: "felhom@pve!agent", Comment: "x", PrivSep: true, Expire: time.Unix(1800000000, 0), UserEnabled: true}, // its user's
		"felhom@pve!old":   {ID: "felhom@pve!old", Expire: time.Unix(1700000000, 0), UserEnabled: true},
		"nobody@pve!tok":   {ID: "nobody@pve!tok", PrivSep: true, Expire: time.Unix(5, 0)},
	} {
		info, err := c.TokenInfo(ctx, id)
		want(t, id, info, err, expected)
	}
	for _, id := range []string{"felhom@pve!gone", "none@pve!x1"} {
		if _, err := c.TokenInfo(ctx, id); err == nil || !strings.Contains(err.Error(), "has no token") {
			t.Errorf("%s: %v", id, err)
		}
	}
	for vmid, free := range map[VMID]bool{100: false, 101: true} {
		got, err := c.VMIDFree(ctx, vmid)
		want(t, "free", got, err, free)
	}
	if free, err := c.VMIDFree(ctx, 102); free || !IsUnauthorized(err) {
		t.Errorf("%v, %v: what cannot be asked is not free", free, err)
	}
	for _, vmid := range []VMID{103, 104, 105} {
		if free, err := c.VMIDFree(ctx, vmid); free || err == nil {
			t.Errorf("%d: %v, %v: what is not understood is not free", vmid, free, err)
		}
	}
}

// FuzzAnswers holds that no body, whatever it is, makes a read panic, and that
// what does not fail has the fields that its callers rely on.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		`{"data":[{"vmid":100,"status":"running","name":"x"}]}`, `{"data":{"digest":"d","memory":512,"lxc":[["a","b"]]}}`, `{"data":null}`, `[]`, `{"data":"#x\nhostname: a\n"}`,
		`{"data":[{"key":"digest","value":"x"}],"total":"7"}`, `{"data":[{"name":"current","digest":"x"}]}`, `{"data":{"/":{"VM.Audit":1}}}`,
		`{"data":{"tokens":{"agent":{"expire":1}}}}`, `{"data":{"status":"stopped","exitstatus":"OK"}}`, `{"data":[{"volid":"a:b"}]}`, `{"data":[{"storage":"a","type":"b"}]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		e := exchange{StatusLine: "HTTP/1.1 200 OK", Response: body}
		for _, r := range readers {
			_, err := r.read(replay(t, e), t)
			var answer *AnswerError
			if err != nil && !errors.As(err, &answer) && !IsNotFound(err) {
				t.Fatalf("%s: %q: %T %v", r.form, body, err, err)
			}
		}
		c := replay(t, e)
		if config, err := c.GuestConfig(t.Context(), "n", 100); err == nil && config.Digest == "" {
			t.Fatalf("%q: a config without a digest", body)
		}
		if guests, err := c.ListLXC(t.Context(), "n"); err == nil && slices.ContainsFunc(guests, func(g Guest) bool { return g.Status == "" }) {
			t.Fatalf("%q: %+v", body, guests)
		}
		parseConfigText(body)
		c.TokenInfo(t.Context(), "felhom@pve!agent")
		if p, err := c.Permissions(t.Context()); err == nil {
			for path := range maps.Keys(p) {
				p.Has(path+"/x", "VM.Audit")
			}
			p.Has("x", "")
			p.Has("", "")
		}
	})
}
