package pvesim

import "strings"

// A route is one method of the API.
type route struct {
	schema    *schema
	perm      func(*call) error
	run       func(*call) error
	node      bool // goes to the node of the path
	protected bool // runs in pvedaemon
	world     bool // needs no credentials
	ticket    bool // refuses API tokens
}

// A branch is one component of the paths.
type branch struct {
	fixed   map[string]*branch
	name    string // of the variable component
	vary    *branch
	rest    bool // the variable takes all that is left
	methods map[string]*route
}

var root *branch

// findRoute is the route of a method and path, and the variables of the path as
// names and values by turns.
func findRoute(method, path string) (*route, []string, bool) {
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

// index answers with the names of a path's children, as PVE's directory methods do; some
// call them name, some subdir, one cmd.
func index(key string, names ...string) func(*call) error {
	return func(c *call) error {
		d := c.data().list()
		for _, n := range names {
			d.open().str(key, n).close()
		}
		d.end()
		return nil
	}
}

// ofGuest is for methods that first look whether the guest exists.
func ofGuest(run func(*call) error) func(*call) error {
	return func(c *call) error {
		if _, err := c.guest(); err != nil {
			return err
		}
		return run(c)
	}
}

func vmNeeds(privs ...string) func(*call) error {
	return func(c *call) error { return c.s.need(c.who, "/vms/"+c.param("vmid"), privs...) }
}

func vmNeedsAny(privs ...string) func(*call) error {
	return func(c *call) error { return c.s.needAny(c.who, "/vms/"+c.param("vmid"), privs...) }
}

func storageNeedsAny(privs ...string) func(*call) error {
	return func(c *call) error { return c.s.needAny(c.who, "/storage/"+c.param("storage"), privs...) }
}

func nodeNeeds(privs ...string) func(*call) error {
	return func(c *call) error { return c.s.need(c.who, "/nodes/"+c.param("node"), privs...) }
}

func topNeeds(privs ...string) func(*call) error {
	return func(c *call) error { return c.s.need(c.who, "/", privs...) }
}

func buildRoutes() {
	root = &branch{}
	mountKeys, unusedKeys := "rootfs", ""
	for i := range 256 {
		mountKeys += ",mp" + itoa(i)
		unusedKeys += ",unused" + itoa(i)
	}
	const nodeKey = "node! format=node\n"
	const vmKeys = nodeKey + "vmid! integer 100..999999999 format=vmid\n"
	const snapKeys = vmKeys + "snapname! format=configid len=0..40\n"
	const storeKeys = nodeKey + "storage! format=storage\n"
	const volumeKeys = nodeKey + "storage format=storage\nvolume!\n"
	add := func(method, path string, rt route) {
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
			b.methods = make(map[string]*route)
		}
		rt.node = strings.HasPrefix(path, "/nodes/{node}")
		b.methods[method] = &rt
	}
	get := func(path, params string, perm, run func(*call) error) {
		add("GET", path, route{schema: newSchema(params), perm: perm, run: run, protected: strings.HasPrefix(path, "/nodes/{node}/")})
	}
	fast := func(path, params string, perm, run func(*call) error) { // runs in pveproxy itself
		add("GET", path, route{schema: newSchema(params), perm: perm, run: run})
	}
	do := func(method, path, params string, perm, run func(*call) error) {
		add(method, path, route{schema: newSchema(params), perm: perm, run: run, protected: true})
	}

	fast("/", "", nil, index("subdir", "version", "cluster", "nodes", "storage", "access", "pools"))
	fast("/version", "", nil, version)
	fast("/cluster", "", nil, index("name", "status", "resources", "tasks", "nextid", "options", "backup", "backup-info"))
	fast("/cluster/status", "", topNeeds("Sys.Audit"), clusterStatus)
	fast("/cluster/resources", "type enum=vm,storage,node,sdn", nil, clusterResources)
	fast("/cluster/tasks", "", nil, clusterTasks)
	fast("/cluster/nextid", "vmid integer 100..999999999 format=vmid", nil, nextID)
	fast("/cluster/options", "", nil, clusterOptions)
	fast("/cluster/backup", "", topNeeds("Sys.Audit"), backupJobs)
	fast("/nodes", "", nil, nodes)
	fast("/nodes/{node}", nodeKey, nil, index("name", "lxc", "storage", "tasks", "vzdump", "disks", "status", "version", "time"))
	fast("/nodes/{node}/version", nodeKey, nil, version)
	fast("/nodes/{node}/status", nodeKey, nodeNeeds("Sys.Audit"), nodeStatus)
	do("POST", "/nodes/{node}/status", nodeKey+"command! enum=reboot,shutdown", nodeNeeds("Sys.PowerMgmt"), nodeCommand)
	get("/nodes/{node}/time", nodeKey, nodeNeeds("Sys.Audit"), nodeTime)
	do("PUT", "/nodes/{node}/time", nodeKey+"timezone!", nodeNeeds("Sys.Modify"), setNodeTime)
	get("/nodes/{node}/network", nodeKey+"type", nil, nodeNetwork)
	get("/nodes/{node}/rrddata", nodeKey+"timeframe! enum=hour,day,week,month,year,decade\ncf enum=AVERAGE,MAX", nodeNeeds("Sys.Audit"), rrdData(measuredNode, nodeRRD))
	get("/nodes/{node}/disks/list", nodeKey+"include-partitions boolean\nskipsmart boolean\ntype enum=unused,journal_disks", disksPerm, disksList)
	get("/nodes/{node}/disks/smart", nodeKey+"disk! re=^/dev/[a-zA-Z0-9\\/]+$\nhealthonly boolean", topNeeds("Sys.Audit"), disksSmart)
	get("/nodes/{node}/hardware/usb", nodeKey, topNeeds("Sys.Modify"), hardwareUSB)
	do("POST", "/nodes/{node}/startall", nodeKey+"vms format=vmid-list\nforce boolean", topNeeds("VM.PowerMgmt"), bulk("startall"))
	do("POST", "/nodes/{node}/stopall", nodeKey+"vms format=vmid-list\nforce-stop boolean\ntimeout integer 0..7200", topNeeds("VM.PowerMgmt"), bulk("stopall"))

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
vmid integer 100..999999999 format=vmid`, nil, nodeTasks)
	fast("/nodes/{node}/tasks/{upid}", nodeKey+"upid!", nil, index("name", "log", "status"))
	get("/nodes/{node}/tasks/{upid}/status", nodeKey+"upid!", nil, taskStatus)
	get("/nodes/{node}/tasks/{upid}/log", nodeKey+"upid!\nstart integer 0..\nlimit integer 0..\ndownload boolean", nil, taskLog)
	do("DELETE", "/nodes/{node}/tasks/{upid}", nodeKey+"upid!", nil, taskStop)

	get("/nodes/{node}/lxc", nodeKey, nil, lxcList)
	createSchema := newSchema(vmKeys+`
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
unique boolean requires=restore`, configSchema)
	add("POST", "/nodes/{node}/lxc", route{schema: createSchema, run: create, protected: true})
	fast("/nodes/{node}/lxc/{vmid}", vmKeys, nil, ofGuest(index("subdir", "config", "pending", "status", "vncproxy", "termproxy", "vncwebsocket", "spiceproxy", "migrate", "clone", "rrd", "rrddata", "firewall", "snapshot", "resize", "interfaces")))
	do("DELETE", "/nodes/{node}/lxc/{vmid}", vmKeys+"destroy-unreferenced-disks boolean\nforce boolean\npurge boolean", vmNeeds("VM.Allocate"), destroy)
	fast("/nodes/{node}/lxc/{vmid}/config", vmKeys+"current boolean\nsnapshot format=configid len=0..40", vmNeeds("VM.Audit"), guestConfig)
	putSchema := newSchema(vmKeys+`
delete format=configid-list list
digest len=0..40
revert format=configid-list list`, configSchema)
	add("PUT", "/nodes/{node}/lxc/{vmid}/config", route{schema: putSchema, run: update, protected: true,
		perm: vmNeedsAny("VM.Config.Disk", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options")})
	fast("/nodes/{node}/lxc/{vmid}/pending", vmKeys, vmNeeds("VM.Audit"), guestPending)
	fast("/nodes/{node}/lxc/{vmid}/status", vmKeys, nil, ofGuest(index("subdir", "current", "start", "stop", "shutdown", "reboot", "migrate")))
	get("/nodes/{node}/lxc/{vmid}/status/current", vmKeys, vmNeeds("VM.Audit"), guestStatus)
	do("POST", "/nodes/{node}/lxc/{vmid}/status/start", vmKeys+"debug boolean\nskiplock boolean", vmNeeds("VM.PowerMgmt"), startGuest)
	do("POST", "/nodes/{node}/lxc/{vmid}/status/stop", vmKeys+"overrule-shutdown boolean\nskiplock boolean", vmNeeds("VM.PowerMgmt"), stopGuest)
	do("POST", "/nodes/{node}/lxc/{vmid}/status/shutdown", vmKeys+"forceStop boolean\ntimeout integer 0..", vmNeeds("VM.PowerMgmt"), shutdownGuest)
	do("POST", "/nodes/{node}/lxc/{vmid}/status/reboot", vmKeys+"timeout integer 0..", vmNeeds("VM.PowerMgmt"), rebootGuest)
	do("POST", "/nodes/{node}/lxc/{vmid}/status/suspend", vmKeys, vmNeeds("VM.PowerMgmt"), freezeGuest("vzsuspend"))
	do("POST", "/nodes/{node}/lxc/{vmid}/status/resume", vmKeys, vmNeeds("VM.PowerMgmt"), freezeGuest("vzresume"))
	get("/nodes/{node}/lxc/{vmid}/interfaces", vmKeys, vmNeeds("VM.Audit"), guestInterfaces)
	get("/nodes/{node}/lxc/{vmid}/rrddata", vmKeys+"timeframe! enum=hour,day,week,month,year\ncf enum=AVERAGE,MAX", vmNeeds("VM.Audit"), rrdData(measuredGuest, guestRRD))
	get("/nodes/{node}/lxc/{vmid}/feature", vmKeys+"feature! enum=snapshot,clone,copy\nsnapname format=configid len=0..40", vmNeeds("VM.Audit"), guestFeature)
	do("PUT", "/nodes/{node}/lxc/{vmid}/resize", vmKeys+"digest len=0..40\ndisk! enum="+mountKeys+"\nsize! re=\\+?\\d+(\\.\\d+)?[KMGT]?", vmNeedsAny("VM.Config.Disk"), resize)
	do("POST", "/nodes/{node}/lxc/{vmid}/clone", vmKeys+`
bwlimit number 0..
description
full boolean
hostname format=dns-name
newid! integer 100..999999999 format=vmid
pool format=poolid
snapname format=configid len=0..40
storage format=storage
target format=node`, clonePerm, clone)
	do("POST", "/nodes/{node}/lxc/{vmid}/template", vmKeys, vmNeeds("VM.Allocate"), makeTemplate)
	do("POST", "/nodes/{node}/lxc/{vmid}/move_volume", vmKeys+`
bwlimit number 0..
delete boolean
digest len=0..40
storage format=storage
target-digest len=0..40
target-vmid integer 100..999999999 format=vmid
target-volume enum=`+mountKeys+unusedKeys+`
volume! enum=`+mountKeys+unusedKeys, vmNeeds("VM.Config.Disk"), moveVolume)
	do("POST", "/nodes/{node}/lxc/{vmid}/migrate", vmKeys+"bwlimit number 0..\nonline boolean\nrestart boolean\ntarget! format=node\ntarget-storage\ntimeout integer", vmNeeds("VM.Migrate"), migrate)
	get("/nodes/{node}/lxc/{vmid}/snapshot", vmKeys, vmNeeds("VM.Audit"), snapshotList)
	do("POST", "/nodes/{node}/lxc/{vmid}/snapshot", snapKeys+"description", vmNeeds("VM.Snapshot"), snapshotCreate)
	fast("/nodes/{node}/lxc/{vmid}/snapshot/{snapname}", snapKeys, nil, index("cmd", "rollback", "config"))
	do("DELETE", "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}", snapKeys+"force boolean", vmNeeds("VM.Snapshot"), snapshotDelete)
	fast("/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", snapKeys, vmNeedsAny("VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit"), snapshotConfig)
	do("PUT", "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", snapKeys+"description", vmNeeds("VM.Snapshot"), snapshotDescribe)
	do("POST", "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback", snapKeys+"start boolean", vmNeedsAny("VM.Snapshot", "VM.Snapshot.Rollback"), snapshotRollback)

	audit := storageNeedsAny("Datastore.Audit", "Datastore.AllocateSpace")
	fast("/storage", "type enum=btrfs,cephfs,cifs,dir,esxi,iscsi,iscsidirect,lvm,lvmthin,nfs,pbs,rbd,zfs,zfspool", nil, storageList)
	fast("/storage/{storage}", "storage! format=storage", storageNeedsAny("Datastore.Allocate"), storageGet)
	get("/nodes/{node}/storage", nodeKey+"content list\nenabled boolean\nformat boolean\nstorage format=storage\ntarget format=node", nil, nodeStorages)
	fast("/nodes/{node}/storage/{storage}", storeKeys, audit, index("subdir", "content", "download-url", "file-restore", "prunebackups", "rrd", "rrddata", "status", "upload"))
	get("/nodes/{node}/storage/{storage}/status", storeKeys, audit, storageStatus)
	get("/nodes/{node}/storage/{storage}/content", storeKeys+"content format=content\nvmid integer 100..999999999 format=vmid", audit, contentList)
	get("/nodes/{node}/storage/{storage}/content/{volume+}", volumeKeys, nil, contentGet)
	do("PUT", "/nodes/{node}/storage/{storage}/content/{volume+}", volumeKeys+"notes\nprotected boolean", nil, contentPut)
	do("DELETE", "/nodes/{node}/storage/{storage}/content/{volume+}", volumeKeys+"delay integer 1..30", nil, contentDelete)
	prune := storeKeys + "prune-backups format=prune\ntype enum=qemu,lxc\nvmid integer 100..999999999 format=vmid"
	get("/nodes/{node}/storage/{storage}/prunebackups", prune, audit, pruneDry)
	do("DELETE", "/nodes/{node}/storage/{storage}/prunebackups", prune, nil, pruneBackups)

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
zstd integer`, nil, vzdump)
	fast("/nodes/{node}/vzdump/defaults", nodeKey+"storage format=storage", nil, vzdumpDefaults)
	get("/nodes/{node}/vzdump/extractconfig", nodeKey+"volume!", nil, extractConfig)

	fast("/access", "", nil, index("subdir", "users", "groups", "roles", "acl", "domains", "permissions", "ticket"))
	fast("/access/permissions", "path\nuserid", nil, permissions)
	add("GET", "/access/users", route{schema: newSchema("enabled boolean\nfull boolean"), run: accessUsers, protected: true})
	fast("/access/users/{userid}", "userid! len=0..64", userPerm("User.Modify", "Sys.Audit"), accessUser)
	fast("/access/users/{userid}/token", "userid! len=0..64", selfPerm, accessTokens)
	fast("/access/roles", "", nil, accessRoles)
	fast("/access/groups", "", nil, accessGroups)
	fast("/access/acl", "", nil, accessACL)
	add("GET", "/access/domains", route{schema: newSchema(""), run: accessDomains, world: true})
	add("POST", "/access/ticket", route{schema: newSchema("new-format boolean\notp\npassword!\npath len=0..64\nprivs len=0..64\nrealm len=0..32\ntfa-challenge\nusername! len=0..64"), run: accessTicket, world: true, protected: true})
	fast("/pools", "poolid format=poolid\ntype enum=qemu,lxc,storage", nil, pools)
	fast("/pools/{poolid}", "poolid! format=poolid\ntype enum=qemu,lxc,storage", needsAnyAt("/pool/{poolid}", "Pool.Audit"), poolGet)
	addExtra(add)
	for _, call := range []string{"POST /access/ticket", "PUT /access/password", "POST /access/tfa/felhom@pve", "PUT /access/tfa/felhom@pve/x", "DELETE /access/tfa/felhom@pve/x"} {
		method, path, _ := strings.Cut(call, " ")
		rt, _, _ := findRoute(method, path)
		rt.ticket = true
	}
}
