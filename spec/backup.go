package spec

import (
	"fmt"
	"slices"
	"time"
)

// Backup is a periodic backup of guests, with retention.
type Backup struct {
	Object
	All      bool     // all declared guests; see Desired.BackupGuests
	Tag      string   // Guests are those that were declared with this tag; "": they are listed
	Guests   []string // else these
	Except   []string
	Storage  string
	At       *Schedule     // nil: Every is set
	Every    time.Duration // 0: At is set
	Late     time.Duration // how long after its slot a backup may still start; 0: until the next slot
	Mode     string        // snapshot (default), suspend, stop
	Compress string        // zstd (default), gzip, lzo; 0: none
	Keep     Keep
	// ServerKeeps is keep: server. The Proxmox Backup Server decides what stays, by a prune job of
	// its own; the agent deletes nothing.
	ServerKeeps bool
	// ChangeDetection is how a Proxmox Backup Server's client finds changed files: legacy, data or
	// metadata; "" is PVE's default.
	ChangeDetection string
	WarnAfter       time.Duration // 0: never
	// Fleecing is the storage that holds what VMs overwrite while they are backed up; "": none.
	Fleecing string
}

var backupShape = shaped(map[string]string{
	"schedule": "Say at: \"02:30\", or every: 24h.",
	"vmid":     "Name guests by their objects: guests: [web].",
	"prune":    "Say keep: {daily: 7}.",
	"bwlimit":  "PVE takes a limit only from a user with Sys.Modify on /. Set it for the node: bwlimit in /etc/vzdump.conf.",
	"ensure":   "Archives are deleted by keep alone; remove the object and they stay.",
},
	append([]field[Backup]{
		of("guests", Agent, covered, func(b *Backup, v coverage) { b.All, b.Tag, b.Guests = v.all, v.tag, v.guests }, "all (every declared guest, no golden images), a list, or tag:NAME (the guests whose config has that tag)."),
		of("guest", Agent, text, func(b *Backup, v string) { b.Guests = append(b.Guests, v) }, "One guest."),
		of("except", Agent, names("list of guests", text), func(b *Backup, v []string) { b.Except = v }, "With guests: all or tag:NAME, not these."),
		of("storage", Agent, storage, func(b *Backup, v string) { b.Storage = v }, "The storage that holds the archives.").
			must("Say where: storage: usb-backup."),
		of("at", Agent, schedule, func(b *Backup, v Schedule) { b.At = &v }, "A time of day on the node's clock: \"02:30\", \"mon..fri 02:30\"."),
		of("every", Agent, atLeast(time.Minute), func(b *Backup, v time.Duration) { b.Every = v }, "So long after the last one, at any time of day."),
		of("late", Agent, atLeast(time.Minute), func(b *Backup, v time.Duration) { b.Late = v }, "With at: how long after its time it may still start."),
		of("mode", Agent, oneOf("snapshot", "suspend", "stop"), func(b *Backup, v string) { b.Mode = v }, "snapshot (default), suspend or stop."),
		of("compress", Agent, oneOf("zstd", "gzip", "lzo", "0"), func(b *Backup, v string) { b.Compress = v }, "zstd (default), gzip, lzo, or 0 for none."),
		of("keep", Agent, keepHereOrThere, func(b *Backup, v backupKeep) { b.Keep, b.ServerKeeps = v.Keep, v.server },
			"How many are kept of each guest (default: all); a number counts the last ones. server: the Proxmox Backup Server decides, and nothing is deleted from here."),
		of("change-detection-mode", Agent, oneOf("legacy", "data", "metadata"), func(b *Backup, v string) { b.ChangeDetection = v },
			"On a Proxmox Backup Server: how changed files are found. metadata skips files whose metadata has not changed, which is fast."),
		of("fleecing", Agent, storage, func(b *Backup, v string) { b.Fleecing = v },
			"Of virtual machines: the storage that holds, while a backup runs, what they overwrite, so that a slow backup storage does not slow them down."),
		of("warn-after", Agent, atLeast(time.Hour), func(b *Backup, v time.Duration) { b.WarnAfter = v }, "When the newest verified backup is older than this, the object is reported as overdue."),
	}, objectFields(func(b *Backup) *Object { return &b.Object })...)...,
)

func (c *checker) backups() {
	for _, b := range sorted(c.Backups) {
		o := &b.Object
		switch {
		case o.Has("guests") && o.Has("guest"):
			c.fail(o, "guest", "Keep one: guests: [a, b], or guest: a.", "says guest and guests")
		case !o.Has("guests") && !o.Has("guest"):
			c.fail(o, "guests", "Say guests: all, a list, or guest: NAME.", "is missing")
		case o.Has("guest") && slices.Contains(b.Guests, "all") && c.Guest("all") == nil:
			c.fail(o, "guest", "Write guests: all.", "guest names one guest")
			continue
		case o.Has("except") && !o.Has("guests"), o.Has("except") && !b.All && b.Tag == "" && len(b.Guests) > 0:
			c.fail(o, "except", "Leave those out of the list.", "except is for guests: all and tag:NAME")
		case b.All && c.whole && !slices.ContainsFunc(sorted(c.Restores, c.Guests), func(g *Guest) bool { return !slices.Contains(b.Except, g.Ref.Name) }):
			c.fail(o, "guests", "Declare guests, or remove the object.", "covers no guest")
		case b.Tag != "" && c.whole && len(b.Guests) == 0:
			untagged(c, o, b.Tag)
		}
		field := "guests"
		if o.Has("guest") {
			field = "guest"
		}
		for _, name := range b.Guests {
			c.refers(o, field, name, "those are published, not backed up")
		}
		for _, name := range b.Except {
			c.refers(o, "except", name, "those are left out anyway")
		}
		c.timing(b)
	}
}

// timing checks when a backup is due.
func (c *checker) timing(b *Backup) {
	o := &b.Object
	at, every := o.Has("at"), o.Has("every")
	switch {
	case at && every:
		c.fail(o, "every", "Keep one: a time of day, or so long after the last one.", "says at and every")
		return
	case !at && !every:
		c.fail(o, "at", `Say at: "02:30", or every: 24h.`, "is missing")
		return
	case o.Has("late") && every:
		c.fail(o, "late", "Leave it out.", "late is for at; every: has no time of day that could be missed")
	}
	shortest, longest := b.Every, b.Every
	if b.At != nil {
		shortest, longest = b.At.gaps()
	}
	if shortest == 0 {
		return
	}
	if b.At != nil && b.Late >= shortest {
		c.fail(o, "late", fmt.Sprintf("Write less than %s.", printDuration(shortest)), "would last until the next slot, %s later", printDuration(shortest))
	}
	if b.WarnAfter > 0 && b.WarnAfter < longest {
		c.fail(o, "warn-after", fmt.Sprintf("Write more than %s.", printDuration(longest)), "would warn between two backups, which are up to %s apart", printDuration(longest))
	}
}
