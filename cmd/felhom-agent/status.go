package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/httpstatus"
	"github.com/felhom/felhom-agent/reconcile"
)

// runStatus prints what the service last knew. It asks no node.
func runStatus(_ context.Context, cmd *command, con *console.Console) (int, error) {
	dir, err := stateOf(cmd)
	if err != nil {
		return 0, err
	}
	stored, err := reconcile.OpenStore(dir).Load()
	if err != nil {
		return 0, err
	}
	s, err := reconcile.ReadStatus(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(stored.Known)+len(stored.Holds) > 0:
		s, err = reconcile.StatusOf(stored), nil
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("no service has written its state to %s yet. Start it: systemctl start felhom-agent; or see felhom-agent --plan", dir)
	}
	if err != nil {
		return 0, err
	}
	s.Holds = append([]reconcile.Hold{}, stored.Holds...) // what people have said since counts already
	if cmd.json {
		r := httpstatus.Report{Status: s, Running: s.Running()}
		if !s.Written.IsZero() {
			r.Age = time.Since(s.Written).Round(time.Second).String()
		}
		return exit.OK, httpstatus.WriteJSON(con.Stdout, r)
	}
	return exit.OK, s.WriteText(con.Stdout, time.Now(), textOptions(con, cmd, nil))
}
