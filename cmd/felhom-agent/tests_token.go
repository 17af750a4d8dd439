package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
)

// What --print-setup --restore-tests makes: a second user, whose token may delete the guests of one pool and no others.
const (
	testsUser        = "felhom-test@pve"
	testsToken       = "tests"
	testsRole        = "FelhomTest"
	testsArchiveRole = "FelhomTestArchive"
)

var (
	// testsPrivileges are those on the pool.
	testsPrivileges = []string{"VM.Allocate", "VM.Audit", "VM.Config.CPU", "VM.Config.Disk", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options", "VM.PowerMgmt"}
	// testsArchivePrivileges are those on all guests, storages and local bridges, with which archives are read. PVE has
	// none that only reads an archive.
	testsArchivePrivileges = []string{"Datastore.AllocateSpace", "Datastore.Audit", "SDN.Use", "VM.Backup"}
	testsArchivePaths      = []string{"/sdn/zones/localnetwork", "/storage", "/vms"}
)

// testsSetup prints the commands that make the token of restore tests. Both its user and the token itself, which is
// separate from it, are given the same.
func testsSetup(w io.Writer, node, id string) error {
	if _, err := proxmox.NewTestToken(id, "unknown"); err != nil {
		return err
	}
	user, token, _ := strings.Cut(id, "!")
	fmt.Fprintf(w, `# As root on %[1]s, once. The token of restore tests may delete the guests of the pool %[2]s, and no others.
pveum pool add %[2]s --comment 'guests of restore tests'
pveum role add %[3]s --privs '%[4]s'
pveum role add %[5]s --privs '%[6]s'
pveum user add %[7]s --comment 'restore tests of felhom-agent'
pveum user token add %[7]s %[8]s --privsep 1 --comment 'restore tests on %[1]s'
pveum acl modify /pool/%[2]s --users %[7]s --tokens '%[7]s!%[8]s' --roles %[3]s
`, node, proxmox.TestPool, testsRole, strings.Join(testsPrivileges, ","), testsArchiveRole, strings.Join(testsArchivePrivileges, ","), user, token)
	for _, path := range testsArchivePaths {
		fmt.Fprintf(w, "pveum acl modify %[1]s --users %[2]s --tokens '%[2]s!%[3]s' --roles %[4]s\n", path, user, token, testsArchiveRole)
	}
	fmt.Fprintf(w, `# Put the secret into a file of root: install -m 600 /dev/stdin /etc/felhom-agent/tests-token
# Then into /etc/felhom-agent/agent.yaml:
#   tests_token_id: %s
#   tests_token_file: /etc/felhom-agent/tests-token
# And the range of vmids: into /etc/felhom-agent/fence.json, so that the root helper may probe: {"tests": "9900-9909"}
`, id)
	return nil
}

// printTestsSetup is --print-setup --restore-tests.
func printTestsSetup(w io.Writer, id, place, node string) error {
	if err := testsSetup(w, node, cmp.Or(id, testsUser+"!"+testsToken)); err != nil {
		return &config.Error{Place: place, Key: "tests_token_id", Text: err.Error()}
	}
	return nil
}

// tests looks whether PVE confines the token of restore tests to their pool: it is asked for its privileges on every
// guest of the cluster, and on all else that PVE names to it.
func (t *selftest) tests(ctx context.Context) {
	what := "tests token"
	if t.node.TestGuests == nil {
		if why := t.node.TestAccess().Missing; why != "" {
			t.fail(what, "%s", why)
		}
		return
	}
	guests, err := t.view.Resources(ctx, "vm")
	if err != nil {
		t.fail(what, "the guests cannot be listed: %v", err)
		return
	}
	pool := "/pool/" + t.node.TestGuests.Pool()
	paths := slices.Concat([]string{"/", pool}, testsArchivePaths)
	names := map[string]string{}
	for _, g := range guests {
		path := "/vms/" + g.VMID.String()
		paths, names[path] = append(paths, path), fmt.Sprintf(" (%s)", g.Name)
	}
	have, err := t.node.TestGuests.Read().Permissions(ctx, paths...)
	if err != nil {
		t.fail(what, "%s: %v. A new one, as root: felhom-agent --print-setup --restore-tests", t.node.TestGuests.TokenID(), err)
		return
	}
	own := map[string]bool{pool: true}
	for _, g := range guests {
		if g.Pool == t.node.TestGuests.Pool() && strings.HasPrefix(g.Name, reconcile.TestPrefix) {
			own["/vms/"+g.VMID.String()] = true
		}
	}
	if excess := testsExcess(have, own, names); len(excess) > 0 {
		t.fail(what, "%s may do what no restore test needs: %s. See pveum acl list, and take it away: pveum acl delete PATH --users USER --tokens TOKEN --roles ROLE; a guest leaves the pool %s by pveum pool modify %[3]s --vms VMID --delete 1",
			t.node.TestGuests.TokenID(), strings.Join(excess, "; "), t.node.TestGuests.Pool())
		return
	}
	if lacks := testsLack(have, pool); len(lacks) > 0 {
		t.fail(what, "%s lacks %s. As root, the lines of felhom-agent --print-setup --restore-tests", t.node.TestGuests.TokenID(), strings.Join(lacks, "; "))
		return
	}
	t.ok(what, "%s can delete the guests of the pool %s, and none of %d others", t.node.TestGuests.TokenID(), t.node.TestGuests.Pool(), len(guests)-len(own)+1)
}

// testsExcess names the privileges that the token of restore tests has outside its pool and must not have.
func testsExcess(have proxmox.Permissions, own map[string]bool, names map[string]string) (excess []string) {
	for _, path := range slices.Sorted(maps.Keys(have)) {
		var bad []string
		for _, p := range slices.Sorted(maps.Keys(have[path])) {
			if !slices.Contains(testsArchivePrivileges, p) && !strings.HasSuffix(p, ".Audit") {
				bad = append(bad, p)
			}
		}
		if len(bad) > 0 && !own[path] {
			excess = append(excess, fmt.Sprintf("%s on %s%s", strings.Join(bad, ", "), path, names[path]))
		}
	}
	return excess
}

// testsLack names what the token of restore tests must have and has not.
func testsLack(have proxmox.Permissions, pool string) (lacks []string) {
	need := func(path string, privileges []string) {
		missing := slices.DeleteFunc(slices.Clone(privileges), func(p string) bool { return have.Has(path, p) || path != pool && !reaches(path, p) })
		if len(missing) > 0 {
			lacks = append(lacks, fmt.Sprintf("%s on %s", strings.Join(missing, ", "), path))
		}
	}
	need(pool, testsPrivileges)
	for _, path := range testsArchivePaths {
		need(path, testsArchivePrivileges)
	}
	return lacks
}
