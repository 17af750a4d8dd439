package pvesim

import (
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// The user and the token of restore tests, and its secret, as AllowTests makes them.
const (
	testUser   = "felhom-test@pve"
	testToken  = "tests"
	testSecret = "0b7a4f5e-91d3-4c1b-8f60-7d2e5a9c3b14"

	fenceFile = "/etc/felhom-agent/fence.json"
)

// poolPrivileges are those of restore tests on their pool, archivePrivileges those on the archives, the storages and
// the bridges.
var (
	poolPrivileges = []string{"VM.Allocate", "VM.Audit", "VM.Config.CPU", "VM.Config.Disk", "VM.Config.Memory", "VM.Config.Network",
		"VM.Config.Options", "VM.PowerMgmt"}
	archivePrivileges = []string{"Datastore.AllocateSpace", "Datastore.Audit", "SDN.Use", "VM.Backup"}
)

// AllowTests makes a pool, and a user with a privilege-separated token that may create, start, stop and
// delete the guests of that pool and no others, as felhom-agent --print-setup --restore-tests says. Where
// root's file of the root helper is missing, it opens 9900-9909 to probes. It answers with the token's full
// ID and its secret. Doing it again changes nothing.
func (s *Sim) AllowTests(pool string) (tokenID, secret string) {
	defer s.cl.Enter()()
	w := s.cl.World
	full := testUser + "!" + testToken
	if w.Access.User(testUser) != nil {
		return full, testSecret
	}
	if w.Pool(pool) == nil {
		w.Pools = append(w.Pools, &world.Pool{ID: pool, Comment: "guests of restore tests"})
	}
	w.Access.Users = append(w.Access.Users, &world.User{ID: testUser, Comment: "restore tests of felhom-agent",
		Tokens: []*world.Token{{ID: testToken, Secret: testSecret}}})
	if w.Access.Roles == nil {
		w.Access.Roles = map[string][]string{}
	}
	w.Access.Roles["FelhomTest"], w.Access.Roles["FelhomTestArchive"] = poolPrivileges, archivePrivileges
	for _, who := range [][2]string{{"user", testUser}, {"token", full}} {
		w.Access.ACL = append(w.Access.ACL, world.ACLEntry{Path: "/pool/" + pool, Type: who[0], ID: who[1], Role: "FelhomTest"})
		for _, path := range []string{"/sdn/zones/localnetwork", "/storage", "/vms"} {
			w.Access.ACL = append(w.Access.ACL, world.ACLEntry{Path: path, Type: who[0], ID: who[1], Role: "FelhomTestArchive"})
		}
	}
	for _, n := range w.Nodes {
		if n.Files[fenceFile] == "" {
			if n.Files == nil {
				n.Files = map[string]string{}
			}
			n.Files[fenceFile] = `{"tests": "9900-9909"}` + "\n"
		}
	}
	s.cl.Rights.Dirty()
	return full, testSecret
}
