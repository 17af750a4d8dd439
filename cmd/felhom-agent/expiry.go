package main

import (
	"context"
	"fmt"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
)

// warnOfLeases prints what ends soon below what a mode has printed.
func warnOfLeases(ctx context.Context, n *session.Session, cmd *command, con *console.Console) {
	for _, line := range session.Warnings(n.Leases(ctx), n.Clock()) {
		if cmd.json {
			con.Say("%s", line)
		} else {
			fmt.Fprintln(con.Stdout, line)
		}
	}
}
