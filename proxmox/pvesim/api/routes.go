package api

import (
	"strconv"
	"strings"
	"sync"

	"github.com/felhom/felhom-agent/proxmox/pvesim/accounts"
	"github.com/felhom/felhom-agent/proxmox/pvesim/backups"
	"github.com/felhom/felhom-agent/proxmox/pvesim/datacenter"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lifecycle"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/snapshots"
	"github.com/felhom/felhom-agent/proxmox/pvesim/storages"
	"github.com/felhom/felhom-agent/proxmox/pvesim/volumes"
)

// A branch is one component of the paths.
type branch struct {
	fixed   map[string]*branch
	name    string // of the variable component
	vary    *branch
	rest    bool // the variable takes all that is left
	methods map[string]*request.Route
}

// The routes are built for the first request: an agent of a real node has this package and needs none.
var (
	root  *branch
	build sync.Once
)

// FindRoute is the route of a method and path, and the variables of the path as
// names and values by turns.
func FindRoute(method, path string) (*request.Route, []string, bool) {
	build.Do(buildRoutes)
	return findRoute(method, path)
}

func findRoute(method, path string) (*request.Route, []string, bool) {
	var vars []string
	b := root
	path = strings.TrimPrefix(path, "/")
	for path != "" {
		part, rest, _ := strings.Cut(path, "/")
		if next := b.fixed[part]; next != nil {
			b, path = next, rest
			continue
		}
		if b.vary == nil {
			return nil, nil, false
		}
		if b.rest {
			part, rest = path, ""
		}
		if vars == nil {
			vars = make([]string, 0, 8)
		}
		vars = append(vars, b.name, part)
		b, path = b.vary, rest
	}
	rt := b.methods[method]
	return rt, vars, rt != nil
}

// buildRoutes is long because it is a table: one method of the API a line.
func buildRoutes() {
	root = &branch{}
	mountKeys, unusedKeys := "rootfs", ""
	for i := range 256 {
		mountKeys += ",mp" + strconv.Itoa(i)
		unusedKeys += ",unused" + strconv.Itoa(i)
	}
	const nodeKey = "node! format=node\n"
	const vmKeys = nodeKey + "vmid! integer 100..999999999 format=vmid\n"
	const snapKeys = vmKeys + "snapname! format=configid len=0..40\n"
	const storeKeys = nodeKey + "storage! format=storage\n"
	const volumeKeys = nodeKey + "storage format=storage\nvolume!\n"
	add := func(method, path string, rt request.Route) {
		b := root
		for _, part := range strings.Split(strings.Trim(path, "/"), "/") {
			if part == "" {
				continue
			}
			if name, ok := strings.CutPrefix(part, "{"); ok {
				b.name = strings.TrimRight(name, "}+")
				b.rest = strings.HasSuffix(part, "+}")
				if b.vary == nil {
					b.vary = &branch{}
				}
				b = b.vary
				continue
			}
			if b.fixed == nil {
				b.fixed = make(map[string]*branch)
			}
			if b.fixed[part] == nil {
				b.fixed[part] = &branch{}
			}
			b = b.fixed[part]
		}
		if b.methods == nil {
			b.methods = make(map[string]*request.Route)
		}
		rt.Node = strings.HasPrefix(path, "/nodes/{node}")
		b.methods[method] = &rt
	}
	get := func(path, params string, perm, run func(*request.Call) error) {
		add("GET", path, request.Route{Schema: schema.New(params), Perm: perm, Run: run, Protected: strings.HasPrefix(path, "/nodes/{node}/")})
	}
	fast := func(path, params string, perm, run func(*request.Call) error) { // runs in pveproxy itself
		add("GET", path, request.Route{Schema: schema.New(params), Perm: perm, Run: run})
	}
	do := func(method, path, params string, perm, run func(*request.Call) error) {
		add(method, path, request.Route{Schema: schema.New(params), Perm: perm, Run: run, Protected: true})
	}

	fast("/", "", nil, request.Index("subdir", "version", "cluster", "nodes", "storage", "access", "pools"))
	fast("/version", "", nil, datacenter.Version)
	fast("/cluster", "", nil, request.Index("name", "status", "resources", "tasks", "nextid", "options", "backup", "backup-info"))
	fast("/cluster/status", "", request.TopNeeds("Sys.Audit"), datacenter.Status)
	fast("/cluster/resources", "type enum=vm,storage,node,sdn", nil, datacenter.Resources)
	fast("/cluster/tasks", "", nil, datacenter.AllTasks)
	fast("/cluster/nextid", "vmid integer 100..999999999 format=vmid", nil, datacenter.NextID)
	fast("/cluster/options", "", nil, datacenter.Options)
	fast("/cluster/backup", "", request.TopNeeds("Sys.Audit"), backups.ListJobs)
	fast("/nodes", "", nil, datacenter.ListNodes)
	fast("/nodes/{node}", nodeKey, nil, request.Index("name", "lxc", "storage", "tasks", "vzdump", "disks", "status", "version", "time"))
	fast("/nodes/{node}/version", nodeKey, nil, datacenter.Version)
	fast("/nodes/{node}/status", nodeKey, request.NodeNeeds("Sys.Audit"), datacenter.NodeStatus)
	do("POST", "/nodes/{node}/status", nodeKey+"command! enum=reboot,shutdown", request.NodeNeeds("Sys.PowerMgmt"), datacenter.NodeCommand)
	get("/nodes/{node}/time", nodeKey, request.NodeNeeds("Sys.Audit"), datacenter.NodeTime)
	do("PUT", "/nodes/{node}/time", nodeKey+"timezone!", request.NodeNeeds("Sys.Modify"), datacenter.SetNodeTime)
	get("/nodes/{node}/aplinfo", nodeKey, nil, datacenter.Appliances)
	get("/nodes/{node}/network", nodeKey+"type", nil, datacenter.Network)
	get("/nodes/{node}/rrddata", nodeKey+"timeframe! enum=hour,day,week,month,year,decade\ncf enum=AVERAGE,MAX", request.NodeNeeds("Sys.Audit"), datacenter.RRD(datacenter.MeasuredNode, datacenter.NodeRRD))
	get("/nodes/{node}/disks/list", nodeKey+"include-partitions boolean\nskipsmart boolean\ntype enum=unused,journal_disks", datacenter.MaySeeDisks, datacenter.ListDisks)
	get("/nodes/{node}/disks/smart", nodeKey+"disk! re=^/dev/[a-zA-Z0-9\\/]+$\nhealthonly boolean", request.TopNeeds("Sys.Audit"), datacenter.SMART)
	get("/nodes/{node}/hardware/usb", nodeKey, request.TopNeeds("Sys.Modify"), datacenter.USB)
	do("POST", "/nodes/{node}/startall", nodeKey+"vms format=vmid-list\nforce boolean", request.TopNeeds("VM.PowerMgmt"), datacenter.Bulk("startall"))
	do("POST", "/nodes/{node}/stopall", nodeKey+"vms format=vmid-list\nforce-stop boolean\ntimeout integer 0..7200", request.TopNeeds("VM.PowerMgmt"), datacenter.Bulk("stopall"))

	fast("/nodes/{node}/tasks", nodeKey+`
errors boolean
limit integer 0..
since integer
source enum=archive,active,all
start integer 0..
statusfilter format=task-status list
typefilter
until integer
userfilter
vmid integer 100..999999999 format=vmid`, nil, datacenter.NodeTasks)
	fast("/nodes/{node}/tasks/{upid}", nodeKey+"upid!", nil, request.Index("name", "log", "status"))
	get("/nodes/{node}/tasks/{upid}/status", nodeKey+"upid!", nil, datacenter.TaskStatus)
	get("/nodes/{node}/tasks/{upid}/log", nodeKey+"upid!\nstart integer 0..\nlimit integer 0..\ndownload boolean", nil, datacenter.TaskLog)
	do("DELETE", "/nodes/{node}/tasks/{upid}", nodeKey+"upid!", nil, datacenter.TaskStop)

	get("/nodes/{node}/lxc", nodeKey, nil, guests.List)
	createSchema := schema.New(vmKeys+`
bwlimit number 0..
force boolean
ha-managed boolean
ignore-unpack-errors boolean
ostemplate! len=0..255
password len=5..0
pool format=poolid
restore boolean
ssh-public-keys
start boolean
storage format=storage
unique boolean requires=restore`, schema.Config)
	add("POST", "/nodes/{node}/lxc", request.Route{Schema: createSchema, Run: lifecycle.Create, Protected: true})
	fast("/nodes/{node}/lxc/{vmid}", vmKeys, nil, request.OfGuest(request.Index("subdir", "config", "pending", "status", "vncproxy", "termproxy", "vncwebsocket", "spiceproxy", "migrate", "clone", "rrd", "rrddata", "firewall", "snapshot", "resize", "interfaces")))
	do("DELETE", "/nodes/{node}/lxc/{vmid}", vmKeys+"destroy-unreferenced-disks boolean\nforce boolean\npurge boolean", request.VMNeeds("VM.Allocate"), lifecycle.Destroy)
	fast("/nodes/{node}/lxc/{vmid}/config", vmKeys+"current boolean\nsnapshot format=configid len=0..40", request.VMNeeds("VM.Audit"), guests.Config)
	putSchema := schema.New(vmKeys+`
delete format=configid-list list
digest len=0..40
revert format=configid-list list`, schema.Config)
	add("PUT", "/nodes/{node}/lxc/{vmid}/config", request.Route{Schema: putSchema, Run: guests.Update, Protected: true,
		Perm: request.VMNeedsAny("VM.Config.Disk", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options")})
	fast("/nodes/{node}/lxc/{vmid}/pending", vmKeys, request.VMNeeds("VM.Audit"), guests.Pending)
	fast("/nodes/{node}/lxc/{vmid}/status", vmKeys, nil, request.OfGuest(request.Index("subdir", "current", "start", "stop", "shutdown", "reboot", "migrate")))
	get("/nodes/{node}/lxc/{vmid}/status/current", vmKeys, request.VMNeeds("VM.Audit"), guests.Status)
	do("POST", "/nodes/{node}/lxc/{vmid}/status/start", vmKeys+"debug boolean\nskiplock boolean", request.VMNeeds("VM.PowerMgmt"), guests.Start)
	do("POST", "/nodes/{node}/lxc/{vmid}/status/stop", vmKeys+"overrule-shutdown boolean\nskiplock boolean", request.VMNeeds("VM.PowerMgmt"), guests.Stop)
	do("POST", "/nodes/{node}/lxc/{vmid}/status/shutdown", vmKeys+"forceStop boolean\ntimeout integer 0..", request.VMNeeds("VM.PowerMgmt"), guests.Shutdown)
	do("POST", "/nodes/{node}/lxc/{vmid}/status/reboot", vmKeys+"timeout integer 0..", request.VMNeeds("VM.PowerMgmt"), guests.Reboot)
	do("POST", "/nodes/{node}/lxc/{vmid}/status/suspend", vmKeys, request.VMNeeds("VM.PowerMgmt"), guests.Freeze("vzsuspend"))
	do("POST", "/nodes/{node}/lxc/{vmid}/status/resume", vmKeys, request.VMNeeds("VM.PowerMgmt"), guests.Freeze("vzresume"))
	get("/nodes/{node}/lxc/{vmid}/interfaces", vmKeys, request.VMNeeds("VM.Audit"), guests.Interfaces)
	get("/nodes/{node}/lxc/{vmid}/rrddata", vmKeys+"timeframe! enum=hour,day,week,month,year\ncf enum=AVERAGE,MAX", request.VMNeeds("VM.Audit"), datacenter.RRD(datacenter.MeasuredGuest, datacenter.GuestRRD))
	get("/nodes/{node}/lxc/{vmid}/feature", vmKeys+"feature! enum=snapshot,clone,copy\nsnapname format=configid len=0..40", request.VMNeeds("VM.Audit"), guests.Feature)
	do("PUT", "/nodes/{node}/lxc/{vmid}/resize", vmKeys+"digest len=0..40\ndisk! enum="+mountKeys+"\nsize! re=\\+?\\d+(\\.\\d+)?[KMGT]?", request.VMNeedsAny("VM.Config.Disk"), volumes.Resize)
	do("POST", "/nodes/{node}/lxc/{vmid}/clone", vmKeys+`
bwlimit number 0..
description
full boolean
hostname format=dns-name
newid! integer 100..999999999 format=vmid
pool format=poolid
snapname format=configid len=0..40
storage format=storage
target format=node`, lifecycle.MayClone, lifecycle.Clone)
	do("POST", "/nodes/{node}/lxc/{vmid}/template", vmKeys, request.VMNeeds("VM.Allocate"), lifecycle.Convert)
	do("POST", "/nodes/{node}/lxc/{vmid}/move_volume", vmKeys+`
bwlimit number 0..
delete boolean
digest len=0..40
storage format=storage
target-digest len=0..40
target-vmid integer 100..999999999 format=vmid
target-volume enum=`+mountKeys+unusedKeys+`
volume! enum=`+mountKeys+unusedKeys, request.VMNeeds("VM.Config.Disk"), volumes.Move)
	do("POST", "/nodes/{node}/lxc/{vmid}/migrate", vmKeys+"bwlimit number 0..\nonline boolean\nrestart boolean\ntarget! format=node\ntarget-storage\ntimeout integer", request.VMNeeds("VM.Migrate"), guests.Migrate)
	get("/nodes/{node}/lxc/{vmid}/snapshot", vmKeys, request.VMNeeds("VM.Audit"), snapshots.List)
	do("POST", "/nodes/{node}/lxc/{vmid}/snapshot", snapKeys+"description", request.VMNeeds("VM.Snapshot"), snapshots.Create)
	fast("/nodes/{node}/lxc/{vmid}/snapshot/{snapname}", snapKeys, nil, request.Index("cmd", "rollback", "config"))
	do("DELETE", "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}", snapKeys+"force boolean", request.VMNeeds("VM.Snapshot"), snapshots.Delete)
	fast("/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", snapKeys, request.VMNeedsAny("VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit"), snapshots.GetConfig)
	do("PUT", "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", snapKeys+"description", request.VMNeeds("VM.Snapshot"), snapshots.Describe)
	do("POST", "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback", snapKeys+"start boolean", request.VMNeedsAny("VM.Snapshot", "VM.Snapshot.Rollback"), snapshots.Rollback)

	audit := request.StorageNeedsAny("Datastore.Audit", "Datastore.AllocateSpace")
	fast("/storage", "type enum=btrfs,cephfs,cifs,dir,esxi,iscsi,iscsidirect,lvm,lvmthin,nfs,pbs,rbd,zfs,zfspool", nil, storages.List)
	fast("/storage/{storage}", "storage! format=storage", request.StorageNeedsAny("Datastore.Allocate"), storages.Get)
	get("/nodes/{node}/storage", nodeKey+"content list\nenabled boolean\nformat boolean\nstorage format=storage\ntarget format=node", nil, storages.OfNode)
	fast("/nodes/{node}/storage/{storage}", storeKeys, audit, request.Index("subdir", "content", "download-url", "file-restore", "prunebackups", "rrd", "rrddata", "status", "upload"))
	get("/nodes/{node}/storage/{storage}/status", storeKeys, audit, storages.Status)
	get("/nodes/{node}/storage/{storage}/content", storeKeys+"content format=content\nvmid integer 100..999999999 format=vmid", audit, storages.ListVolumes)
	get("/nodes/{node}/storage/{storage}/content/{volume+}", volumeKeys, nil, storages.GetVolume)
	do("PUT", "/nodes/{node}/storage/{storage}/content/{volume+}", volumeKeys+"notes\nprotected boolean", nil, storages.SetVolume)
	do("DELETE", "/nodes/{node}/storage/{storage}/content/{volume+}", volumeKeys+"delay integer 1..30", nil, storages.DeleteVolume)
	prune := storeKeys + "prune-backups format=prune\ntype enum=qemu,lxc\nvmid integer 100..999999999 format=vmid"
	get("/nodes/{node}/storage/{storage}/prunebackups", prune, audit, storages.PruneDry)
	do("DELETE", "/nodes/{node}/storage/{storage}/prunebackups", prune, nil, storages.Prune)

	do("POST", "/nodes/{node}/vzdump", nodeKey+`
all boolean
bwlimit integer 0..
compress enum=0,1,gzip,lzo,zstd
dumpdir
exclude format=vmid-list list
exclude-path array
fleecing
ionice integer 0..8
job-id re=\S+ len=0..50
lockwait integer 0..
mailnotification enum=always,failure
mailto
mode enum=snapshot,suspend,stop
notes-template len=0..1024 requires=storage
notification-mode enum=auto,legacy-sendmail,notification-system
pbs-change-detection-mode enum=legacy,data,metadata
performance
pigz integer
pool
protected boolean requires=storage
prune-backups format=prune
quiet boolean
remove boolean
script
stdexcludes boolean
stdout boolean
stop boolean
stopwait integer 0..
storage format=storage
tmpdir
vmid format=vmid-list list
zstd integer`, nil, backups.Start)
	fast("/nodes/{node}/vzdump/defaults", nodeKey+"storage format=storage", nil, backups.Defaults)
	get("/nodes/{node}/vzdump/extractconfig", nodeKey+"volume!", nil, backups.ExtractConfig)

	fast("/access", "", nil, request.Index("subdir", "users", "groups", "roles", "acl", "domains", "permissions", "ticket"))
	fast("/access/permissions", "path\nuserid", nil, accounts.Permissions)
	add("GET", "/access/users", request.Route{Schema: schema.New("enabled boolean\nfull boolean"), Run: accounts.Users, Protected: true})
	fast("/access/users/{userid}", "userid! len=0..64", userPerm("User.Modify", "Sys.Audit"), accounts.GetUser)
	fast("/access/users/{userid}/token", "userid! len=0..64", selfPerm, accounts.Tokens)
	fast("/access/roles", "", nil, accounts.Roles)
	fast("/access/groups", "", nil, accounts.Groups)
	fast("/access/acl", "", nil, accounts.ListACL)
	add("GET", "/access/domains", request.Route{Schema: schema.New(""), Run: accounts.Domains, World: true})
	add("POST", "/access/ticket", request.Route{Schema: schema.New("new-format boolean\notp\npassword!\npath len=0..64\nprivs len=0..64\nrealm len=0..32\ntfa-challenge\nusername! len=0..64"), Run: accounts.Ticket, World: true, Protected: true})
	fast("/pools", "poolid format=poolid\ntype enum=qemu,lxc,storage", nil, datacenter.ListPools)
	fast("/pools/{poolid}", "poolid! format=poolid\ntype enum=qemu,lxc,storage", needsAnyAt("/pool/{poolid}", "Pool.Audit"), datacenter.GetPool)
	addVMs(add)
	addExtra(add)
	for _, call := range []string{"POST /access/ticket", "PUT /access/password", "POST /access/tfa/felhom@pve", "PUT /access/tfa/felhom@pve/x", "DELETE /access/tfa/felhom@pve/x"} {
		method, path, _ := strings.Cut(call, " ")
		rt, _, _ := findRoute(method, path)
		rt.Ticket = true
	}
}
