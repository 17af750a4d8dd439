package reconcile

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

// A lawWorld is the simulated world at one moment, read from its printed form, which
// knows nothing of this package.
type lawWorld struct {
	text     string
	guests   map[int]*lawGuest
	archives map[string]lawArchive // by place and name
	strays   []string              // volumes that no config names
	tasks    []string              // "vzdump 101 by root@pam"
}

type lawGuest struct {
	vmid     int
	running  bool
	config   map[string]string
	pending  map[string]string
	snaps    map[string]map[string]string
	text     string   // as printed, with its volumes
	volumes  []string // all that any section names
	volLines map[string]string
}

type lawArchive struct {
	key       string // place and file name
	vmid      int
	made      time.Time
	notes     string
	protected bool
	cut       bool // it was cut off, or is no archive
	text      string
}

var lawArchiveName = regexp.MustCompile(`vzdump-lxc-(\d+)-(\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d)`)

// lawLook reads the world.
func lawLook(sim *pvesim.Sim) *lawWorld { return parseLawWorld(sim.String()) }

func parseLawWorld(text string) *lawWorld {
	w := &lawWorld{text: text, guests: map[int]*lawGuest{}, archives: map[string]lawArchive{}}
	var g *lawGuest
	var section map[string]string
	disk := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "guest "):
			f := strings.Fields(line)
			vmid, _ := strconv.Atoi(f[1])
			g = &lawGuest{vmid: vmid, running: f[len(f)-1] == "running", config: map[string]string{}, pending: map[string]string{}, snaps: map[string]map[string]string{}, volLines: map[string]string{}}
			g.text = line + "\n"
			w.guests[vmid], section = g, g.config
		case strings.HasPrefix(line, "node "):
			g, disk = nil, ""
		case g != nil && strings.HasPrefix(line, "    "):
			g.text += line + "\n"
			section = g.readLine(line[4:], section)
		case g != nil && strings.HasPrefix(line, "  "):
			g.text += line + "\n"
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
			w.tasks = append(w.tasks, line[7:])
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

// readLine reads one line of a config and returns the section that follows it.
func (g *lawGuest) readLine(line string, section map[string]string) map[string]string {
	if strings.HasPrefix(line, "[") {
		name := strings.Trim(line, "[]")
		if name == "pve:pending" {
			return g.pending
		}
		g.snaps[name] = map[string]string{}
		return g.snaps[name]
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

func (w *lawWorld) addArchive(key, rest string) {
	m := lawArchiveName.FindStringSubmatch(key)
	if m == nil {
		return
	}
	a := lawArchive{key: key, text: rest}
	a.vmid, _ = strconv.Atoi(m[1])
	a.made, _ = time.Parse("2006_01_02-15_04_05", m[2])
	if i := strings.IndexByte(rest, '"'); i >= 0 {
		a.notes, _ = strconv.Unquote(rest[i:])
		rest = rest[:i]
	}
	fields := strings.Fields(rest)
	a.protected = slices.Contains(fields, "protected")
	a.cut = strings.Contains(rest, "cut off") || slices.Contains(fields, "garbage")
	w.archives[key] = a
}

// owner is the VMID in a volume's name.
func lawOwner(volid string) int {
	_, name, _ := strings.Cut(volid, ":")
	if f := strings.Split(name, "-"); len(f) >= 3 {
		n, _ := strconv.Atoi(f[1])
		return n
	}
	return 0
}

// loose are the volumes of a VMID that no current, pending or snapshot section has
// mounted: unusedN, and those that no config names.
func (w *lawWorld) loose(vmid int) []string {
	var all []string
	for _, volid := range w.strays {
		if lawOwner(volid) == vmid {
			all = append(all, volid)
		}
	}
	if g := w.guests[vmid]; g != nil {
		for key, value := range g.config {
			if strings.HasPrefix(key, "unused") {
				all = append(all, value)
			}
		}
	}
	return all
}

// archivesOf are the archives of a VMID, by key.
func (w *lawWorld) archivesOf(vmid int) []lawArchive {
	var all []lawArchive
	for _, key := range slices.Sorted(maps.Keys(w.archives)) {
		if a := w.archives[key]; a.vmid == vmid {
			all = append(all, a)
		}
	}
	return all
}

// lawMark reads the one marker of a text with its own eyes: object, vmid, owner, born.
type lawMark struct {
	object, owner, born, guest, size string
	vmid                             int
}

var lawMarker = regexp.MustCompile(`felhom-agent/1 (\S+)((?: [a-z]+=[^\s<>]+)*)`)

func lawMarkOf(text string) (lawMark, bool) {
	all := lawMarker.FindAllStringSubmatch(text, -1)
	if len(all) != 1 {
		return lawMark{}, false
	}
	m := lawMark{object: all[0][1]}
	for _, pair := range strings.Fields(all[0][2]) {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "vmid":
			m.vmid, _ = strconv.Atoi(value)
		case "owner":
			m.owner = value
		case "born":
			m.born = value
		case "guest":
			m.guest = value
		case "size":
			m.size = value
		}
	}
	return m, true
}
