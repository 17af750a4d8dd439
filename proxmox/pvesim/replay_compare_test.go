package pvesim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// A likeness says what the things of a recording are called in the simulator: tasks,
// digests, hardware addresses, archives. What is one thing there must be one thing here.
type likeness struct {
	nows, thens map[string]string
}

func newLikeness() *likeness {
	return &likeness{nows: make(map[string]string), thens: make(map[string]string)}
}

func (l *likeness) now(then string) string { return l.nows[then] }

func (l *likeness) then(now string) string { return l.thens[now] }

// learn notes that two names mean one thing; an answer says why they cannot.
func (l *likeness) learn(then, now string) string {
	if was, ok := l.nows[then]; ok && was != now {
		return fmt.Sprintf("%s was %s before and is %s now", then, was, now)
	}
	if was, ok := l.thens[now]; ok && was != then {
		return fmt.Sprintf("%s stood for %s before and stands for %s now", now, was, then)
	}
	l.nows[then], l.thens[now] = now, then
	return ""
}

// thingRE finds the names that differ by nature.
var thingRE = regexp.MustCompile(upidTextRE.String() + `|\bvzdump-(?:lxc|qemu)-\d+-\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d|\b[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}\b|\b[0-9a-f]{40}\b`)

// translate puts the simulator's names into a recorded text, escaped ones too.
func (l *likeness) translate(text string) string {
	for _, then := range thingRE.FindAllString(text, -1) {
		if now := l.nows[then]; now != "" && now != then {
			text = strings.ReplaceAll(text, then, now)
		}
	}
	plain := unescape(text)
	if plain == text {
		return text
	}
	for _, then := range thingRE.FindAllString(plain, -1) {
		if now := l.nows[then]; now != "" {
			text = strings.ReplaceAll(text, url.QueryEscape(then), url.QueryEscape(now))
		}
	}
	return text
}

// changing are texts of which only the form can be compared.
var changing = []struct {
	form *regexp.Regexp
	is   string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "<time>"},
	{regexp.MustCompile(`\(\d\d:\d\d:\d\d\)`), "(<duration>)"},
	{regexp.MustCompile(`after \d+ seconds`), "after <n> seconds"},
	{regexp.MustCompile(`Total bytes (written|read): \d+ \([^)]*\)`), "Total bytes $1: <size>"},
	{regexp.MustCompile(`archive file size: [\d.]+[A-Z]*B`), "archive file size: <size>"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<uuid>"},
	{regexp.MustCompile(`([0-9A-F]{2}:){31}[0-9A-F]{2}`), "<fingerprint>"},
	{regexp.MustCompile(`PVE:[^:]+:[0-9A-F]{8}::\S+`), "<ticket>"},
}

// texts compares two strings; thing by thing where they name things.
func (l *likeness) texts(then, now string) string {
	if then == now {
		for _, thing := range thingRE.FindAllString(then, -1) {
			if l.nows[thing] == "" {
				l.learn(thing, thing)
			}
		}
		return ""
	}
	a, b := thingRE.FindAllString(then, -1), thingRE.FindAllString(now, -1)
	if len(a) != len(b) {
		return differ(then, now)
	}
	for i := range a {
		if kindOf(a[i]) != kindOf(b[i]) {
			return differ(a[i], b[i])
		}
		if strings.EqualFold(l.nows[strings.ToUpper(a[i])], b[i]) { // an address in small letters
			continue
		}
		if why := l.learn(a[i], b[i]); why != "" {
			return why
		}
	}
	mask := func(s string) string {
		s = thingRE.ReplaceAllString(s, "<thing>")
		for _, c := range changing {
			s = c.form.ReplaceAllString(s, c.is)
		}
		return s
	}
	if mask(then) != mask(now) {
		return differ(then, now)
	}
	return ""
}

// kindOf is what must be equal of two things: of tasks the node, type, ID and user, of archives the guest.
func kindOf(thing string) string {
	if f := strings.Split(thing, ":"); strings.HasPrefix(thing, "UPID:") {
		return strings.Join([]string{f[1], f[5], f[6], f[7]}, ":")
	}
	if strings.HasPrefix(thing, "vzdump-") {
		f := strings.SplitN(thing, "-", 4)
		return f[1] + "-" + f[2]
	}
	return fmt.Sprint(len(thing))
}

func differ(then, now any) string {
	return fmt.Sprintf("recorded %s, simulated %s", short(then), short(now))
}

func short(v any) string {
	b, _ := json.Marshal(v)
	if len(b) > 300 {
		b = append(b[:300:300], "…"...)
	}
	return string(b)
}

// compare says how an answer differs from the recorded one; "" when it does not.
func (l *likeness) compare(e exchange, res *http.Response, body string) string {
	if why := l.texts(strings.TrimPrefix(e.StatusLine, "HTTP/1.1 "), res.Status); why != "" {
		return "status: " + why + " " + errorsOf(body)
	}
	if want := e.Headers["content-type"]; want != "" && res.Header.Get("Content-Type") != want {
		return "content type: " + differ(want, res.Header.Get("Content-Type"))
	}
	if e.Headers["content-type"] == "" {
		if why := l.texts(e.Response, body); why != "" {
			return "body: " + why
		}
		return ""
	}
	then, cut := decodeCut(e.Response)
	var now map[string]any
	if err := json.Unmarshal([]byte(body), &now); err != nil {
		return "body: " + err.Error() + ": " + short(body)
	}
	if then == nil {
		return "the recorded body is no JSON"
	}
	w := walk{l: l, cut: cut}
	path := e.Path
	if i := strings.IndexByte(path, '?'); i >= 0 {
		path = path[:i]
	}
	if strings.HasSuffix(path, "/log") && res.StatusCode == 200 {
		w.log(then, now)
	} else {
		w.value("", then, now, false)
	}
	return strings.Join(w.why, "; ")
}

func errorsOf(body string) string {
	var a struct{ Errors map[string]string }
	if json.Unmarshal([]byte(body), &a) == nil && len(a.Errors) > 0 {
		return short(a.Errors)
	}
	return ""
}

// decodeCut reads a recorded body. Where the recording cut it, the whole elements of the
// list before the cut are what is left of it.
func decodeCut(text string) (body map[string]any, cut bool) {
	if json.Unmarshal([]byte(text), &body) == nil {
		list, _ := body["data"].([]any)
		for i, v := range list { // cut within a line of a log
			if m, _ := v.(map[string]any); strings.Contains(fmt.Sprint(m["t"]), " ...cut... ") {
				body["data"] = list[:i]
				return body, true
			}
		}
		return body, false
	}
	head, _, _ := strings.Cut(text, " ...cut... ") // or cut at its end
	start := strings.Index(head, `"data":[`)
	if start < 0 {
		return nil, true
	}
	var list []any
	dec := json.NewDecoder(strings.NewReader(head[start+len(`"data":`):]))
	if _, err := dec.Token(); err != nil {
		return nil, true
	}
	for dec.More() {
		var item any
		if dec.Decode(&item) != nil {
			break
		}
		list = append(list, item)
	}
	return map[string]any{"data": list}, true
}

// A walk goes through two JSON values side by side.
type walk struct {
	l   *likeness
	cut bool
	why []string
}

func (w *walk) say(path, text string) {
	if text != "" && len(w.why) < 4 {
		w.why = append(w.why, strings.TrimPrefix(path, ".")+": "+text)
	}
}

// bound are the fields whose values differ by nature: times, processes, load, sizes.
// Of these only the type counts.
var bound = map[string]bool{}

func init() {
	for _, k := range strings.Fields(`uptime cpu mem disk diskread diskwrite netin netout pid pstart starttime endtime
		snaptime ctime size used avail free available used_fraction wait idle time localtime loadavg
		pressurecpusome pressurecpufull pressureiosome pressureiofull pressurememorysome pressurememoryfull
		memused memavailable memtotal roottotal rootused swaptotal swapused iowait arcsize
		ssl_fingerprint kversion`) {
		bound[k] = true
	}
}

// value compares two values; of a guest that does not run the numbers are exact.
func (w *walk) value(path string, then, now any, stopped bool) {
	switch a := then.(type) {
	case map[string]any:
		b, ok := now.(map[string]any)
		if !ok {
			w.say(path, differ(then, now))
			return
		}
		w.object(path, a, b)
	case []any:
		b, ok := now.([]any)
		if !ok {
			w.say(path, differ(then, now))
			return
		}
		w.list(path, a, b)
	case string:
		b, ok := now.(string)
		if !ok {
			w.say(path, differ(then, now))
			return
		}
		w.text(path, a, b)
	case float64:
		b, ok := now.(float64)
		key := path[strings.LastIndexByte(path, '.')+1:]
		loose := bound[key] && !stopped || key == "total" && path != ".total" || key == "maxdisk" && !stopped
		if !ok || !loose && !machinePaths.MatchString(path) && a != b {
			w.say(path, differ(then, now))
		}
	default:
		if then != now {
			w.say(path, differ(then, now))
		}
	}
}

func (w *walk) text(path, then, now string) {
	switch key := path[strings.LastIndexByte(path, '.')+1:]; {
	case key == "content" || key == "nodes":
		a, b := strings.Split(then, ","), strings.Split(now, ",")
		sort.Strings(a)
		sort.Strings(b)
		w.say(path, w.l.texts(strings.Join(a, ","), strings.Join(b, ",")))
	case bound[strings.TrimRight(key, "[]0123456789")]:
	case machinePaths.MatchString(path):
	default:
		w.say(path, w.l.texts(then, now))
	}
}

// machinePaths are the paths that describe the hardware and its firmware.
var machinePaths = regexp.MustCompile(`\.(boot-info|current-kernel|cpuinfo)\.`)

func (w *walk) object(path string, then, now map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(then)) {
		if _, ok := now[k]; !ok {
			w.say(path+"."+k, "missing; recorded "+short(then[k]))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(now)) {
		if _, ok := then[k]; !ok && !(w.cut && path == "") {
			w.say(path+"."+k, "too much: "+short(now[k]))
		}
	}
	stopped := then["status"] == "stopped" && then["type"] == "lxc"
	for _, k := range slices.Sorted(maps.Keys(then)) {
		if b, ok := now[k]; ok {
			w.value(path+"."+k, then[k], b, stopped)
		}
	}
}

// identities are the fields by which the entries of a list are found again; those of
// the lists that PVE gives in a random order.
var identities = []string{"upid", "volid", "vmid", "storage", "userid", "key", "snapname", "iface", "devpath", "node", "name", "id", "n", "time"}

func (w *walk) list(path string, then, now []any) {
	if len(then) > len(now) || len(then) < len(now) && !w.cut {
		w.say(path, fmt.Sprintf("recorded %d entries, simulated %d: %s", len(then), len(now), surplus(then, now)))
		return
	}
	by := ""
	if len(then) > 0 {
		first, _ := then[0].(map[string]any)
		for _, k := range identities {
			if _, ok := first[k]; ok {
				by = k
				break
			}
		}
	}
	for i, a := range then {
		b := now[i]
		label := fmt.Sprintf("%s[%d]", path, i)
		if by != "" && by != "upid" && by != "time" && by != "n" {
			id := identity(a, by)
			label = fmt.Sprintf("%s[%s]", path, id)
			found := false
			for _, c := range now {
				if identity(c, by) == id || w.l.nows[id] != "" && identity(c, by) == w.l.nows[id] || w.l.translate(id) == identity(c, by) {
					b, found = c, true
				}
			}
			if !found && !thingRE.MatchString(id) {
				w.say(label, "missing")
				continue
			}
		}
		w.value(label, a, b, false)
	}
}

func identity(v any, by string) string {
	m, _ := v.(map[string]any)
	if by == "name" && m["id"] != nil { // the entries of /cluster/status
		by = "id"
	}
	if m["id"] != nil && (by == "vmid" || by == "storage" || by == "node") {
		by = "id"
	}
	return fmt.Sprint(m[by])
}

// surplus says what one list has and the other has not.
func surplus(then, now []any) string {
	name := func(list []any) map[string]int {
		names := make(map[string]int)
		for _, v := range list {
			m, _ := v.(map[string]any)
			if u, _ := m["upid"].(string); u != "" {
				names[kindOf(u)+" "+fmt.Sprint(m["status"])]++
				continue
			}
			for _, k := range identities {
				if m[k] != nil {
					names[identity(v, k)]++
					break
				}
			}
		}
		return names
	}
	a, b := name(then), name(now)
	var out []string
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if a[k] > b[k] {
			out = append(out, "-"+k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if b[k] > a[k] {
			out = append(out, "+"+k)
		}
	}
	return strings.Join(out, ", ")
}

// said are the lines of a task log that PVE itself prints: how it ended, what a client
// parses, and the steps of a worker. All else is the chatter of mkfs, lvm, tar, rsync.
var said = regexp.MustCompile(`^(TASK |(INFO|WARN|ERROR): |trying to acquire lock|recovering backed-up |restoring '|extracting archive '|merging backed-up |` +
	`purging CT |removing backup '|create (full|linked) clone |volume '.*does not exist|disk image '|Removed volume '|forced to stop CT |unable to open file|no content)`)

// log compares task logs: the TASK line, every line of PVE's own, not the chatter of the tools.
func (w *walk) log(then, now map[string]any) {
	type line struct {
		n int
		t string
	}
	lines := func(body map[string]any) (kept []line, all int) {
		list, _ := body["data"].([]any)
		for _, v := range list {
			m, _ := v.(map[string]any)
			n, _ := m["n"].(float64)
			text, ok := m["t"].(string)
			all++
			if ok && said.MatchString(text) {
				kept = append(kept, line{int(n), sortedOptions(text)})
			}
		}
		return kept, all
	}
	a, allThen := lines(then)
	b, allNow := lines(now)
	for i := 0; i < len(a) || i < len(b); i++ {
		switch {
		case i >= len(b):
			w.say(fmt.Sprintf("line %d", a[i].n), "missing: "+short(a[i].t))
		case i >= len(a):
			if !w.cut {
				w.say(fmt.Sprintf("line %d", b[i].n), "too much: "+short(b[i].t))
			}
		default:
			w.say(fmt.Sprintf("line %d", a[i].n), w.l.texts(a[i].t, b[i].t))
		}
	}
	if t, ok := now["total"].(float64); !w.cut && (!ok || allThen == allNow && then["total"] != t) {
		w.say("total", differ(then["total"], now["total"]))
	}
	for _, k := range slices.Sorted(maps.Keys(now)) {
		if _, ok := then[k]; !ok && !w.cut {
			w.say(k, "too much")
		}
	}
}

var jobRE = regexp.MustCompile(`^(INFO: starting new backup job: vzdump(?: \d+)*) (--.*)$`)

// sortedOptions puts the options of a job in order: PVE prints them as a Perl hash has them.
func sortedOptions(line string) string {
	m := jobRE.FindStringSubmatch(line)
	if m == nil {
		return line
	}
	options := strings.Split(m[2], "--")
	for i := range options {
		options[i] = strings.TrimSpace(options[i])
	}
	sort.Strings(options)
	return m[1] + strings.Join(options, " --")
}
