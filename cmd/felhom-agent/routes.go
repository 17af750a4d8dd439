package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/privileged"
)

// route is one line of the routing table: by which way an operation goes, and why.
type route struct{ operation, backend, why string }

// apiRoutes are the writes that go through PVE's API, by the token.
var apiRoutes = []route{
	{"RestoreLXC", "api", "creates a guest from an archive"},
	{"RestoreVM", "api", "creates a VM from an archive"},
	{"Vzdump", "api", "makes a backup, also of a golden image"},
	{"Snapshot", "api", "takes a snapshot"},
	{"Rollback", "api", "takes a guest back to a snapshot"},
	{"DeleteSnapshot", "api", "deletes a managed snapshot"},
	{"SetSnapshotDescription", "api", "rewrites a snapshot's description"},
	{"SetConfig", "api", "changes a guest's config: all but features, binds and devices"},
	{"Resize", "api", "grows a volume"},
	{"Start", "api", "starts a guest"},
	{"Shutdown", "api", "asks a guest to end"},
	{"Stop", "api", "ends a guest"},
	{"DeleteVolume", "api", "deletes a managed archive"},
	{"DestroyGuest", "api", "deletes a guest, by the one way that reads again what must be so"},
	{"SetNotes", "api", "writes an archive's notes"},
}

// routes is the whole table: every operation has exactly one way.
func routes() []route {
	all := append([]route(nil), apiRoutes...)
	for _, r := range privileged.Routes() {
		name := r.Operation
		if !r.Act {
			name += " (query)"
		}
		all = append(all, route{name, r.Backend, r.Why})
	}
	return all
}

func runRoutes(_ context.Context, _ *command, con *console.Console) (int, error) {
	table := tabwriter.NewWriter(con.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "OPERATION\tBACKEND\tWHY")
	for _, r := range routes() {
		fmt.Fprintf(table, "%s\t%s\t%s\n", r.operation, r.backend, r.why)
	}
	return exit.OK, table.Flush()
}
