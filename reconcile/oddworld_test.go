package reconcile

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// oddStorages are storages that stand beside ours: one of every kind that PVE has. Their
// fields are those of PVE's plugins (PVE: Storage::*Plugin, options).
const oddStorages = `[
 {"storage":"pbs","type":"pbs","content":"backup","server":"192.0.2.9","datastore":"home","username":"agent@pbs!pve","fingerprint":"64:DC","prune-backups":"keep-all=1","encryption-key":"AA:BB","namespace":"pve/home","shared":1,"port":"8007","digest":"d"},
 {"storage":"nas","type":"nfs","content":"images,backup,iso,vztmpl,snippets,import,rootdir","server":"192.0.2.7","export":"/tank","path":"/mnt/pve/nas","options":"vers=4.2,soft","preallocation":"off","shared":1,"digest":"d"},
 {"storage":"share","type":"cifs","content":"backup","server":"192.0.2.7","share":"b","path":"/mnt/pve/share","smbversion":"3.1.1","prune-backups":"keep-last=3,keep-monthly=6","max-protected-backups":-1,"shared":1,"digest":"d"},
 {"storage":"tank","type":"zfspool","content":"images,rootdir","pool":"tank/data","sparse":"1","mountpoint":"/tank/data","blocksize":"16k","digest":"d"},
 {"storage":"wide","type":"btrfs","content":"images,rootdir","path":"/wide","nocow":0,"is_mountpoint":"1","digest":"d"},
 {"storage":"thick","type":"lvm","content":"images","vgname":"san","shared":"1","saferemove":1,"snapshot-as-volume-chain":1,"base":"san-iscsi:0.0.1.scsi-3600","digest":"d"},
 {"storage":"ceph","type":"rbd","content":"images,rootdir","pool":"rbd","monhost":"192.0.2.1 192.0.2.2 192.0.2.3","krbd":1,"data-pool":"ec","shared":1,"digest":"d"},
 {"storage":"cephfs","type":"cephfs","content":"iso,vztmpl","path":"/mnt/pve/cephfs","fs-name":"cephfs","shared":1,"digest":"d"},
 {"storage":"san-iscsi","type":"iscsi","content":"none","portal":"192.0.2.8","target":"iqn.2003-01.org.example:x","shared":1,"digest":"d"},
 {"storage":"direct","type":"iscsidirect","content":"images","portal":"192.0.2.8","target":"iqn.2003-01.org.example:y","shared":1,"digest":"d"},
 {"storage":"vmware","type":"esxi","content":"import","server":"192.0.2.6","username":"root","skip-cert-verification":1,"digest":"d"},
 {"storage":"old","type":"glusterfs","content":"images","server":"192.0.2.5","volume":"v","path":"/mnt/pve/old","disable":1,"digest":"d"},
 {"storage":"elsewhere","type":"dir","content":"backup,rootdir,images","path":"/srv","nodes":"pve7,pve8","digest":"d"},
 {"storage":"vendor","type":"acme-san","content":"images","nested":{"a":[1,null]},"shared":true,"digest":"d"}
]`

// oddContent is what lies on them: volumes of others, in all forms.
var oddContent = map[string]string{
	"pbs": `[{"volid":"pbs:backup/ct/907/2026-11-20T01:30:00Z","content":"backup","format":"pbs-ct","subtype":"lxc","size":"5368709120","ctime":1795138200,"vmid":"907","notes":"mail","verification":{"state":"failed","upid":"UPID:pbs:1"},"encrypted":"64:DC","protected":true},
	 {"volid":"pbs:backup/vm/900/2026-11-20T01:30:00Z","content":"backup","format":"pbs-vm","subtype":"qemu","size":1,"ctime":"1795138200","vmid":900,"verification":null,"notes":null}]`,
	"nas": `[{"volid":"nas:907/vm-907-disk-0.raw","content":"images","format":"raw","size":null,"used":"-1","parent":null,"vmid":"907","ctime":1795138200},
	 {"volid":"nas:900/vm-900-disk-1.qcow2","content":"images","format":"invalid","size":107374182400,"used":1.5e+09,"parent":"../9000/base-9000-disk-0.qcow2","vmid":900},
	 {"volid":"nas:backup/vzdump-qemu-900-2026_11_20-02_00_00.vma.zst","content":"backup","format":"vma.zst","subtype":"qemu","size":1e+09,"ctime":1795138200,"vmid":900,"protected":1,"notes":"Ärger 日本 \u0000 <!-- felhom-agent/9 -->"},
	 {"volid":"nas:backup/vzdump-lxc-907-copy of anna.tar.gz","content":"backup","format":"tar.gz","subtype":"lxc","size":12,"ctime":1795138200.75},
	 {"volid":"nas:iso/debian 13 (1).iso","content":"iso","format":"iso","size":0},
	 {"volid":"nas:import/appliance.ova/disk.vmdk","content":"import","format":"ova+vmdk","size":9},
	 {"volid":"nas:snippets/hook.pl","content":"snippets","format":"snippet","size":9}]`,
	"share": `[]`,
	"tank":  `[{"volid":"tank:basevol-9100-disk-0/subvol-907-disk-0","content":"rootdir","format":"subvol","size":8589934592,"vmid":"907","parent":"basevol-9100-disk-0@__base__","name":"subvol-907-disk-0","ctime":"1795138200"}]`,
	"wide":  `[{"volid":"wide:907/subvol-907-disk-1.subvol","content":"rootdir","format":"subvol","size":0,"used":0,"parent":null,"vmid":"907"}]`,
	"thick": `[{"volid":"thick:vm-900-disk-2.qcow2","content":"images","format":"qcow2","approximate-size":4294967296,"vmid":900,"ctime":1795138200},
	 {"volid":"thick:vm-900-state-before","content":"images","format":"raw","size":4294967296,"vmid":900}]`,
	"ceph":      `[{"volid":"ceph:base-9100-disk-0/vm-907-disk-0","content":"rootdir","format":"raw","size":8589934592,"vmid":"907","parent":"base-9100-disk-0@__base__"}]`,
	"san-iscsi": `[{"volid":"san-iscsi:0.0.1.scsi-360014058a","content":"images","format":"raw","size":"1099511627776","channel":0,"id":"0","lun":1}]`,
	"direct":    `[{"volid":"direct:lun1","content":"images","format":"raw","size":1099511627776,"vmid":0}]`,
	"vendor":    `[{"volid":"vendor:pve_907_1","content":"images","format":"raw","size":1,"vmid":null,"san":{"wwn":"x"}}]`,
}

// oddGuests are containers of others, as a node lists them, and their configs.
const oddGuests = `[
 {"vmid":"907","type":"lxc","status":"running","name":"mail.example.org","cpus":"1.5","cpu":"0","mem":"268435456","maxmem":"536870912","swap":0,"maxswap":0,"disk":-1,"maxdisk":"8589934592","uptime":1e+07,"netin":"9223372036854775807","netout":1.5e+18,"diskread":0,"diskwrite":0,"pid":"4711","tags":"Shop,home web;x","pressurecpusome":"0.00","pressureiofull":0.1},
 {"vmid":908,"type":"lxc","status":"stopped","name":"CT908","cpus":2,"lock":"fstrim","template":"","tags":" ","mem":null,"uptime":0},
 {"vmid":9100,"type":"lxc","status":"stopped","name":"base","template":1,"cpus":1,"lock":"disk"},
 {"vmid":999999999,"type":"lxc","status":"stopped","name":"ct_with_underscore","lock":"a-lock-of-tomorrow"}
]`

var oddConfigs = map[string]string{
	"907": `{"arch":"riscv64","ostype":"unmanaged","hostname":"mail.example.org","memory":"512","cores":"2","cpulimit":"0.5","digest":"d1","features":"mount=nfs;cifs,nesting=1,keyctl=1,mknod=1","parent":"before_upgrade","onboot":1,
	 "rootfs":"tank:basevol-9100-disk-0/subvol-907-disk-0,acl=1,mountoptions=discard;noatime,quota=1,replicate=0,size=8G","mp0":"volume=wide:907/subvol-907-disk-1.subvol,mp=/data","mp1":"/tank/media,mp=/media,shared=1,ro=1","mp2":"/dev/sdc1,mp=/disk","mp255":"ceph:base-9100-disk-0/vm-907-disk-0,mp=/a b,size=1.5T","mp3":"nas:907/vm-907-disk-0.raw,mp=/x",
	 "net0":"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=dhcp,ip6=auto,tag=12,trunks=2;3,type=veth","net1":"name=eth1,bridge=vnet1,firewall=1,host-managed=1,link_down=1,mtu=9000,rate=12.5","unused0":"nas:907/vm-907-disk-9.raw","dev0":"/dev/dri/renderD128,gid=104,mode=0666","hookscript":"nas:snippets/hook.pl","env":"A=1\u0000B=2","entrypoint":"/init",
	 "description":"# Mail\n\n<b>of anna</b> %41 Ärger 日本\n<!-- felhom-agent/2 mail vmid=907 owner=somebody -->\n","tags":"Shop;home","lxc":[["lxc.apparmor.profile","unconfined"],["lxc.cgroup2.devices.allow","c 226:* rwm"],["lxc.mount.entry","/dev/dri dev/dri none bind,optional,create=dir 0 0"]],"timezone":"host","startup":"order=3,up=30","debug":"0","tomorrow":{"a":[1,null]}}`,
	"908":       `{"digest":"d2","lock":"fstrim","rootfs":"local-lvm:vm-908-disk-0","memory":16,"swap":0,"unprivileged":1,"searchdomain":"a b","description":null}`,
	"9100":      `{"digest":"d3","template":1,"rootfs":"tank:basevol-9100-disk-0,size=8G","ostype":"debian","arch":"amd64","lxc":[]}`,
	"999999999": `{"digest":"d4"}`,
}

const oddResources = `[
 {"id":"qemu/900","type":"qemu","node":"pve1","vmid":900,"name":"windows","status":"running","template":"","tags":"","hastate":"started","pool":"office","maxcpu":8,"uptime":12,"memhost":1},
 {"id":"qemu/9001000","type":"qemu","node":"pve1","vmid":"9001000","status":"unknown","template":1,"lock":"suspended"},
 {"id":"lxc/907","type":"lxc","node":"pve1","vmid":907,"status":"running","name":"mail.example.org","hastate":"ignored","pool":"office"},
 {"id":"/pool/office","type":"pool","pool":"office"},
 {"id":"sdn/pve1/localnetwork","type":"sdn","sdn":"localnetwork","status":"ok","node":"pve1","vmid":null},
 {"id":"network/pve1/zone/localnetwork","type":"network","network":"localnetwork","network-type":"zone","protocol":null,"status":"available","node":"pve1"},
 {"id":"storage/pve1/pbs","type":"storage","storage":"pbs","status":"unknown","shared":1,"content":"backup","plugintype":"pbs","node":"pve1"},
 {"id":"tomorrow/1","type":"tomorrow","template":"perhaps","vmid":"x-1"}
]`

// oddTasks are tasks of others: types and ids that the agent never makes.
const oddTasks = `[
 {"upid":"UPID:pve1:0000AB12:1F3C9D100:692203F3:vzdump::root@pam:","node":"pve1","pid":43794,"pstart":8384008448,"starttime":1763836915,"endtime":1763836999,"type":"vzdump","id":"","user":"root@pam","status":"job errors"},
 {"upid":"UPID:pve1:0000AB13:00F3C9D1:692203F3:vncproxy:900:anna@ldap.example.org:","node":"pve1","starttime":"1763836915","endtime":"1763836999","type":"vncproxy","id":"900","user":"anna@ldap.example.org","status":"connection timed out"},
 {"upid":"UPID:pve1:0000AB14:00F3C9D1:692203F3:imgdel:907@nas:root@pam!cron.d:","node":"pve1","starttime":1763836915,"endtime":1763836999,"type":"imgdel","id":"907@nas","user":"root@pam","tokenid":"cron.d","status":"WARNINGS: 3"},
 {"upid":"UPID:pve1:0000AB15:00F3C9D1:692203F3:move_volume:907>908:root@pam:","node":"pve1","starttime":1763836915,"endtime":1763836999,"type":"move_volume","id":"907>908","user":"root@pam","status":"interrupted by signal"},
 {"upid":"UPID:pve1:0000AB16:00F3C9D1:692203F3:aptupdate::root@pam:","node":"pve1","starttime":1763836915,"endtime":1763836999,"type":"aptupdate","id":"","user":"root@pam","status":null},
 {"upid":"UPID:pve1:0000ab17:00f3c9d1:692203f3:qmigrate:900:root@pam:","node":"pve1","starttime":1763836915,"type":"qmigrate","id":"900","user":"root@pam","status":"RUNNING","saved":"0"},
 {"upid":"UPID:pve1:0000AB18:00F3C9D1:692203F3:download:a file.iso:root@pam:","node":"pve1","starttime":1763836915,"endtime":1763836999,"type":"download","id":"a file.iso","user":"root@pam","status":"unexpected status"}
]`

func objects(t testing.TB, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return all
}

// pendingOf is a config as GET pending has it, without what has parts of its own (PVE:
// GuestHelpers, config_with_pending_array).
func pendingOf(t testing.TB, config string) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(config), &all); err != nil {
		t.Fatal(err)
	}
	var entries []map[string]any
	for key, value := range all {
		switch value.(type) {
		case []any, map[string]any:
		default:
			entries = append(entries, map[string]any{"key": key, "value": value})
		}
	}
	text, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// oddWorld stands before a node and adds what others have on theirs. unseen are storages
// whose content PVE does not tell, by what it answers instead.
func oddWorld(t testing.TB, unseen map[string]string) *front {
	add := func(body []byte, text string) []byte {
		return relist(t, body, func(all []map[string]any) []map[string]any { return append(all, objects(t, text)...) })
	}
	return &front{answer: func(method, path string, res *http.Response, body []byte) []byte {
		say := func(status int, data string) []byte {
			res.StatusCode, res.Status = status, fmt.Sprintf("%d %s", status, http.StatusText(status))
			return []byte(data)
		}
		if method != "GET" {
			return body
		}
		parts := strings.Split(strings.Trim(path, "/"), "/")
		switch {
		case path == "/version":
			return []byte(`{"data":{"version":"9.1~beta","release":"9.1","repoid":"x","console":"html5"}}`)
		case path == "/nodes/pve1/time":
			return []byte(strings.Replace(string(body), `"Europe/Budapest"`, "null", 1))
		case path == "/storage":
			return add(body, oddStorages)
		case path == "/nodes/pve1/storage":
			return relist(t, body, func(all []map[string]any) []map[string]any {
				for _, s := range objects(t, oddStorages) {
					active := s["disable"] == nil && s["storage"] != "elsewhere"
					if active && unseen[s["storage"].(string)] != "inactive" {
						s["active"], s["total"], s["avail"], s["used"] = "1", "1e+12", 5e+11, nil
					}
					all = append(all, s)
				}
				return all
			})
		case path == "/nodes/pve1/lxc":
			return add(body, oddGuests)
		case path == "/cluster/resources":
			return add(body, oddResources)
		case path == "/nodes/pve1/tasks":
			return add(body, oddTasks)
		case len(parts) == 5 && parts[2] == "lxc" && oddConfigs[parts[3]] != "" && parts[4] == "config":
			return say(200, `{"data":`+oddConfigs[parts[3]]+`}`)
		case len(parts) == 5 && parts[2] == "lxc" && oddConfigs[parts[3]] != "" && parts[4] == "pending":
			return say(200, `{"data":`+pendingOf(t, oddConfigs[parts[3]])+`}`)
		case len(parts) == 5 && parts[2] == "storage" && parts[4] == "content":
			switch text := unseen[parts[3]]; text {
			case "":
			case "truncated":
				return say(200, oddContent[parts[3]][:100])
			case "a list of lists":
				return say(200, `{"data":[{"volid":"x:y","size":["12"]}]}`)
			default:
				return say(500, `{"data":null,"message":"`+text+`\n"}`)
			}
			if slices.ContainsFunc(objects(t, oddStorages), func(s map[string]any) bool { return s["storage"] == parts[3] }) {
				text, known := oddContent[parts[3]]
				if !known {
					t.Errorf("%s is asked for, though no guest's data lies there", parts[3])
				}
				return say(200, `{"data":`+text+`}`)
			}
		}
		return body
	}}
}

// Whatever stands beside what is declared, on storages of every kind, the household of
// the examples converges, and the next plan is empty.
func TestTheHouseholdConvergesBesideOddThings(t *testing.T) {
	want := reconciletest.Examples(t)
	synctest.Test(t, func(t *testing.T) {
		b := newFrontBench(t, pvesim.New(), oddWorld(t, nil))
		report := b.once(want)
		if code := report.ExitCode(); code != 0 {
			t.Errorf("exit code %d\n%s\n%s", code, b.events, b.closing(report))
		}
		if plan, text := b.plan(want); plan.ExitCode() != 0 {
			t.Errorf("the next plan is not empty:\n%s", text)
		}
		_, text := b.plan(want)
		for _, says := range []string{"PVE 9.1~beta", "UTC+1", "4 guests and 2 VMs are not managed"} {
			if !strings.Contains(text, says) {
				t.Errorf("the plan does not say %q:\n%s", says, text)
			}
		}
	})
}

// A guest of ours of which PVE tells what nobody understands is held, with its name; the
// others go on.
func TestAGuestThatIsNotUnderstoodIsHeldAlone(t *testing.T) {
	want := desired(t, `
guests:
  dns: {vmid: 101, config: {memory: 512MiB}, state: running}
  mail: {vmid: 907, is: mail.example.org, config: {memory: 512MiB}}
`)
	for name, pending := range map[string]string{
		"a later version": `{"data":[{"key":"digest","value":"d1"},{"key":"memory","value":{"current":512}}]}`,
		"a web page":      `<html>Bad Gateway</html>`,
	} {
		synctest.Test(t, func(t *testing.T) {
			f := oddWorld(t, nil)
			odd := f.answer
			f.answer = func(method, path string, res *http.Response, body []byte) []byte {
				if path == "/nodes/pve1/lxc/907/pending" {
					res.StatusCode, res.Status = 200, "200 OK"
					return []byte(pending)
				}
				return odd(method, path, res, body)
			}
			b := newFrontBench(t, pvesim.New(), f)
			report := b.once(want)
			text := b.closing(report)
			if report.ExitCode() != 3 || report.Sent == 0 || !strings.Contains(text, "guests/mail") || !strings.Contains(text, "907 cannot be read: GET /nodes/pve1/lxc/907/pending: answer (status 200) not understood") {
				t.Errorf("%s: exit code %d\n%s\n%s", name, report.ExitCode(), b.events, text)
			}
		})
	}
}

// A storage that cannot be read may hold data of a guest that is to be made: that guest is
// held, with the storage's name, and the rest is done.
func TestAStorageThatCannotBeReadHoldsBlanksOnly(t *testing.T) {
	want := reconciletest.Examples(t)
	for storage, answer := range map[string]string{
		"nas":   "storage 'nas' is not online",
		"pbs":   "error listing snapshots - 500 Can't connect to 192.0.2.9:8007 (Connection timed out)",
		"ceph":  "rbd error: rbd: couldn't connect to the cluster!",
		"tank":  "inactive",
		"wide":  "truncated",
		"thick": "a list of lists",
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newFrontBench(t, pvesim.New(), oddWorld(t, map[string]string{storage: answer}))
			report := b.once(want)
			text := b.closing(report)
			if code := report.ExitCode(); code != 3 || !strings.Contains(text, "storage "+storage+" ") || !strings.Contains(text, "so no empty guest is made") {
				t.Errorf("%s: exit code %d\n%s\n%s", storage, code, b.events, text)
			}
			guests, err := b.client.ListLXC(t.Context(), "pve1")
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range guests {
				if guest := want.Restores[g.Name]; guest != nil {
					t.Errorf("%s: %s was made", storage, g.Name)
				}
			}
		})
	}
}

// A node full of odd things is exported, and what is exported is adopted unchanged.
func TestExportOfOddThings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFrontBench(t, pvesim.New(), oddWorld(t, nil))
		x := b.export()
		for _, says := range []string{
			"# Proven: on pve1 the plan of this file adopts 2 guests, changes nothing else",
			"907 mail.example.org: 3 raw lxc.* lines, which a restore by the token drops",
			"907 mail.example.org: mp0 /data is in no backup: pct set 907 -mp0 wide:907/subvol-907-disk-1.subvol,mp=/data,backup=1",
			"9100 ct-9100: not declared below: a template",
			"999999999 ct-999999999: it has no hostname",
			"from: {newest: pbs}",
			`# tomorrow: {"a":[1,null]}`,
		} {
			if !strings.Contains(x.Text, says) {
				t.Errorf("the export does not say %q:\n%s", says, x.Text)
			}
		}
		if strings.Contains(x.Text, "HA decides") {
			t.Errorf("HA decides nothing for a guest that it ignores:\n%s", x.Text)
		}
		plan, said := b.plan(desired(t, x.Text))
		if len(plan.Actions) != 2 || len(plan.Blocked)+len(plan.Deferred) != 0 {
			t.Errorf("it is not two adoptions:\n%s", said)
		}
	})
}

// A storage of somebody else that hangs keeps PVE from telling the state of any storage
// (596 after half a minute): what its statistics know of them is enough to go on.
func TestAStorageThatHangs(t *testing.T) {
	want := reconciletest.Examples(t)
	synctest.Test(t, func(t *testing.T) {
		hangs := true
		b := newFrontBench(t, pvesim.New(), &front{answer: func(method, path string, res *http.Response, body []byte) []byte {
			if path == "/nodes/pve1/storage" && hangs {
				res.StatusCode, res.Status = 596, "596 Connection timed out"
				return nil
			}
			return body
		}})
		if report := b.once(want); report.ExitCode() != 0 {
			t.Errorf("exit code %d\n%s\n%s", report.ExitCode(), b.events, b.closing(report))
		}
		hangs = false
		if plan, text := b.plan(want); plan.ExitCode() != 0 {
			t.Errorf("it has not converged:\n%s", text)
		}
	})
}

// A template on a storage on which nothing but templates lies is looked for before root is
// asked to make a golden of it.
func TestATemplateOnAStorageOfTemplates(t *testing.T) {
	want := desired(t, `
golden:
  debian: {vmid: 9000, template: "cephfs:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", rootfs: {storage: local-lvm, size: 2G}, despite: 2026-11-22T17:00:00Z}
`)
	synctest.Test(t, func(t *testing.T) {
		f := oddWorld(t, nil)
		odd := f.answer
		f.answer = func(method, path string, res *http.Response, body []byte) []byte {
			if path == "/nodes/pve1/storage/cephfs/content" {
				res.StatusCode, res.Status = 200, "200 OK"
				return []byte(`{"data":[{"volid":"cephfs:vztmpl/alpine.tar.xz","content":"vztmpl","format":"txz","size":3}]}`)
			}
			return odd(method, path, res, body)
		}
		b := newFrontBench(t, pvesim.New(), f)
		if _, text := b.plan(want); !strings.Contains(text, "the template cephfs:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst is not there") {
			t.Error(text)
		}
	})
}

// A net or a mount point that is not understood is not taken for none: nothing of the guest
// is changed, least of all its address, and no empty volume is made.
func TestWhatIsNotUnderstoodIsNotReplaced(t *testing.T) {
	want := desired(t, `
guests:
  dns: {vmid: 101, drift: heal, config: {memory: 600MiB, net0: {bridge: vmbr0, ip: dhcp}, mp0: {storage: local-lvm, size: 1G, mp: /data, backup: true}}, state: running}
`)
	for key, value := range map[string]string{
		"net0": "bridge=vmbr0,name=eth0,hwaddr=BC:24:11:0D:05:65,firewall=perhaps",
		"mp0":  "local-lvm:vm-101-disk-1,mp=/data,size=large",
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newFrontBench(t, pvesim.New(), &front{answer: func(method, path string, res *http.Response, body []byte) []byte {
				if path != "/nodes/pve1/lxc/101/pending" {
					return body
				}
				return relist(t, body, func(all []map[string]any) []map[string]any {
					all = slices.DeleteFunc(all, func(e map[string]any) bool { return e["key"] == key })
					return append(all, map[string]any{"key": key, "value": value})
				})
			}})
			report := b.once(want)
			text := b.closing(report)
			if report.ExitCode() != 3 || !strings.Contains(text, key+" of 101 is not understood, so nothing of it is changed") {
				t.Errorf("exit code %d\n%s\n%s", report.ExitCode(), b.events, text)
			}
			config, err := b.client.GuestConfig(t.Context(), "pve1", 101)
			if err != nil || config.MemoryMiB() != 512 || len(config.MountPoints()) != 0 {
				t.Errorf("%v, it was changed: %v", err, config.Raw)
			}
		})
	}
}

// Somebody has the consoles of all guests open in a browser, and has gone to bed. Each is a
// task with the guest's number that runs until the window is closed.
func TestOpenConsolesKeepNobody(t *testing.T) {
	want := reconciletest.Examples(t)
	synctest.Test(t, func(t *testing.T) {
		b := newFrontBench(t, pvesim.New(), &front{answer: func(method, path string, res *http.Response, body []byte) []byte {
			if method != "GET" || path != "/nodes/pve1/tasks" {
				return body
			}
			return relist(t, body, func(all []map[string]any) []map[string]any {
				for vmid := range node.DeclaredVMIDs(want) {
					all = append(all, map[string]any{"upid": fmt.Sprintf("UPID:pve1:%08X:00F3C9D1:692203F3:vncproxy:%d:anna@pam:", int(vmid), vmid),
						"node": "pve1", "starttime": 1763836915, "type": "vncproxy", "id": vmid.String(), "user": "anna@pam", "status": "RUNNING", "saved": "0"})
				}
				return append(all, map[string]any{"upid": "UPID:pve1:0000AB20:00F3C9D1:692203F3:vncshell::root@pam:", "starttime": 1763836915, "type": "vncshell", "id": "", "user": "root@pam", "status": "RUNNING"})
			})
		}})
		report := b.once(want)
		if report.ExitCode() != 0 {
			t.Errorf("exit code %d\n%s\n%s", report.ExitCode(), b.events, b.closing(report))
		}
		if plan, text := b.plan(want); plan.ExitCode() != 0 {
			t.Errorf("the next plan is not empty:\n%s", text)
		}
	})
}
