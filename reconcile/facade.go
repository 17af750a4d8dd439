// Package reconcile keeps a Proxmox VE node in the state described by a folder of YAML files.
package reconcile

import (
	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/export"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/status"
	"github.com/felhom/felhom-agent/reconcile/view"
)

type (
	Agent        = applying.Agent
	Options      = applying.Options
	Event        = applying.Event
	EventLine    = applying.EventLine
	Report       = applying.Report
	ActionError  = applying.ActionError
	InUseError   = applying.InUseError
	Plan         = plan.Plan
	PlanHeader   = plan.PlanHeader
	Action       = plan.Action
	Field        = plan.Field
	Blocked      = plan.Blocked
	BlockedKind  = plan.BlockedKind
	Deferred     = plan.Deferred
	Note         = plan.Note
	Unmanaged    = plan.Unmanaged
	Sight        = refresh.Sight
	TextOptions  = view.TextOptions
	Progress     = view.Progress
	Status       = status.Status
	HistoryEntry = journal.HistoryEntry
	Entry        = journal.Entry
	Journal      = journal.Journal
	WriteLock    = journal.WriteLock
	LockedError  = journal.LockedError
	Store        = state.Store
	Stored       = state.Stored
	Hold         = state.Hold
	LastBackup   = state.LastBackup
	Kit          = state.Kit
	Export       = export.Export
	Marker       = marker.Marker
)

const (
	BlockedFrozen  = plan.BlockedFrozen
	BlockedOverdue = plan.BlockedOverdue
	BlockedFailed  = plan.BlockedFailed
	HoldPerson     = state.HoldPerson
	HoldEjected    = state.HoldEjected
	HoldDestroyed  = state.HoldDestroyed
)

var (
	ErrStillBusy   = applying.ErrStillBusy
	New            = applying.New
	NewPlan        = planning.NewPlan
	NewProgress    = view.NewProgress
	WritePlan      = view.WritePlan
	WriteReport    = view.WriteReport
	WriteRunHeader = view.WriteRunHeader
	StatusOf       = status.StatusOf
	ReadStatus     = status.ReadStatus
	OfAgent        = status.OfAgent
	OpenJournal    = journal.OpenJournal
	ReadJournal    = journal.ReadJournal
	MemoryJournal  = journal.MemoryJournal
	NewWriteLock   = journal.NewWriteLock
	OpenStore      = state.OpenStore
	MemoryStore    = state.MemoryStore
	ExportNode     = export.ExportNode
	FindMarkers    = marker.FindMarkers
)
