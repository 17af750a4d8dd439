package spec

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// Test is a periodic restore test: backups of guests are restored beside their guests, started without a
// network, probed, and deleted again.
type Test struct {
	Object
	All       bool     // all declared guests; see Desired.TestGuests
	Tag       string   // Guests are those that were declared with this tag; "": they are listed
	Guests    []string // else these
	Except    []string
	From      string // the storage of the archives; "": wherever a backup of the guest goes, the newest of all
	Storage   string // where the volumes of a test guest are made
	VMIDs     VMIDRange
	At        *Schedule     // nil: Every is set
	Every     time.Duration // 0: At is set
	KeepAwake time.Duration // how long the started guest is given until all probes pass
	Memory    proxmox.Size  // the most that a test guest is given; 0: as in the archive
	Probes    []Probe
	WarnAfter time.Duration // 0: never
}

// VMIDRange are VMIDs that are for test guests alone, both ends included.
type VMIDRange struct{ First, Last proxmox.VMID }

// Contains reports whether a VMID is in the range.
func (r VMIDRange) Contains(vmid proxmox.VMID) bool { return r.First <= vmid && vmid <= r.Last }

// String is "9900-9909".
func (r VMIDRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Probe is one question about a started test guest. Exactly one of Systemd, Unit, Process, TCP, HTTP, File and Newest
// is set.
type Probe struct {
	Systemd   string // running: everything was started, and no unit has failed
	Unit      string // is active
	Process   string // a process of that name runs
	TCP       int    // a port that accepts a connection, inside the guest
	HTTP      string // PORT or PORT/PATH, inside the guest
	Status    int    // with HTTP: the status code; 0: 200 to 399
	File      string // exists
	Newest    string // a folder, whose newest file counts
	NewerThan time.Duration
	SHA256    string // with File: 64 hexadecimal digits
}

// HTTPPort is the port of an http probe.
func (p Probe) HTTPPort() int {
	port, _, _ := strings.Cut(p.HTTP, "/")
	n, _ := strconv.Atoi(port)
	return n
}

// HTTPPath is the path of an http probe: / where it names none.
func (p Probe) HTTPPath() string {
	_, path, _ := strings.Cut(p.HTTP, "/")
	return "/" + path
}

// String is the probe as one writes it: "tcp: 80", "file: /srv/canary, newer-than: 26h".
func (p Probe) String() string {
	var parts []string
	add := func(key, value string) {
		if value != "" && value != "0" {
			parts = append(parts, key+": "+value)
		}
	}
	add("systemd", p.Systemd)
	add("unit", p.Unit)
	add("process", p.Process)
	add("tcp", strconv.Itoa(p.TCP))
	add("http", p.HTTP)
	add("status", strconv.Itoa(p.Status))
	add("file", p.File)
	add("newest", p.Newest)
	if p.NewerThan > 0 {
		add("newer-than", printDuration(p.NewerThan))
	}
	add("sha256", p.SHA256)
	return strings.Join(parts, ", ")
}

const (
	mostTestVMIDs = 100 // of one range: one test runs at a time
	mostProbes    = 50
	keepAwake     = 5 * time.Minute
	longestAwake  = time.Hour
)

var testShape = shaped(map[string]string{
	"vmid":     "Say a range for test guests: vmids: 9900-9909.",
	"schedule": "Say at: \"sun 04:00\", or every: 7d.",
	"probes":   "Write probe: with a list.",
	"network":  "Leave it out: a test guest has no link.",
},
	append([]field[Test]{
		of("guests", Agent, covered, func(t *Test, v coverage) { t.All, t.Tag, t.Guests = v.all, v.tag, v.guests }, "all (every declared guest, no golden images), a list, or tag:NAME (the guests whose config has that tag)."),
		of("guest", Agent, text, func(t *Test, v string) { t.Guests = append(t.Guests, v) }, "One guest."),
		of("except", Agent, names("list of guests", text), func(t *Test, v []string) { t.Except = v }, "With guests: all or tag:NAME, not these."),
		of("from", Agent, storage, func(t *Test, v string) { t.From = v }, "The storage of the backups (default: of all storages to which a declared backup of the guest goes, the one with the newest verified backup)."),
		of("storage", Agent, storage, func(t *Test, v string) { t.Storage = v }, "The storage of the test guests' volumes.").
			must("Say where: storage: local-lvm."),
		of("vmids", Agent, vmidRange, func(t *Test, v VMIDRange) { t.VMIDs = v }, "VMIDs that are for test guests alone. While any other guest has one of them, nothing is tested.").
			must("Give it a range that nothing else uses: vmids: 9900-9909."),
		of("at", Agent, schedule, func(t *Test, v Schedule) { t.At = &v }, "A time of day on the node's clock from which each guest is tested again: \"sun 04:00\"."),
		of("every", Agent, atLeast(time.Hour), func(t *Test, v time.Duration) { t.Every = v }, "Each guest is tested again so long after its last test."),
		of("keep-awake", Agent, atLeast(time.Second), func(t *Test, v time.Duration) { t.KeepAwake = v }, "How long the started guest is given until all probes pass (default: 5m)."),
		of("memory", Agent, size(proxmox.MiB, 32*proxmox.MiB), func(t *Test, v proxmox.Size) { t.Memory = v }, "The most memory that a test guest is given (default: as in the backup)."),
		of("probe", Agent, listOf("list of probes", probeShape.value("map")), func(t *Test, v []Probe) { t.Probes = v }, "What must be true in the started guest (default: it runs, and no unit of systemd has failed). Needs the root helper."),
		of("warn-after", Agent, atLeast(time.Hour), func(t *Test, v time.Duration) { t.WarnAfter = v }, "When the last good test of a guest is older than this, the object is reported as overdue."),
	}, objectFields(func(t *Test) *Object { return &t.Object })...)...,
)

var probeShape = shaped(map[string]string{
	"command": "Commands are not run in test guests. Probe what they would show: unit, process, tcp, http, file or newest.",
	"script":  "Scripts are not run in test guests. Probe what they would show: unit, process, tcp, http, file or newest.",
	"port":    "Write tcp: PORT.",
	"url":     "Write http: PORT/PATH; it is asked inside the guest.",
},
	probeFields()...,
)

func probeFields() []field[Probe] {
	return []field[Probe]{
		of("systemd", Agent, oneOf("running"), func(p *Probe, v string) { p.Systemd = v }, "running: systemd has started everything and no unit has failed."),
		of("unit", Agent, matching("unit", `^[A-Za-z0-9:_.@-]{1,120}$`, "write the name of a unit, for example nginx"), func(p *Probe, v string) { p.Unit = v }, "This unit of systemd is active; .service may be left out."),
		of("process", Agent, matching("process", `^[A-Za-z0-9:_.@+-]{1,15}$`, "write the name of a process, at most 15 letters, as ps -C takes it"), func(p *Probe, v string) { p.Process = v }, "A process of this name runs."),
		of("tcp", Agent, number(1, 65535), func(p *Probe, v int) { p.TCP = v }, "This port accepts a connection on 127.0.0.1 inside the guest."),
		of("http", Agent, scalar("port and path", typed("string"), anyTags, "Write PORT/PATH.", parseHTTP), func(p *Probe, v string) { p.HTTP = v }, "A GET on 127.0.0.1 inside the guest is answered: PORT, or PORT/PATH."),
		of("status", Agent, number(100, 599), func(p *Probe, v int) { p.Status = v }, "With http: the status code of the answer (default: any from 200 to 399)."),
		of("file", Agent, name("path", checkInside), func(p *Probe, v string) { p.File = v }, "This file exists in the guest."),
		of("newest", Agent, name("path", checkInside), func(p *Probe, v string) { p.Newest = v }, "A folder in the guest; its newest file counts."),
		of("newer-than", Agent, atLeast(time.Minute), func(p *Probe, v time.Duration) { p.NewerThan = v }, "With file or newest: it was changed no longer than this before the backup was made."),
		of("sha256", Agent, matching("SHA-256", `^[0-9a-f]{64}$`, "write the 64 hexadecimal digits that sha256sum prints"), func(p *Probe, v string) { p.SHA256 = v }, "With file: the digest of its content."),
	}
}

var (
	rangeForm = regexp.MustCompile(`^([1-9][0-9]{2,8}) *- *([1-9][0-9]{2,8})$`)
	httpForm  = regexp.MustCompile(`^([1-9][0-9]{0,4})(/[!-~]{0,200})?$`)
)

var vmidRange = scalar("range of VMIDs", pattern(`^[1-9][0-9]{2,8} *- *[1-9][0-9]{2,8}$`), strTags, "Write two numbers with a dash: 9900-9909.", func(s string) (VMIDRange, error) {
	m := rangeForm.FindStringSubmatch(s)
	if m == nil {
		return VMIDRange{}, fmt.Errorf("invalid range %q: expected two VMIDs, for example 9900-9909", s)
	}
	first, _ := strconv.Atoi(m[1])
	last, _ := strconv.Atoi(m[2])
	r := VMIDRange{proxmox.VMID(first), proxmox.VMID(last)}
	switch {
	case last < first:
		return r, fmt.Errorf("invalid range %q: expected the smaller number first", s)
	case last-first >= mostTestVMIDs:
		return r, fmt.Errorf("invalid range %q: expected at most %d numbers", s, mostTestVMIDs)
	}
	return r, nil
})

func parseHTTP(s string) (string, error) {
	m := httpForm.FindStringSubmatch(s)
	if m == nil {
		return "", fmt.Errorf("invalid address %q: expected PORT or PORT/PATH, for example 80/health", s)
	}
	if port, _ := strconv.Atoi(m[1]); port > 65535 {
		return "", fmt.Errorf("invalid port %q: expected a number from 1 to 65535", m[1])
	}
	return s, nil
}

// checkInside checks an absolute path in a guest.
func checkInside(s string) error {
	if !strings.HasPrefix(s, "/") || len(s) > 1024 || slices.Contains(strings.Split(s, "/"), "..") || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("invalid path %q: expected an absolute path in the guest without a parent folder", s)
	}
	return nil
}

// TestGuests are the names of the guests that the test covers, sorted: only containers are tested.
func (d *Desired) TestGuests(t *Test) []string { return d.testCovers(t, false) }

// UntestedVMs are the virtual machines that guests: all means, and which are not tested.
func (d *Desired) UntestedVMs(t *Test) []string { return d.testCovers(t, true) }

func (d *Desired) testCovers(t *Test, vm bool) []string {
	names := d.BackupGuests(&Backup{All: t.All, Guests: t.Guests, Except: t.Except})
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return d.Guest(name).Type.VM() != vm })
}

// A testChecker checks the restore tests.
type testChecker struct{ *checker }

func (c testChecker) all() {
	all := sorted(c.Tests)
	for i, t := range all {
		o := &t.Object
		field := "guests"
		switch {
		case o.Has("guests") && o.Has("guest"):
			c.fail(o, "guest", "Keep one: guests: [a, b], or guest: a.", "says guest and guests")
		case !o.Has("guests") && !o.Has("guest"):
			c.fail(o, "guests", "Say guests: all, a list, or guest: NAME.", "is missing")
		case o.Has("except") && !t.All && len(t.Guests) > 0:
			c.fail(o, "except", "Leave those out of the list.", "except is for guests: all")
		case o.Has("guest"):
			field = "guest"
		}
		for _, name := range t.Guests {
			if g := c.refers(o, field, name, "those are not backed up"); g != nil && g.Type.VM() {
				c.fail(o, field, "Leave it out: restore tests are for containers.", "%s is a virtual machine", name)
			}
		}
		for _, name := range t.Except {
			c.refers(o, "except", name, "those are left out anyway")
		}
		c.times(t)
		c.ranges(t, all[:i])
		if len(t.Probes) > mostProbes {
			c.fail(o, "probe", fmt.Sprintf("Write at most %d.", mostProbes), "has %d probes", len(t.Probes))
		}
		for _, p := range t.Probes {
			c.probe(o, "probe", p)
		}
	}
}

// times checks when a test is due.
func (c testChecker) times(t *Test) {
	o := &t.Object
	longest := t.Every
	switch at, every := o.Has("at"), o.Has("every"); {
	case at && every:
		c.fail(o, "every", "Keep one: a time of day, or so long after the last one.", "says at and every")
		return
	case !at && !every:
		c.fail(o, "every", `Say every: 7d, or at: "sun 04:00".`, "is missing")
		return
	case t.At != nil:
		_, longest = t.At.gaps()
	}
	if longest > 0 && t.WarnAfter > 0 && t.WarnAfter < longest {
		c.fail(o, "warn-after", fmt.Sprintf("Write more than %s.", printDuration(longest)), "would warn between two tests, which are up to %s apart", printDuration(longest))
	}
	if t.KeepAwake > longestAwake {
		c.fail(o, "keep-awake", fmt.Sprintf("Write %s or less.", printDuration(longestAwake)), "is longer than %s", printDuration(longestAwake))
	}
}

// ranges checks that a range is for test guests of this object alone.
func (c testChecker) ranges(t *Test, earlier []*Test) {
	for _, h := range c.hosts() {
		if h.vmid != 0 && t.VMIDs.Contains(h.vmid) {
			c.fail(&t.Object, "vmids", "Choose a range that nothing else uses.", "%s contains %d, the number of %s (%s)", t.VMIDs, h.vmid, h.Ref, h.At("vmid"))
		}
	}
	for _, other := range earlier {
		if t.VMIDs.First != 0 && other.VMIDs.Contains(max(t.VMIDs.First, other.VMIDs.First)) && t.VMIDs.Contains(max(t.VMIDs.First, other.VMIDs.First)) {
			c.fail(&t.Object, "vmids", "Give each test a range of its own.", "%s overlaps the range of %s (%s)", t.VMIDs, other.Ref, other.Object.At("vmids"))
		}
	}
}

// probe checks that a probe asks one question.
func (c testChecker) probe(o *Object, field string, p Probe) {
	kinds := 0
	for _, is := range []bool{p.Systemd != "", p.Unit != "", p.Process != "", p.TCP != 0, p.HTTP != "", p.File != "", p.Newest != ""} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		c.fail(o, field, "Write one of systemd, unit, process, tcp, http, file and newest.", "a probe asks nothing%s", strings.TrimSuffix(" ("+p.String()+")", " ()"))
	case kinds > 1:
		c.fail(o, field, "Write a list entry for each: [{unit: nginx}, {tcp: 80}].", "a probe asks several things (%s)", p)
	case p.Status != 0 && p.HTTP == "":
		c.fail(o, field, "Leave it out.", "status is for http (%s)", p)
	case p.SHA256 != "" && p.File == "":
		c.fail(o, field, "Leave it out.", "sha256 is for file (%s)", p)
	case p.NewerThan != 0 && p.File == "" && p.Newest == "":
		c.fail(o, field, "Leave it out.", "newer-than is for file and newest (%s)", p)
	case p.Newest != "" && p.NewerThan == 0:
		c.fail(o, field, "Add newer-than: 26h.", "newest says no age (%s)", p)
	}
}
