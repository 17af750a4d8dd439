package node

import (
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/spec"
)

// What proves an archive, and what proves that it is damaged.
func TestWhatProvesAnArchive(t *testing.T) {
	const notes = "felhom-agent/1 backups/daily vmid=101 owner=pve1 born=2026-11-20T10:00:00Z guest=dns"
	file := proxmox.StorageContent{VolID: "usb:backup/vzdump-lxc-101-2026_11_22-05_00_00.tar.zst", Content: "backup", Format: "tar.zst", VMID: 101, Size: 13 << 20}
	server := proxmox.StorageContent{VolID: "pbs:backup/ct/101/2026-11-22T05:00:00Z", Content: "backup", Format: "pbs-ct", VMID: 101, Size: 13 << 20}
	with := func(v proxmox.StorageContent, notes, verified string) proxmox.StorageContent {
		v.Notes, v.Verified = notes, verified
		return v
	}
	for name, c := range map[string]struct {
		v      proxmox.StorageContent
		made   journal.ArchiveState
		state  Wholeness
		proven bool
	}{
		"a note of its size":                        {with(file, notes+" size=13631488", ""), journal.ArchiveState{}, Whole, true},
		"a note of another size":                    {with(file, notes+" size=13631489", ""), journal.ArchiveState{}, Damaged, false},
		"a note of another size, on a server":       {with(server, notes+" size=1", ""), journal.ArchiveState{}, Whole, true},
		"no note":                                   {with(file, notes, ""), journal.ArchiveState{}, Unproven, false},
		"no note, the journal has its size":         {with(file, notes, ""), journal.ArchiveState{Whole: true, Size: "13MB"}, Unproven, true},
		"no note, the journal has another":          {with(file, notes, ""), journal.ArchiveState{Whole: true, Size: "39MB"}, Damaged, false},
		"no notes at all, the journal has another":  {with(file, "", ""), journal.ArchiveState{Whole: true, Size: "39MB"}, Damaged, false},
		"somebody's notes, the journal has another": {with(file, "by hand", ""), journal.ArchiveState{Whole: true, Size: "39MB"}, Unrecorded, false},
		"no note, its contents are whole":           {with(file, notes, ""), journal.ArchiveState{Whole: true}, Unproven, true},
		"no note, its contents are broken":          {with(file, notes, ""), journal.ArchiveState{Broken: "its end is missing"}, Damaged, false},
		"no note, its contents tell nothing":        {with(file, notes, ""), journal.ArchiveState{Unchecked: "zstd is not installed"}, Unproven, false},
		"no note, the server has verified it":       {with(server, notes, "ok"), journal.ArchiveState{}, Unproven, true},
		"no note, the server has not verified it":   {with(server, notes, ""), journal.ArchiveState{}, Unproven, false},
		"a note, the server's verification failed":  {with(server, notes+" size=1", "failed"), journal.ArchiveState{}, Damaged, false},
		"of another owner, the journal has another": {with(file, strings.Replace(notes, "pve1", "attic", 1), ""), journal.ArchiveState{Size: "39MB"}, Unrecorded, false},
	} {
		o := &Observed{Owner: "pve1", Memory: journal.Memory{Archives: map[string]journal.ArchiveState{c.v.VolID: c.made}}}
		if got := WholenessOf(o, c.v); got != c.state || Proven(o, c.v) != c.proven {
			t.Errorf("%s: %v, proven %v; want %v, %v", name, got, Proven(o, c.v), c.state, c.proven)
		}
		if c.state == Damaged && Damage(o, c.v) == "" {
			t.Errorf("%s: it does not say why", name)
		}
	}
}

// A listed time is moved by whole quarters of an hour, into the task that made the archive.
func TestATimeInAnotherZone(t *testing.T) {
	begun := time.Date(2026, 11, 22, 17, 2, 9, 0, time.UTC)
	made := journal.ArchiveState{Begun: begun, Ended: begun.Add(5 * time.Minute)}
	for name, c := range map[string]struct{ listed, want time.Time }{
		"the same zone":            {begun.Add(time.Second), begun.Add(time.Second)},
		"an hour to the west":      {begun.Add(time.Hour), begun},
		"five and three quarters":  {begun.Add(-(5*time.Hour + 45*time.Minute)), begun},
		"a moment after the begin": {begun.Add(2*time.Hour + 90*time.Second), begun.Add(90 * time.Second)},
		"no zone explains it":      {begun.Add(time.Hour + 7*time.Minute), begun.Add(time.Hour + 7*time.Minute)},
		"further than any zone is": {begun.Add(48 * time.Hour), begun.Add(48 * time.Hour)},
	} {
		if got := InZone(c.listed, made); !got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if got := InZone(begun, journal.ArchiveState{}); !got.Equal(begun) {
		t.Errorf("with an unknown task: %s", got)
	}
}

// A golden image whose archives are of two hosts, or lie in the future, is not made or deleted by
// guess.
func TestWhatBlocksAGoldenImage(t *testing.T) {
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	golden := &spec.Golden{Object: spec.Object{Ref: spec.Ref{Kind: spec.KindGolden, Name: "debian"}}, VMID: 9000, Publish: &spec.Publish{Storage: "usb", Revision: 1}}
	const a, b = "felhom-agent/1 debian vmid=9000 owner=pve1 born=2026-11-20T10:00:00Z host=pve1 size=1000", "felhom-agent/1 debian vmid=9000 owner=pve1 born=2026-11-21T10:00:00Z host=pve1 size=1000"
	for name, c := range map[string]struct {
		notes  []string // of archives an hour apart, the last one of now
		ahead  time.Duration
		reason string
	}{
		"one host":         {[]string{a, a, a}, 0, ""},
		"made again":       {[]string{a, a, b}, 0, ""},
		"two hosts":        {[]string{a, b, a}, 0, "alternate, so they are of 2 guests"},
		"of the future":    {[]string{a, a, a}, time.Hour, "in the future"},
		"others' archives": {[]string{a, strings.Replace(b, "owner=pve1", "owner=attic", 1), a}, 0, ""},
	} {
		have := &Observed{Owner: "pve1", Now: now, Storages: map[string]*StorageState{"usb": {}}}
		for i, notes := range c.notes {
			made := now.Add(c.ahead - time.Duration(len(c.notes)-1-i)*time.Hour)
			have.Storages["usb"].Content = append(have.Storages["usb"].Content, proxmox.StorageContent{VolID: "usb:backup/vzdump-lxc-9000-" + made.Format("2006_01_02-15_04_05") + ".tar.zst",
				Content: "backup", Subtype: "lxc", VMID: 9000, CTime: made, Size: 1000, Notes: notes})
		}
		have.Index(nil)
		ob := GoldenBlocker(have, golden)
		if (ob != nil) != (c.reason != "") || ob != nil && (!strings.Contains(ob.Reason, c.reason) || len(ob.Fix) == 0) {
			t.Errorf("%s: %+v", name, ob)
		}
	}
}
