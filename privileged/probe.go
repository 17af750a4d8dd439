package privileged

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ProbeKind is what a [Probe] asks for.
type ProbeKind string

// The kinds of probes, and what they read of a [Probe].
const (
	ProbeSystem  ProbeKind = "system"  // systemd has started everything, and no unit has failed (systemctl is-system-running)
	ProbeUnit    ProbeKind = "unit"    // the unit Name is active
	ProbeProcess ProbeKind = "process" // a process of the name Name runs
	ProbeTCP     ProbeKind = "tcp"     // Port takes a connection from inside the guest
	ProbeHTTP    ProbeKind = "http"    // a GET of URL at Port from inside the guest is answered with Status
	ProbeFile    ProbeKind = "file"    // File is a file: changed after After, with the sum SHA256, where these are given
	ProbeNewest  ProbeKind = "newest"  // below the folder File is a file that was changed after After
)

// Probe is one question to a running guest of a restore test. It is plain data.
type Probe struct {
	Kind   ProbeKind
	Name   string    // of a unit, .service where no suffix says else; or of a process
	Port   int       // 1 to 65535
	URL    string    // path and query of a GET, such as /health; empty: /
	Status int       // that the GET must be answered with; 0: 200 to 399
	File   string    // absolute path in the guest; links are followed inside it
	After  time.Time // when a file must have been changed at least, by its own time; zero: any
	SHA256 string    // of a file, 64 hex digits; empty: any
}

// Verdict is the answer to a [Probe].
type Verdict struct {
	Good bool
	Says string // one line for people: what was found, or why there is nothing
}

// ProbeGuest asks a running container one thing, through the root helper and without running a program of the container. A bad verdict may become a good
// one while the container boots. An error means that nothing is known: a [RefusedError] where root does not allow probes of this VMID.
func ProbeGuest(ctx context.Context, a Asker, node string, vmid int, p Probe) (Verdict, error) {
	found, err := ask[map[string]string](ctx, a, Query{Node: node, Name: "Probe", Args: p.args(vmid)})
	if err != nil {
		return Verdict{}, err
	}
	return p.judge(found), nil
}

// Survey is what a guest has that could be probed.
type Survey struct {
	Ports []int    // TCP ports that are listened on, in order
	Units []string // services that are active, in order
}

// SurveyGuest asks a running container what it has that could be probed; see [ProbeGuest].
func SurveyGuest(ctx context.Context, a Asker, node string, vmid int) (Survey, error) {
	found, err := ask[map[string]string](ctx, a, Query{Node: node, Name: "Probe", Args: map[string]string{"vmid": strconv.Itoa(vmid), "what": "survey"}})
	if err != nil {
		return Survey{}, err
	}
	if no := found["no"]; no != "" {
		return Survey{}, errors.New(no)
	}
	var s Survey
	for word := range strings.FieldsSeq(found["ports"]) {
		if port, err := strconv.Atoi(word); err == nil && port > 0 && port < 1<<16 {
			s.Ports = append(s.Ports, port)
		}
	}
	for word := range strings.FieldsSeq(found["units"]) {
		if unitName(word) == "" {
			s.Units = append(s.Units, word)
		}
	}
	return s, nil
}

func (p Probe) args(vmid int) map[string]string {
	a := args{}
	a.num("vmid", vmid)
	a.set("what", string(p.Kind))
	switch p.Kind {
	case ProbeUnit:
		a.set("name", unitOf(p.Name))
	case ProbeProcess:
		a.set("name", p.Name)
	case ProbeTCP:
		a.num("port", p.Port)
	case ProbeHTTP:
		a.num("port", p.Port)
		a.set("url", cmp.Or(p.URL, "/"))
	case ProbeFile:
		a.set("file", p.File)
		a.flag("hash", p.SHA256 != "")
	case ProbeNewest:
		a.set("file", p.File)
	}
	return a
}

// unitOf is the full name of a unit.
func unitOf(name string) string {
	if name == "" || strings.Contains(name, ".") {
		return name
	}
	return name + ".service"
}

// String is what is asked for, for people, e.g. "http 80 /health".
func (p Probe) String() string {
	words := []string{string(p.Kind)}
	if p.Port != 0 {
		words = append(words, strconv.Itoa(p.Port))
	}
	for _, word := range []string{unitOrName(p), p.URL, p.File} {
		if word != "" {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

func unitOrName(p Probe) string {
	if p.Kind == ProbeUnit {
		return unitOf(p.Name)
	}
	return p.Name
}

// judge says whether what was found is what the probe wants. All of it comes from the guest.
func (p Probe) judge(found map[string]string) Verdict {
	verdict := func(good bool, format string, args ...any) Verdict {
		return Verdict{good, p.String() + ": " + printable(fmt.Sprintf(format, args...))}
	}
	if no, ok := found["no"]; ok {
		return verdict(false, "%s", cmp.Or(no, "nothing is known"))
	}
	switch p.Kind {
	case ProbeSystem:
		if failed := found["failed"]; failed != "" {
			return verdict(false, "%s, failed: %s", found["state"], failed)
		}
		return verdict(found["state"] == "running", "%s", cmp.Or(found["state"], "unknown"))
	case ProbeUnit:
		return verdict(found["state"] == "active", "%s", cmp.Or(found["state"], "unknown"))
	case ProbeProcess:
		n, err := strconv.Atoi(found["processes"])
		return verdict(err == nil && n > 0, "%s running", found["processes"])
	case ProbeTCP:
		return verdict(found["connected"] != "", "connected")
	case ProbeHTTP:
		status, err := strconv.Atoi(found["status"])
		good := err == nil && (status == p.Status || p.Status == 0 && status >= 200 && status < 400)
		if !good && p.Status != 0 {
			return verdict(false, "status %s, expected %d", found["status"], p.Status)
		}
		return verdict(good, "status %s", found["status"])
	case ProbeFile, ProbeNewest:
		return p.judgeFile(found, verdict)
	}
	return verdict(false, "unknown probe")
}

func (p Probe) judgeFile(found map[string]string, verdict func(bool, string, ...any) Verdict) Verdict {
	seconds, err := strconv.ParseInt(found["modified"], 10, 64)
	if err != nil {
		return verdict(false, "its time is not known")
	}
	changed := time.Unix(seconds, 0).UTC()
	at := changed.Format("2006-01-02 15:04:05Z")
	name := ""
	if p.Kind == ProbeNewest {
		name = found["file"] + " "
	}
	switch {
	case changed.Before(p.After):
		return verdict(false, "%schanged %s, expected after %s", name, at, p.After.UTC().Format("2006-01-02 15:04:05Z"))
	case p.SHA256 != "" && !strings.EqualFold(found["sha256"], p.SHA256):
		return verdict(false, "SHA-256 %s, expected %s", cmp.Or(found["sha256"], "unknown"), p.SHA256)
	}
	return verdict(true, "%schanged %s", name, at)
}

// probeTime is how long one probe may take: what it asks is the container's, which may answer never.
const probeTime = 20 * time.Second

// probeNeeds are the arguments that each kind of probe takes, besides the VMID; all but hash must be there.
var probeNeeds = map[string][]string{
	"system": {}, "unit": {"name"}, "process": {"name"}, "tcp": {"port"}, "http": {"port", "url"}, "file": {"file", "hash"}, "newest": {"file"}, "survey": {},
}

// answerProbe asks a container of the range that root opened to probes.
func answerProbe(r diskReader) (any, error) {
	if err := openToProbes(r.reader); err != nil {
		return nil, err
	}
	what := r.args["what"]
	question := maps.Clone(r.args)
	delete(question, "vmid")
	for key := range question {
		if key != "what" && !slices.Contains(probeNeeds[what], key) {
			return nil, r.refuse(key, "a probe of the kind "+what+" has no such argument", "")
		}
	}
	for _, key := range probeNeeds[what] {
		if question[key] == "" && key != "hash" {
			return nil, r.refuse(key, "it is missing", "")
		}
	}
	if what == "unit" {
		if reason := unitName(question["name"]); reason != "" {
			return nil, r.refuse("name", reason, "")
		}
	}
	vmid, _ := strconv.Atoi(r.args["vmid"])
	ctx, cancel := context.WithTimeout(r.ctx, probeTime)
	defer cancel()
	found, err := r.host.Probe(ctx, vmid, question)
	if err != nil {
		return nil, r.failed(err, "cannot probe guest "+r.args["vmid"])
	}
	clean := map[string]string{}
	for _, key := range []string{"no", "state", "failed", "processes", "connected", "status", "size", "modified", "sha256", "file", "files", "ports", "units"} {
		if text, ok := found[key]; ok {
			clean[key] = harmless(text, 4096)
		}
	}
	return clean, nil
}

func answerMayProbe(r diskReader) (any, error) { return struct{}{}, openToProbes(r.reader) }

// openToProbes makes sure that root opened this VMID to probes.
func openToProbes(r reader) error {
	p, err := r.policy()
	if err != nil {
		return err
	}
	vmid, _ := strconv.ParseInt(r.args["vmid"], 10, 64)
	first, last, _ := vmidRange(p.Tests)
	if p.Tests != "" && first <= vmid && vmid <= last {
		return nil
	}
	for one := range strings.SplitSeq(p.Guards, ",") {
		if first, last, err := guardRange(one); err == nil && first <= vmid && vmid <= last {
			return nil
		}
	}
	return r.refuse("vmid", "root has not opened this guest to probes", "As root, in "+PolicyPath+`, name the range of restore tests: {"tests": "9900-9909"}; or the guests with guard: {"guards": "101,111-119"}`)
}

// guardRange reads one part of the list of guarded guests: 101, or 111-119.
func guardRange(text string) (first, last int64, err error) {
	text = strings.TrimSpace(text)
	if vmid(text) == "" {
		first, err = strconv.ParseInt(text, 10, 64)
		return first, first, err
	}
	if first, last, err = vmidRange(text); err != nil {
		err = fmt.Errorf("guards: invalid VMIDs %q: expected numbers and ranges, for example 101,111-119", clip(printable(text), 40))
	}
	return first, last, err
}

// vmidRange reads a range of VMIDs: 9900-9909.
func vmidRange(text string) (first, last int64, err error) {
	from, to, ok := strings.Cut(text, "-")
	if ok && vmid(from) == "" && vmid(to) == "" {
		first, _ = strconv.ParseInt(from, 10, 64)
		last, _ = strconv.ParseInt(to, 10, 64)
		if first <= last && last-first < 1000 {
			return first, last, nil
		}
	}
	return 0, 0, fmt.Errorf("tests: invalid range of VMIDs %q: expected at most 1000 of them, for example 9900-9909", clip(printable(text), 40))
}
