package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile"
)

// The rights must be there everywhere: an entry on / that reaches no further, and one on a path below
// that shuts the token out, which PVE then leaves out of its list, are both told.
func TestRightsReachEverywhere(t *testing.T) {
	whole := map[string]bool{}
	here := map[string]bool{}
	for _, privilege := range needed {
		whole[privilege], here[privilege] = true, false
	}
	all := func() proxmox.Permissions {
		return proxmox.Permissions{"/": whole, "/access": whole, "/access/groups": whole, "/nodes": whole, "/pool": whole, "/sdn": whole, "/storage": whole, "/vms": whole}
	}
	token, err := proxmox.NewToken("robot@pve!here", "0")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(proxmox.Permissions)
		says   string
	}{
		"all":                 {func(proxmox.Permissions) {}, "[ ok ] privileges     all 16 that are needed, on /"},
		"shut out of /vms":    {func(p proxmox.Permissions) { delete(p, "/vms") }, "/vms (VM.Allocate, VM.Audit, "},
		"shut out of a guest": {func(p proxmox.Permissions) { p["/vms/131"] = nil }, "/vms/131 (VM.Allocate, VM.Audit, "},
		"less for a storage":  {func(p proxmox.Permissions) { p["/storage/x"] = map[string]bool{"Datastore.Audit": true} }, "/storage/x (Datastore.AllocateSpace)"},
		"only on /": {func(p proxmox.Permissions) {
			clear(p)
			p["/"] = here
		}, "the ACL entry on / does not reach the paths below it: pveum acl modify / --propagate 1 --users robot@pve --tokens 'robot@pve!here' --roles FelhomAgent"},
		"none at all": {func(p proxmox.Permissions) { clear(p) }, "pveum acl modify / --users robot@pve --roles FelhomAgent; pveum acl modify / --tokens 'robot@pve!here' --roles FelhomAgent"},
	} {
		var out strings.Builder
		st := &selftest{w: &out, node: &session.Session{Config: &config.Config{Token: token}}}
		have := all()
		c.change(have)
		st.rights(have)
		if !strings.Contains(out.String(), c.says) || (st.failed == 0) != strings.HasPrefix(out.String(), "[ ok ]") {
			t.Errorf("%s: want %q in\n%s", name, c.says, out.String())
		}
	}
}

// A guest that the token is shut out of is in none of the lists of its rights and of guests.
func TestRightsThatAreTakenAway(t *testing.T) {
	sim := pvesim.New()
	if status, body := sim.Do("root@pam", "PUT", "/access/acl", map[string]string{"path": "/vms/101", "roles": "NoAccess", "tokens": sim.TokenID()}); status != 200 {
		t.Fatal(body)
	}
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Transport: sim, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	st := &selftest{view: client.Read(), w: &out}
	have, err := st.permissions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.rights(have); st.failed != 1 || !strings.Contains(out.String(), "/vms/101 (VM.Allocate, VM.Audit, ") {
		t.Error(out.String())
	}
}

// answers stands before a node and gives other answers to some requests.
type answers struct {
	node http.RoundTripper
	data map[string]string // by path and query, below /api2/json
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := a.node.RoundTrip(req)
	if data, ok := a.data[strings.TrimPrefix(req.URL.RequestURI(), "/api2/json")]; ok && err == nil {
		res.Body.Close()
		res.StatusCode, res.Status = 200, "200 OK"
		res.Body, res.ContentLength = io.NopCloser(strings.NewReader(`{"data":`+data+`}`)), -1
	}
	return res, err
}

// Storages of others, with a retention of their own, with VMs on them or of another node,
// are no fault of this node; that no storage is left which keeps all is one.
func TestStoragesOfOthers(t *testing.T) {
	const states = `[{"storage":"local","type":"dir","content":"backup","active":1,"avail":9e9},{"storage":"nas","type":"nfs","content":"backup","active":1,"avail":1000}]`
	for name, c := range map[string]struct {
		data   map[string]string
		failed int
		says   []string
		silent string
	}{
		"beside ours": {map[string]string{
			"/storage": `[{"storage":"local","type":"dir","content":"backup,rootdir","prune-backups":"keep-all=1","path":"/var/lib/vz"},
				{"storage":"nas","type":"nfs","content":"backup","prune-backups":"keep-last=3,keep-monthly=6"},
				{"storage":"far","type":"dir","content":"backup","nodes":"pve7"}]`,
		}, 0, []string{
			"[ ok ] storages       local, nas\n",
			"[ ok ] backup storage nas is active, but not for backups of this agent, which PVE would delete or refuse by its own retention (keep-last=3,keep-monthly=6). To set it off: pvesm set nas --prune-backups keep-all=1\n",
			"[ ok ] backup storage local is active, keeps all\n",
		}, "far"},
		"alone": {map[string]string{
			"/storage": `[{"storage":"nas","type":"nfs","content":"backup","prune-backups":"keep-last=3"}]`,
		}, 1, []string{"[fail] backup storage there is none that keeps all. Set the retention of one off: pvesm set nas --prune-backups keep-all=1\n"}, ""},
		"of /etc/vzdump.conf": {map[string]string{
			"/storage": `[{"storage":"local","type":"dir","content":"backup","path":"/var/lib/vz"}]`,
			"/nodes/pve1/vzdump/defaults?storage=local": `{"prune-backups":"keep-last=3"}`,
		}, 1, []string{"by the retention in /etc/vzdump.conf (keep-last=3). To set it off: pvesm set local --prune-backups keep-all=1\n"}, ""},
		"with VMs": {map[string]string{
			"/storage": `[{"storage":"nas","type":"nfs","content":"backup"}]`,
			"/nodes/pve1/vzdump/defaults?storage=nas":        `{"prune-backups":"keep-all=1"}`,
			"/nodes/pve1/storage/nas/content?content=backup": `[{"volid":"nas:backup/vzdump-qemu-900-2026_11_20-02_00_00.vma.zst","content":"backup","subtype":"qemu","vmid":900,"ctime":1795138200,"size":5000}]`,
		}, 0, []string{"[ ok ] backup storage nas is active, keeps all\n"}, "no room"},
		"of a backup server": {map[string]string{
			"/storage": `[{"storage":"nas","type":"pbs","content":"backup","prune-backups":"keep-all=1"},
				{"storage":"local","type":"pbs","content":"backup","prune-backups":"keep-all=1","encryption-key":"1"},
				{"storage":"away","type":"pbs","content":"backup","prune-backups":"keep-all=1"}]`,
		}, 0, []string{
			"[ ok ] backup storage nas is active, not encrypted, keeps all\n",
			"[ ok ] backup storage local is active, encrypted (keep its key away from this host too: no restore without it), keeps all\n",
			"[ ok ] backup storage away is not active now (does its server answer?), not encrypted, keeps all\n",
		}, "disk away"},
	} {
		sim := pvesim.New()
		token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
		if err != nil {
			t.Fatal(err)
		}
		c.data["/nodes/pve1/storage"] = states
		client, err := proxmox.New(proxmox.Options{Transport: &answers{sim, c.data}, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		st := &selftest{view: client.Read(), w: &out, node: &session.Session{Source: reconcile.Source{Node: "pve1"}}}
		st.storages(t.Context())
		if st.failed != c.failed || c.silent != "" && strings.Contains(out.String(), c.silent) {
			t.Errorf("%s: %d failed\n%s", name, st.failed, out.String())
		}
		for _, says := range c.says {
			if !strings.Contains(out.String(), says) {
				t.Errorf("%s: it does not say %q:\n%s", name, says, out.String())
			}
		}
	}
}

func TestVersionsOfPVE(t *testing.T) {
	for version, known := range map[string]bool{"9.2.11": true, "9.1~beta": true, "8.4.1": true, "10.0~alpha1": true, "7.4-17": false} {
		sim := pvesim.New()
		token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
		if err != nil {
			t.Fatal(err)
		}
		client, err := proxmox.New(proxmox.Options{Transport: &answers{sim, map[string]string{"/version": `{"version":"` + version + `"}`}}, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		st := &selftest{view: client.Read(), w: &out, node: &session.Session{Client: client, Config: &config.Config{Token: token, Node: "pve1"}}}
		st.run(t.Context())
		if line, _, _ := strings.Cut(out.String(), "\n"); strings.HasPrefix(line, "[ ok ] version        PVE "+version) != known {
			t.Errorf("%s: %s", version, line)
		}
	}
}

// A node with VMs is told what a household that declares them needs; one without is not.
func TestSelftestKnowsWhatVMsNeed(t *testing.T) {
	for name, c := range map[string]struct{ vms, with, want string }{
		"none":           {"[]", "", ""},
		"without it":     {`[{"vmid":105,"name":"hass","status":"running"}]`, "", "[ ok ] VMs            1 VM; where the YAML declares them, their restore with mapped devices also needs Mapping.Use: pveum role modify FelhomAgent --append 1 --privs Mapping.Use\n"},
		"that has it":    {`[{"vmid":105,"name":"hass","status":"running"}]`, "Mapping.Use", "[ ok ] VMs            1 VM; Mapping.Use, which their restore with mapped devices needs, on /\n"},
		"not to be read": {`{`, "", "[fail] VMs            "},
	} {
		sim := pvesim.New()
		token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
		if err != nil {
			t.Fatal(err)
		}
		client, err := proxmox.New(proxmox.Options{Transport: &answers{sim, map[string]string{"/nodes/pve1/qemu": c.vms}}, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		st := &selftest{view: client.Read(), w: &out, node: &session.Session{}}
		st.node.Source.Node = "pve1"
		st.vms(t.Context(), proxmox.Permissions{"/": {c.with: true}})
		if got := out.String(); !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
