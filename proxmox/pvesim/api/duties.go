package api

import (
	"context"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/backups"
	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lifecycle"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/snapshots"
	"github.com/felhom/felhom-agent/proxmox/pvesim/storages"
	"github.com/felhom/felhom-agent/proxmox/pvesim/volumes"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// AllDuties are what the areas of the API do when it is due.
var AllDuties = cluster.Duties{
	Run:       runTask,
	Undo:      undoTask,
	Interrupt: func(cl *cluster.Cluster, t *world.Task) bool { return backups.Interrupt(cl, t) },
	Request:   comeLate,
	Starve: func(cl *cluster.Cluster, g *world.Guest) {
		if machine.Starves(g) {
			guests.Halt(cl, g)
		}
	},
}

// comeLate carries out a request whose effect was delayed: nobody hears the answer.
func comeLate(cl *cluster.Cluster, e *world.Event) {
	if who := cl.Rights.Subject(e.As); who != nil {
		_ = Dispatch(context.Background(), &request.Call{Cluster: cl, Who: who, Method: e.Method, Path: e.Path, Params: e.Params, Late: true})
	}
}

// ofVMs are the tasks that are done otherwise for virtual machines.
var ofVMs = map[string]bool{"qmcreate": true, "qmrestore": true, "qmconfig": true}

// runTask is the phase that is due, by the task's type.
func runTask(cl *cluster.Cluster, t *world.Task) error {
	kind := t.Type
	if act, ok := strings.CutPrefix(kind, "qm"); ok && !ofVMs[kind] { // what is done alike
		kind = "vz" + act
	}
	switch kind {
	case "vzdump", "imgdel", "prunebackups", "startall", "stopall", "vzstop", "vzshutdown", "vzsuspend", "vzresume":
	default:
		if err := guests.Writable(cl, t.Node, t.VMID()); err != nil {
			return err
		}
	}
	switch kind {
	case "vzcreate", "vzrestore":
		return lifecycle.RunCreate(cl, t)
	case "qmcreate", "qmrestore":
		return lifecycle.RunCreateVM(cl, t)
	case "qmconfig":
		return guests.RunConfig(cl, t)
	case "vzstart":
		return guests.RunStart(cl, t)
	case "vzstop", "vzshutdown":
		return guests.RunStop(cl, t)
	case "vzreboot":
		return guests.RunReboot(cl, t)
	case "vzsuspend", "vzresume":
		return guests.RunFreeze(cl, t)
	case "vzsnapshot":
		return snapshots.RunCreate(cl, t)
	case "vzdelsnapshot":
		return snapshots.RunDelete(cl, t)
	case "vzrollback":
		return snapshots.RunRollback(cl, t)
	case "vzdestroy":
		return lifecycle.RunDestroy(cl, t)
	case "resize":
		return volumes.RunResize(cl, t)
	case "move_volume":
		return volumes.RunMove(cl, t)
	case "vzclone":
		return lifecycle.RunClone(cl, t)
	case "vztemplate":
		return lifecycle.RunConvert(cl, t)
	case "vzdump":
		return backups.Run(cl, t)
	case "imgdel":
		return storages.RunDelete(cl, t)
	case "prunebackups":
		return storages.RunPrune(cl, t)
	case "hastart", "hastop":
		return guests.RunHA(cl, t)
	case "startall", "stopall":
		return guests.RunAll(cl, t)
	}
	return cluster.ErrDone
}

// undoTask is what a task cleans up when it fails.
func undoTask(cl *cluster.Cluster, t *world.Task, err error) {
	switch t.Type {
	case "vzcreate", "vzrestore":
		lifecycle.UndoCreate(cl, t)
	case "qmcreate", "qmrestore":
		lifecycle.UndoCreateVM(cl, t)
	case "vzsnapshot", "qmsnapshot":
		snapshots.UndoCreate(cl, t)
	case "vzclone":
		lifecycle.UndoClone(cl, t)
	case "vzdelsnapshot", "vzrollback", "qmdelsnapshot", "qmrollback", "move_volume":
		snapshots.UndoLock(cl, t)
	case "vzdump":
		if t.Phase >= 2 {
			backups.Failed(cl, t, err)
			t.Logf("INFO: Backup job finished with errors")
		}
	}
}
