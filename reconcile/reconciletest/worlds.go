package reconciletest

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A World is the simulated world at one moment, read from its printed form, which
// knows nothing of this package.
type World struct {
	text     string
	Guests   map[int]*Guest
	Archives map[string]Archive // by place and name
	strays   []string           // volumes that no config names
	Tasks    []string           // "vzdump 101 by root@pam"
}

type Guest struct {
	vmid     int
	Running  bool
	Config   map[string]string
	Pending  map[string]string
	Snaps    map[string]map[string]string
	Text     string   // as printed, with its volumes
	volumes  []string // all that any section names
	volLines map[string]string
}

type Archive struct {
	Key       string // place and file name
	Vmid      int
	Made      time.Time
	Notes     string
	Protected bool
	Cut       bool // it was cut off, or is no archive
	Text      string
}

var (
	dumpName     = regexp.MustCompile(`vzdump-(?:lxc|qemu)-(\d+)-(\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d)`)
	snapshotName = regexp.MustCompile(`backup/(?:ct|vm)/(\d+)/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)`)
)

// ArchiveOf reads the name of an archive: of which guest, and the time in it, which is UTC on
// a backup server and else the node's.
func ArchiveOf(name string) (vmid int, made time.Time, ok bool) {
	m, form := dumpName.FindStringSubmatch(name), "2006_01_02-15_04_05"
	if m == nil {
		m, form = snapshotName.FindStringSubmatch(name), time.RFC3339
	}
	if m == nil {
		return 0, time.Time{}, false
	}
	vmid, _ = strconv.Atoi(m[1])
	made, _ = time.Parse(form, m[2])
	return vmid, made, true
}

// Read reads the world.
func Read(sim *pvesim.Sim) *World { return Parse(sim.String()) }

func Parse(text string) *World {
	w := &World{text: text, Guests: map[int]*Guest{}, Archives: map[string]Archive{}}
	var g *Guest
	var section map[string]string
	disk := ""
	at, begin := 0, 0 // where this line ends, and where the lines of the guest begin
	for whole := range strings.Lines(text) {
		at += len(whole)
		line := strings.TrimSuffix(whole, "\n")
		switch {
		case strings.HasPrefix(line, "guest "):
			f := strings.Fields(line)
			vmid, _ := strconv.Atoi(f[1])
			g = &Guest{vmid: vmid, Running: f[len(f)-1] == "running", Config: map[string]string{}, Pending: map[string]string{}, Snaps: map[string]map[string]string{}, volLines: map[string]string{}}
			begin = at - len(whole)
			g.Text = text[begin:at]
			w.Guests[vmid], section = g, g.Config
		case strings.HasPrefix(line, "node "):
			g, disk = nil, ""
		case g != nil && strings.HasPrefix(line, "    "):
			g.Text = text[begin:at]
			section = g.ReadLine(line[4:], section)
		case g != nil && strings.HasPrefix(line, "  "):
			g.Text = text[begin:at]
			volid, rest, _ := strings.Cut(line[2:], ": ")
			g.volumes = append(g.volumes, volid)
			g.volLines[volid] = rest
		case strings.HasPrefix(line, "  disk "):
			disk = strings.Fields(line)[1]
		case strings.HasPrefix(line, "    ") && disk != "":
			if i := strings.Index(line, ": "); i > 0 {
				w.addArchive(disk+" "+line[4:i], line[i+2:])
			}
		case strings.HasPrefix(line, "  mount "), strings.HasPrefix(line, "  fstab "):
		case strings.HasPrefix(line, "  task "):
			w.Tasks = append(w.Tasks, line[7:])
		case strings.HasPrefix(line, "  "):
			key, rest, _ := strings.Cut(line[2:], ": ")
			if strings.Contains(key, ":backup/") {
				w.addArchive(key, rest)
			} else {
				w.strays = append(w.strays, key)
			}
		}
	}
	return w
}

// ReadLine reads one line of a config and returns the section that follows it.
func (g *Guest) ReadLine(line string, section map[string]string) map[string]string {
	if strings.HasPrefix(line, "[") {
		name := strings.Trim(line, "[]")
		if name == "pve:pending" {
			return g.Pending
		}
		g.Snaps[name] = map[string]string{}
		return g.Snaps[name]
	}
	if note, ok := strings.CutPrefix(line, "#"); ok {
		if text, err := url.PathUnescape(note); err == nil {
			note = text
		}
		section["description"] += note + "\n"
		return section
	}
	key, value, _ := strings.Cut(line, ": ")
	section[key] = value
	return section
}

func (w *World) addArchive(key, rest string) {
	vmid, made, ok := ArchiveOf(key)
	if !ok {
		return
	}
	a := Archive{Key: key, Text: rest, Vmid: vmid, Made: made}
	if i := strings.IndexByte(rest, '"'); i >= 0 {
		a.Notes, _ = strconv.Unquote(rest[i:])
		rest = rest[:i]
	}
	fields := strings.Fields(rest)
	a.Protected = slices.Contains(fields, "protected")
	a.Cut = strings.Contains(rest, "cut off") || strings.Contains(rest, "not verified") || slices.Contains(fields, "garbage")
	w.Archives[key] = a
}

// owner is the VMID in a volume's name.
func Owner(volid string) int {
	_, name, _ := strings.Cut(volid, ":")
	if f := strings.Split(name, "-"); len(f) >= 3 {
		n, _ := strconv.Atoi(f[1])
		return n
	}
	return 0
}

// Loose are the volumes of a VMID that no current, pending or snapshot section has
// mounted: unusedN, and those that no config names.
func (w *World) Loose(vmid int) []string {
	var all []string
	for _, volid := range w.strays {
		if Owner(volid) == vmid {
			all = append(all, volid)
		}
	}
	if g := w.Guests[vmid]; g != nil {
		for key, value := range g.Config {
			if strings.HasPrefix(key, "unused") {
				all = append(all, value)
			}
		}
	}
	return all
}

// ArchivesOf are the archives of a VMID, by key.
func (w *World) ArchivesOf(vmid int) []Archive {
	var all []Archive
	for _, key := range slices.Sorted(maps.Keys(w.Archives)) {
		if a := w.Archives[key]; a.Vmid == vmid {
			all = append(all, a)
		}
	}
	return all
}

// Mark reads the one marker of a text with its own eyes: object, vmid, owner, born.
type Mark struct {
	Object, Owner, Born, Guest, Size string
	Vmid                             int
}

var MarkerLine = regexp.MustCompile(`felhom-agent/1 (\S+)((?: [a-z]+=[^\s<>]+)*)`)

func MarkOf(text string) (Mark, bool) {
	all := MarkerLine.FindAllStringSubmatch(text, -1)
	if len(all) != 1 {
		return Mark{}, false
	}
	m := Mark{Object: all[0][1]}
	for _, pair := range strings.Fields(all[0][2]) {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "vmid":
			m.Vmid, _ = strconv.Atoi(value)
		case "owner":
			m.Owner = value
		case "born":
			m.Born = value
		case "guest":
			m.Guest = value
		case "size":
			m.Size = value
		}
	}
	return m, true
}
