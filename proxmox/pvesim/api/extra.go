package api

import (
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/accounts"
	"github.com/felhom/felhom-agent/proxmox/pvesim/backups"
	"github.com/felhom/felhom-agent/proxmox/pvesim/datacenter"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/storages"
)

// extra are the methods of the API that the agent does not use. One a line: method and
// path :: rights :: parameters (; between them) :: what it answers. Rights: a path and a
// privilege, or with | any of several; "and" joins two; one word names a rule of its own. Answers: [] and {} are empty
// ones, ! is an operation that this simulator does not carry out, a name is a handler.
const extra = `
GET /access/domains/{realm} :: /access/realm Realm.Allocate|Sys.Audit :: realm! len=0..32 :: realm
POST /access/domains :: /access/realm Realm.Allocate :: * :: !
PUT /access/domains/{realm} :: /access/realm Realm.Allocate :: * :: !
DELETE /access/domains/{realm} :: /access/realm Realm.Allocate :: realm! len=0..32 :: !
POST /access/domains/{realm}/sync :: /access/realm/{realm} Realm.AllocateUser and /access/groups User.Modify :: * :: !
GET /access/groups/{groupid} :: /access/groups Sys.Audit|Group.Allocate :: groupid! :: group
POST /access/groups :: /access/groups Group.Allocate :: groupid!; comment :: groupSet
PUT /access/groups/{groupid} :: /access/groups Group.Allocate :: groupid!; comment :: groupSet
DELETE /access/groups/{groupid} :: /access/groups Group.Allocate :: groupid! :: groupDelete
GET /access/openid :: :: :: openid
PUT /access/password :: self :: userid! len=0..64; password! len=8..64; confirmation-password len=5..64 :: password
GET /access/roles/{roleid} :: :: roleid! :: role
POST /access/roles :: /access Sys.Modify :: roleid!; privs list :: roleSet
PUT /access/roles/{roleid} :: /access Sys.Modify :: roleid!; privs list; append boolean :: roleSet
DELETE /access/roles/{roleid} :: /access Sys.Modify :: roleid! :: roleDelete
PUT /access/acl :: acl :: path!; roles! list; users list; groups list; tokens list; propagate boolean; delete boolean :: aclSet
GET! /access/tfa :: :: :: []
GET! /access/tfa/{userid} :: self :: userid! len=0..64 :: []
POST /access/tfa/{userid} :: self :: * :: !
GET! /access/tfa/{userid}/{id} :: self :: userid! len=0..64; id! :: noTFA
PUT /access/tfa/{userid}/{id} :: self :: * :: noTFA
DELETE /access/tfa/{userid}/{id} :: self :: userid! len=0..64; id!; password len=5..64 :: noTFA
POST /access/users :: realm :: userid! len=0..64; password len=8..64; comment len=0..2048; email len=0..254; enable boolean; expire integer 0..; firstname len=0..1024; lastname len=0..1024; groups list; keys :: userSet
PUT /access/users/{userid} :: users :: userid! len=0..64; append boolean; comment len=0..2048; email len=0..254; enable boolean; expire integer 0..; firstname len=0..1024; lastname len=0..1024; groups list; keys :: userSet
DELETE /access/users/{userid} :: realm :: userid! len=0..64 :: userDelete
GET! /access/users/{userid}/tfa :: self :: userid! len=0..64; multiple boolean :: {}
PUT /access/users/{userid}/unlock-tfa :: modify :: userid! len=0..64 :: !
GET /access/users/{userid}/token/{tokenid} :: self :: userid! len=0..64; tokenid! :: tokenGet
POST /access/users/{userid}/token/{tokenid} :: self :: userid! len=0..64; tokenid!; comment; expire integer 0..; privsep boolean :: tokenSet
PUT /access/users/{userid}/token/{tokenid} :: self :: userid! len=0..64; tokenid!; comment; delete list; expire integer 0..; privsep boolean; regenerate boolean :: tokenSet
DELETE /access/users/{userid}/token/{tokenid} :: self :: userid! len=0..64; tokenid! :: tokenDelete
GET /cluster/backup-info :: :: :: backupInfo
GET! /cluster/backup-info/not-backed-up :: / Sys.Audit :: :: notBackedUp
POST /cluster/backup :: / Sys.Modify :: job :: jobSet
PUT /cluster/backup/{id} :: / Sys.Modify :: job :: jobSet
GET /cluster/backup/{id} :: / Sys.Audit :: id! len=0..50 :: jobGet
DELETE /cluster/backup/{id} :: / Sys.Modify :: id! len=0..50 :: jobDelete
GET! /cluster/backup/{id}/included_volumes :: / Sys.Audit :: id! len=0..50 :: includedVolumes
GET /nodes/{node}/apt/versions :: /nodes/{node} Sys.Audit :: :: versions
GET /nodes/{node}/disks :: :: :: disksIndex
GET! /nodes/{node}/disks/directory :: / Sys.Audit :: :: []
POST /nodes/{node}/disks/directory :: / Sys.Modify :: name! format=storage; device!; filesystem enum=ext4,xfs; add_storage boolean :: !
DELETE /nodes/{node}/disks/directory/{name} :: / Sys.Modify :: name! format=storage; cleanup-config boolean; cleanup-disks boolean :: !
POST /nodes/{node}/disks/initgpt :: / Sys.Modify :: disk!; uuid len=0..36 :: !
GET! /nodes/{node}/disks/lvm :: / Sys.Audit :: :: lvm
POST /nodes/{node}/disks/lvm :: / Sys.Modify :: name! format=storage; device!; add_storage boolean :: !
DELETE /nodes/{node}/disks/lvm/{name} :: / Sys.Modify :: name! format=storage; cleanup-config boolean; cleanup-disks boolean :: !
GET! /nodes/{node}/disks/lvmthin :: / Sys.Audit :: :: lvmthin
POST /nodes/{node}/disks/lvmthin :: / Sys.Modify :: name! format=storage; device!; add_storage boolean :: !
DELETE /nodes/{node}/disks/lvmthin/{name} :: / Sys.Modify :: name! format=storage; volume-group! format=storage; cleanup-config boolean; cleanup-disks boolean :: !
PUT /nodes/{node}/disks/wipedisk :: / Sys.Modify :: disk! :: !
GET! /nodes/{node}/disks/zfs :: / Sys.Audit :: :: []
POST /nodes/{node}/disks/zfs :: / Sys.Modify :: * :: !
GET! /nodes/{node}/disks/zfs/{name} :: / Sys.Audit :: name! format=storage :: !
DELETE /nodes/{node}/disks/zfs/{name} :: / Sys.Modify :: name! format=storage; cleanup-config boolean; cleanup-disks boolean :: !
GET /nodes/{node}/lxc/{vmid}/firewall :: :: :: firewallIndex
GET /nodes/{node}/lxc/{vmid}/firewall/aliases :: vm VM.Audit :: :: []
POST /nodes/{node}/lxc/{vmid}/firewall/aliases :: vm VM.Config.Network :: name! len=2..64; cidr!; comment :: !
GET /nodes/{node}/lxc/{vmid}/firewall/aliases/{name} :: vm VM.Audit :: name! len=2..64 :: noAlias
PUT /nodes/{node}/lxc/{vmid}/firewall/aliases/{name} :: vm VM.Config.Network :: name! len=2..64; cidr!; comment; digest len=0..64; rename len=2..64 :: noAlias
DELETE /nodes/{node}/lxc/{vmid}/firewall/aliases/{name} :: vm VM.Config.Network :: name! len=2..64; digest len=0..64 :: noAlias
GET /nodes/{node}/lxc/{vmid}/firewall/ipset :: vm VM.Audit :: :: []
POST /nodes/{node}/lxc/{vmid}/firewall/ipset :: vm VM.Config.Network :: name! len=2..64; comment; digest len=0..64; rename len=2..64 :: !
GET /nodes/{node}/lxc/{vmid}/firewall/ipset/{name} :: vm VM.Audit :: name! len=2..64 :: noIPSet
POST /nodes/{node}/lxc/{vmid}/firewall/ipset/{name} :: vm VM.Config.Network :: name! len=2..64; cidr!; comment; nomatch boolean :: noIPSet
DELETE /nodes/{node}/lxc/{vmid}/firewall/ipset/{name} :: vm VM.Config.Network :: name! len=2..64; force boolean :: noIPSet
GET! /nodes/{node}/lxc/{vmid}/firewall/ipset/{name}/{cidr} :: vm VM.Audit :: name! len=2..64; cidr! :: noIPSet
PUT /nodes/{node}/lxc/{vmid}/firewall/ipset/{name}/{cidr} :: vm VM.Config.Network :: * :: noIPSet
DELETE /nodes/{node}/lxc/{vmid}/firewall/ipset/{name}/{cidr} :: vm VM.Config.Network :: name! len=2..64; cidr!; digest len=0..64 :: noIPSet
GET! /nodes/{node}/lxc/{vmid}/firewall/log :: vm VM.Console :: limit integer 0..; start integer 0..; since integer 0..; until integer 0.. :: firewallLog
GET /nodes/{node}/lxc/{vmid}/firewall/options :: vm VM.Audit :: :: firewallOptions
PUT /nodes/{node}/lxc/{vmid}/firewall/options :: vm VM.Config.Network :: * :: !
GET /nodes/{node}/lxc/{vmid}/firewall/refs :: vm VM.Audit :: type enum=alias,ipset :: []
GET /nodes/{node}/lxc/{vmid}/firewall/rules :: vm VM.Audit :: :: []
POST /nodes/{node}/lxc/{vmid}/firewall/rules :: vm VM.Config.Network :: * :: !
GET /nodes/{node}/lxc/{vmid}/firewall/rules/{pos} :: vm VM.Audit :: pos integer 0.. :: noRule
PUT /nodes/{node}/lxc/{vmid}/firewall/rules/{pos} :: vm VM.Config.Network :: * :: noRule
DELETE /nodes/{node}/lxc/{vmid}/firewall/rules/{pos} :: vm VM.Config.Network :: pos integer 0..; digest len=0..64 :: noRule
GET! /nodes/{node}/lxc/{vmid}/migrate :: vm VM.Migrate :: target format=node :: migratePreview
POST /nodes/{node}/lxc/{vmid}/mtunnel :: vm VM.Allocate and / Sys.Incoming :: bridges; storages :: !
GET /nodes/{node}/lxc/{vmid}/mtunnelwebsocket :: :: socket!; ticket! :: !
POST /nodes/{node}/lxc/{vmid}/remote_migrate :: vm VM.Migrate :: * :: !
GET! /nodes/{node}/lxc/{vmid}/rrd :: vm VM.Audit :: cf enum=AVERAGE,MAX; ds! format=configid-list; timeframe! enum=hour,day,week,month,year :: !
POST /nodes/{node}/lxc/{vmid}/spiceproxy :: vm VM.Console :: proxy :: !
POST /nodes/{node}/lxc/{vmid}/termproxy :: vm VM.Console :: :: !
POST /nodes/{node}/lxc/{vmid}/vncproxy :: vm VM.Console :: height integer 16..2160; width integer 16..4096; websocket boolean :: !
GET /nodes/{node}/lxc/{vmid}/vncwebsocket :: vm VM.Console :: port! integer 5900..5999; vncticket! len=0..512 :: !
POST /nodes/{node}/storage/{storage}/content :: store Datastore.AllocateSpace :: filename!; format enum=raw,qcow2,subvol,vmdk; size! re=\d+[MG]?; vmid! integer 100..999999999 format=vmid :: allocVolume
GET! /nodes/{node}/storage/{storage}/file-restore/list :: :: volume!; filepath! :: noFileRestore
GET! /nodes/{node}/storage/{storage}/file-restore/download :: :: volume!; filepath!; tar boolean :: noFileRestore
GET! /nodes/{node}/storage/{storage}/identity :: store Datastore.Audit|Datastore.AllocateSpace :: :: !
GET! /nodes/{node}/storage/{storage}/import-metadata :: :: volume! :: !
POST /nodes/{node}/storage/{storage}/oci-registry-pull :: store Datastore.AllocateTemplate and /nodes/{node} Sys.AccessNetwork :: reference!; filename len=1..255 :: !
POST /nodes/{node}/storage/{storage}/download-url :: download :: * :: !
GET! /nodes/{node}/storage/{storage}/rrd :: store Datastore.Audit|Datastore.AllocateSpace :: cf enum=AVERAGE,MAX; ds! format=configid-list; timeframe! enum=hour,day,week,month,year :: !
GET! /nodes/{node}/storage/{storage}/rrddata :: store Datastore.Audit|Datastore.AllocateSpace :: cf enum=AVERAGE,MAX; timeframe! enum=hour,day,week,month,year :: storageRRD
POST /nodes/{node}/storage/{storage}/upload :: store Datastore.AllocateTemplate :: * :: !
POST /pools :: /pool/{poolid} Pool.Allocate :: poolid! format=poolid; comment :: poolSet
PUT /pools :: /pool/{poolid} Pool.Allocate :: poolid! format=poolid; comment; vms format=vmid-list list; storage list; delete boolean; allow-move boolean :: poolSet
PUT /pools/{poolid} :: /pool/{poolid} Pool.Allocate :: poolid! format=poolid; comment; vms format=vmid-list list; storage list; delete boolean; allow-move boolean :: poolSet
DELETE /pools :: /pool/{poolid} Pool.Allocate :: poolid! format=poolid :: poolDelete
DELETE /pools/{poolid} :: /pool/{poolid} Pool.Allocate :: poolid! format=poolid :: poolDelete
POST /storage :: /storage Datastore.Allocate :: * :: storageSet
PUT /storage/{storage} :: /storage Datastore.Allocate :: * :: storageSet
DELETE /storage/{storage} :: /storage Datastore.Allocate :: storage! format=storage :: storageDelete
GET /cluster/ha/resources :: / Sys.Audit :: type enum=ct,vm :: []
POST /cluster/ha/resources :: / Sys.Console :: * :: !
GET /cluster/ha/groups :: / Sys.Audit :: :: []
GET /cluster/replication :: :: :: []
PUT /cluster/options :: / Sys.Modify :: * :: !
GET /nodes/{node}/replication :: :: guest integer 100..999999999 format=vmid :: []
GET /nodes/{node}/apt/update :: /nodes/{node} Sys.Modify :: :: []
POST /nodes/{node}/apt/update :: /nodes/{node} Sys.Modify :: * :: !
GET /nodes/{node}/config :: /nodes/{node} Sys.Audit :: * :: {}
PUT /nodes/{node}/config :: /nodes/{node} Sys.Modify :: * :: !
GET /nodes/{node}/dns :: /nodes/{node} Sys.Audit :: :: !
PUT /nodes/{node}/dns :: /nodes/{node} Sys.Modify :: * :: !
GET /nodes/{node}/hosts :: /nodes/{node} Sys.Audit :: :: hosts
POST /nodes/{node}/hosts :: /nodes/{node} Sys.Modify :: * :: !
GET /nodes/{node}/journal :: /nodes/{node} Sys.Syslog :: * :: []
GET /nodes/{node}/syslog :: /nodes/{node} Sys.Syslog :: * :: []
GET /nodes/{node}/netstat :: /nodes/{node} Sys.Audit :: :: []
POST /nodes/{node}/network :: /nodes/{node} Sys.Modify :: * :: !
PUT /nodes/{node}/network :: /nodes/{node} Sys.Modify :: * :: !
DELETE /nodes/{node}/network :: /nodes/{node} Sys.Modify :: * :: !
GET /nodes/{node}/report :: /nodes/{node} Sys.Audit :: :: !
GET /nodes/{node}/services :: /nodes/{node} Sys.Audit :: :: !
POST /nodes/{node}/services/{service}/restart :: /nodes/{node} Sys.Modify :: * :: !
POST /nodes/{node}/services/{service}/stop :: /nodes/{node} Sys.Modify :: * :: !
POST /nodes/{node}/termproxy :: /nodes/{node} Sys.Console :: * :: !
POST /nodes/{node}/vncshell :: /nodes/{node} Sys.Console :: * :: !
POST /nodes/{node}/spiceshell :: /nodes/{node} Sys.Console :: * :: !
POST /nodes/{node}/wakeonlan :: /nodes/{node} Sys.PowerMgmt :: * :: !
`

const jobParams = `all boolean; bwlimit integer 0..; comment len=0..512; compress enum=0,1,gzip,lzo,zstd; delete list; dow; dumpdir; enabled boolean; exclude format=vmid-list list;
exclude-path array; fleecing; id len=0..50; ionice integer 0..8; lockwait integer 0..; mailnotification enum=always,failure; mailto; mode enum=snapshot,suspend,stop; node format=node;
notes-template len=0..1024; notification-mode enum=auto,legacy-sendmail,notification-system; pbs-change-detection-mode enum=legacy,data,metadata; performance; pigz integer; pool;
protected boolean; prune-backups format=prune; quiet boolean; remove boolean; repeat-missed boolean; schedule len=0..128; script; starttime; stdexcludes boolean; stop boolean;
stopwait integer 0..; storage format=storage; tmpdir; vmid format=vmid-list list; zstd integer`

var extraHandlers = map[string]func(*request.Call) error{
	"[]": emptyList, "{}": emptyObject, "!": request.NotSimulated,
	"realm": accounts.GetRealm, "group": accounts.GetGroup, "groupSet": accounts.SetGroup, "groupDelete": accounts.DeleteGroup, "openid": request.Index("subdir", "login", "auth-url"),
	"password": accounts.SetPassword, "role": accounts.GetRole, "roleSet": accounts.SetRole, "roleDelete": accounts.DeleteRole, "aclSet": accounts.SetACL, "noTFA": missingThing("no such TFA entry"),
	"userSet": accounts.SetUser, "userDelete": accounts.DeleteUser, "tokenGet": accounts.GetToken, "tokenSet": accounts.SetToken, "tokenDelete": accounts.DeleteToken,
	"backupInfo": request.Index("subdir", "not-backed-up"), "notBackedUp": backups.NotBackedUp, "jobSet": backups.SetJob, "jobGet": backups.GetJob, "jobDelete": backups.DeleteJob, "includedVolumes": backups.IncludedVolumes,
	"versions": datacenter.PackageVersions, "hosts": datacenter.HostsFile, "disksIndex": request.Index("name", "directory", "initgpt", "list", "lvm", "lvmthin", "smart", "wipedisk", "zfs"), "lvm": storages.ListLVM, "lvmthin": storages.ListLVMThin,
	"firewallIndex": request.Index("name", "aliases", "ipset", "log", "options", "refs", "rules"), "firewallLog": datacenter.FirewallLog, "firewallOptions": emptyObject,
	"noAlias": missingThing("no such alias"), "noIPSet": missingThing("no such IPSet"), "noRule": missingThing("no rule at position"),
	"migratePreview": guests.MigratePreview, "allocVolume": storages.Allocate, "noFileRestore": missingThing("not a backup volume of a Proxmox Backup Server"),
	"storageRRD": datacenter.RRD(func(c *request.Call) int64 { return datacenter.MeasuredNode(c) }, storages.RRD),
	"poolSet":    datacenter.SetPool, "poolDelete": datacenter.DeletePool, "storageSet": storages.Set, "storageDelete": storages.Delete,
}

// addExtra adds those methods to the tree of routes; a route that is there already is replaced.
func addExtra(add func(method, path string, rt request.Route)) {
	for _, line := range strings.Split(strings.TrimSpace(extra), "\n") {
		f := strings.Split(line, " ::")
		if len(f) != 4 {
			panic("pvesim: extra route: " + line)
		}
		method, path, _ := strings.Cut(f[0], " ")
		method, slow := strings.CutSuffix(method, "!") // a GET that pvedaemon answers
		params := ""
		if strings.HasPrefix(path, "/nodes/{node}") {
			params += "node! format=node\n"
		}
		if strings.Contains(path, "{vmid}") {
			params += "vmid! integer 100..999999999 format=vmid\n"
		}
		if strings.HasPrefix(path, "/nodes/{node}/storage/") {
			params += "storage! format=storage\n"
		}
		own := strings.TrimSpace(f[2])
		if own == "job" {
			own = jobParams
			if method == "POST" {
				own = strings.Replace(strings.Replace(own, "delete list; ", "", 1), "id len=0..50", "id", 1)
			} else {
				own = strings.Replace(own, "id len", "id! len", 1)
			}
		}
		var sc *schema.Schema
		if own != "*" {
			sc = schema.New(params + strings.ReplaceAll(own, ";", "\n"))
		}
		run := extraHandlers[strings.TrimSpace(f[3])]
		if run == nil {
			panic("pvesim: extra route: no handler: " + line)
		}
		add(method, path, request.Route{Schema: sc, Perm: extraPerm(strings.TrimSpace(f[1])), Run: run, Protected: slow || method != "GET"})
	}
}

func emptyList(c *request.Call) error { c.Data().List().End(); return nil }

func emptyObject(c *request.Call) error { c.Data().Open().Close(); return nil }

func missingThing(text string) func(*request.Call) error {
	return func(c *request.Call) error { return refusal.Fail("%s", text) }
}
