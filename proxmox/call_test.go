package proxmox

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

// everyCall is each call that this package can build, with every field of its
// specification in use at least once.
var everyCall = map[string]Call{
	"RestoreLXC, few": On("pve1").RestoreLXC(RestoreSpec{VMID: 111, Archive: "usb-backup:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar.zst"}),
	"RestoreLXC, all": On("pve1").RestoreLXC(RestoreSpec{
		VMID: 111, Archive: "usb-backup:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar.zst", Storage: "local-lvm",
		RootFS: NewVolume("local-lvm", 16*GiB), MountPoints: map[int]string{0: "local-lvm:200,mp=/data,backup=1"},
		Config: map[string]string{
			"hostname": "nextcloud", "cores": "4", "memory": "6144", "swap": "0", "cpulimit": "1.5", "cpuunits": "200", "onboot": "1",
			"protection": "0", "startup": "order=3", "tags": "shop", "net0": "name=eth0,bridge=vmbr0,ip=10.0.10.11/24,gw=10.0.10.1",
			"description": "one; two=2 & 100 %\nthree", "nameserver": "10.0.10.1", "searchdomain": "home.example",
			"timezone": "host", "features": "nesting=1", "console": "1", "tty": "2", "cmode": "tty", "debug": "0",
		},
		Unprivileged: ptr(true), Pool: "homes",
	}),
	"Vzdump, few": On("pve1").Vzdump(VzdumpSpec{VMIDs: []VMID{111}}),
	"Vzdump, all": On("pve1").Vzdump(VzdumpSpec{
		VMIDs: []VMID{111, 112}, Storage: "usb-backup", Mode: "snapshot", Compress: "zstd", NotesTemplate: NotesTemplate("a\nb"),
		NotificationMode: "notification-system", MailTo: "root@pam", Remove: ptr(true), Protected: ptr(false),
	}),
	"Snapshot":               On("pve1").Snapshot(111, "nc-before-32", "before version 32"),
	"DeleteSnapshot":         On("pve1").DeleteSnapshot(111, "nc-before-32"),
	"Rollback":               On("pve1").Rollback(111, "nc-before-32"),
	"SetSnapshotDescription": On("pve1").SetSnapshotDescription(111, "nc-before-32", "x"),
	"SetConfig": On("pve1").SetConfig(111, ConfigChange{
		Set: map[string]string{"memory": "512", "net0": "name=eth0,bridge=vmbr0", "mp0": "local-lvm:8,mp=/data,backup=1"}, Delete: []string{"tags", "onboot"},
		Digest: "b34b004dacdbdcb9d4cc0ff0d6efb2dae823b864",
	}),
	"Start":             On("pve1").Start(111),
	"Stop":              On("pve1").Stop(111),
	"Shutdown":          On("pve1").Shutdown(111, 90*time.Second),
	"Shutdown, default": On("pve1").Shutdown(111, 0),
	"Resize":            On("pve1").Resize(111, "rootfs", 24*GiB),
	"Resize, odd":       On("pve1").Resize(111, "mp3", 1500),
	"DeleteVolume":      On("pve1").DeleteVolume("usb-backup:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar.zst"),
	"SetNotes":          On("pve1").SetNotes("usb-backup:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar.zst", "x\ny"),
}

// method is an entry of PVE's own description of its API.
type method struct {
	Method, Path string
	Params       map[string]param
	Returns      string
	AllowToken   int
	pathForm     *regexp.Regexp
}

type param struct {
	Type, Pattern    string
	Optional         json.RawMessage
	Enum             []string
	Minimum, Maximum json.RawMessage
	MinLength        int
	MaxLength        int
	Format           json.RawMessage
}

func apiOf(t *testing.T) []method {
	t.Helper()
	text, err := os.ReadFile("../../shared/pve-api.json")
	if err != nil {
		t.Skipf("no description of PVE's API here: %v", err)
	}
	var methods []method
	if err := json.Unmarshal(text, &methods); err != nil || len(methods) < 100 {
		t.Fatalf("%d methods, %v", len(methods), err)
	}
	variable := regexp.MustCompile(`\\\{[a-z]+\\\}`)
	for i, m := range methods {
		form := variable.ReplaceAllString(regexp.QuoteMeta(m.Path), `([^/]+)`)
		if strings.HasSuffix(m.Path, "{volume}") {
			form = strings.TrimSuffix(form, `([^/]+)`) + `(.+)`
		}
		methods[i].pathForm = regexp.MustCompile("^" + form + "$")
	}
	return methods
}

// TestCallsExist holds that each call is one that PVE has, with parameters that
// exist, of the right type, and none missing that is required.
func TestCallsExist(t *testing.T) {
	methods := apiOf(t)
	for name, call := range everyCall {
		i := slices.IndexFunc(methods, func(m method) bool { return m.Method == call.Method && m.pathForm.MatchString(call.Path) })
		if i < 0 {
			t.Errorf("%s: PVE has no %s %s", name, call.Method, call.Path)
			continue
		}
		m := methods[i]
		if m.AllowToken != 1 {
			t.Errorf("%s: not for tokens", name)
		}
		if async := m.Returns == "string"; call.Async() != async {
			t.Errorf("%s: Async is %v, but PVE returns %s", name, call.Async(), m.Returns)
		}
		given := map[string]string{}
		names := regexp.MustCompile(`\{([a-z]+)\}`).FindAllStringSubmatch(m.Path, -1)
		for i, value := range m.pathForm.FindStringSubmatch(call.Path)[1:] {
			given[names[i][1]] = value
		}
		for key, value := range call.Params {
			given[key] = value
		}
		for key, value := range given {
			p, ok := m.Params[key]
			if !ok {
				p, ok = m.Params[strings.TrimRight(key, "0123456789")+"[n]"]
			}
			if !ok {
				t.Errorf("%s: PVE has no parameter %s", name, key)
				continue
			}
			if complaint := p.refuses(value); complaint != "" {
				t.Errorf("%s: %s=%q: %s", name, key, value, complaint)
			}
		}
		for key, p := range m.Params {
			if _, ok := given[key]; !ok && p.Optional == nil && !strings.HasSuffix(key, "[n]") {
				t.Errorf("%s: %s is missing and not optional", name, key)
			}
		}
	}
}

func (p param) refuses(value string) string {
	number := func(raw json.RawMessage) (float64, bool) {
		f, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
		return f, err == nil
	}
	switch p.Type {
	case "boolean":
		if value != "0" && value != "1" {
			return "not 0 or 1"
		}
	case "integer", "number":
		f, err := strconv.ParseFloat(value, 64)
		if err != nil || p.Type == "integer" && f != float64(int64(f)) {
			return "not of type " + p.Type
		}
		if least, ok := number(p.Minimum); ok && f < least {
			return "too small"
		}
		if most, ok := number(p.Maximum); ok && f > most {
			return "too large"
		}
	case "string":
		if len(value) < p.MinLength || p.MaxLength > 0 && len(value) > p.MaxLength {
			return "wrong length"
		}
		if p.Enum != nil && !slices.Contains(p.Enum, value) {
			return "none of " + strings.Join(p.Enum, ", ")
		}
		if p.Pattern != "" {
			form, err := regexp.Compile("^(?:" + strings.ReplaceAll(p.Pattern, "(?^:", "(?:") + ")$")
			if err != nil || !form.MatchString(value) {
				return "does not match " + p.Pattern
			}
		}
		var sub map[string]param // a property string
		if json.Unmarshal(p.Format, &sub) != nil {
			return ""
		}
		for part := range strings.SplitSeq(value, ",") {
			key, v, ok := strings.Cut(part, "=")
			if !ok {
				continue
			}
			known, ok := sub[key]
			if !ok {
				return "no sub-key " + key
			}
			if complaint := known.refuses(v); complaint != "" {
				return key + ": " + complaint
			}
		}
	default:
		return "of a type the test does not know: " + p.Type
	}
	return ""
}

// TestReadsExist holds the same of the paths of all reads.
func TestReadsExist(t *testing.T) {
	methods := apiOf(t)
	s := &script{}
	v := testClient(t, s, func(o *Options) { o.Retries = -1 })
	ctx := t.Context()
	upid := UPID{Node: "pve1", PID: 1, PStart: 2, StartTime: 3, Type: "vzdump", ID: "111", User: "felhom@pve!agent"}
	v.Version(ctx)
	v.Nodes(ctx)
	v.NodeStatus(ctx, "pve1")
	v.NodeTime(ctx, "pve1")
	v.ClusterStatus(ctx)
	v.ListLXC(ctx, "pve1")
	v.GuestStatus(ctx, "pve1", 111)
	v.GuestConfig(ctx, "pve1", 111)
	v.GuestPending(ctx, "pve1", 111)
	v.Snapshots(ctx, "pve1", 111)
	v.SnapshotConfig(ctx, "pve1", 111, "before")
	v.Feature(ctx, "pve1", 111, "snapshot")
	v.ListStorage(ctx)
	v.NodeStorage(ctx, "pve1")
	v.StorageContent(ctx, "pve1", "local", ContentFilter{Content: "backup", VMID: 111})
	v.VolumeInfo(ctx, "pve1", "local:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar.zst")
	v.ArchiveConfig(ctx, "pve1", "local:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar.zst")
	v.BackupRetention(ctx, "pve1", "local")
	v.Permissions(ctx)
	v.Resources(ctx, "vm")
	v.Tasks(ctx, "pve1", TaskFilter{"all", "vzdump", 111, "felhom", time.Unix(5, 0), time.Unix(9, 0), true, 50, 100})
	v.VMIDFree(ctx, 111)
	v.TokenInfo(ctx, "felhom@pve!agent")
	v.TaskStatusOnce(ctx, upid)
	v.TaskLogTail(ctx, upid, 5)
	if len(s.asked) != 25 || v.Requests() < 23 {
		t.Errorf("%d requests sent, %d counted", len(s.asked), v.Requests())
	}
	for _, asked := range s.asked {
		if asked == "GET /nodes/pve1/time" || asked == "GET /cluster/status" {
			continue // not in the description, but recorded
		}
		verb, rest, _ := strings.Cut(asked, " ")
		path, query, _ := strings.Cut(rest, "?")
		i := slices.IndexFunc(methods, func(m method) bool { return m.Method == verb && m.pathForm.MatchString(path) })
		if i < 0 || verb != "GET" {
			t.Errorf("PVE has no %s", asked)
			continue
		}
		for pair := range strings.SplitSeq(query, "&") {
			key, value, ok := strings.Cut(pair, "=")
			if !ok {
				continue
			}
			p, known := methods[i].Params[key]
			if !known {
				t.Errorf("%s: no parameter %s", asked, key)
			} else if complaint := p.refuses(strings.NewReplacer("%3A", ":", "%2F", "/").Replace(value)); complaint != "" {
				t.Errorf("%s: %s: %s", asked, key, complaint)
			}
		}
	}
}

func TestCallsAsText(t *testing.T) {
	for name, want := range map[string]string{
		"Vzdump, few":     "POST /nodes/pve1/vzdump remove=0 vmid=111",
		"Vzdump, all":     `POST /nodes/pve1/vzdump compress=zstd mailto=root@pam mode=snapshot notes-template=a\nb notification-mode=notification-system protected=0 remove=1 storage=usb-backup vmid=111,112`,
		"Snapshot":        `POST /nodes/pve1/lxc/111/snapshot description="before version 32" snapname=nc-before-32`,
		"DeleteSnapshot":  "DELETE /nodes/pve1/lxc/111/snapshot/nc-before-32",
		"SetConfig":       "PUT /nodes/pve1/lxc/111/config delete=onboot,tags digest=b34b004dacdbdcb9d4cc0ff0d6efb2dae823b864 memory=512 mp0=local-lvm:8,mp=/data,backup=1 net0=name=eth0,bridge=vmbr0",
		"Shutdown":        "POST /nodes/pve1/lxc/111/status/shutdown timeout=90",
		"Resize, odd":     "PUT /nodes/pve1/lxc/111/resize disk=mp3 size=1500",
		"SetNotes":        `PUT /nodes/pve1/storage/usb-backup/content/usb-backup:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar.zst notes="x\ny"`,
		"RestoreLXC, few": "POST /nodes/pve1/lxc ostemplate=usb-backup:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar.zst restore=1 vmid=111",
	} {
		if got := everyCall[name].String(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	keys := map[string]string{}
	for name, call := range everyCall {
		text, err := json.Marshal(call)
		var back Call
		if err == nil {
			err = json.Unmarshal(text, &back)
		}
		if err != nil || back.Key() != call.Key() || back.String() != call.String() {
			t.Errorf("%s does not survive JSON: %v %s", name, err, text)
		}
		if other, taken := keys[call.Key()]; taken {
			t.Errorf("%s and %s have one key", name, other)
		}
		keys[call.Key()] = name
		if strings.ContainsAny(call.String(), "\n\r") {
			t.Errorf("%s prints more than a line", name)
		}
	}
	got, _ := json.Marshal(On("pve1").Start(111))
	if diff := cmp.Diff(`{"method":"POST","path":"/nodes/pve1/lxc/111/status/start"}`, string(got)); diff != "" {
		t.Error(diff)
	}
	// A description that looks like another call's parameters is not one.
	a := On("n").Snapshot(100, "ab", "x snapname=cd")
	b := Call{"POST", a.Path, Params{"snapname": "ab", "description": "x", "snapname=cd": ""}}
	if a.Key() == b.Key() {
		t.Error("two calls with one key")
	}
}
