package kit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var hour = time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)

func facts() Facts {
	return Facts{Node: "pve1", Owner: "pve1", PVE: "9.2.11", Version: "0.1.0~dev", Token: "felhom@pve!agent", Role: "FelhomAgent", Privileges: []string{"Sys.Audit"},
		Guests:   []Guest{{Name: "web", VMID: 112, Backup: hour, Storage: "usb-backup"}},
		Storages: []Storage{{ID: "usb-backup", Type: "dir", Options: map[string]string{"path": "/mnt/usb/backup", "content": "backup", "password": "hunter2-hunter2"}}},
		Bridges:  []string{"vmbr0"}, Templates: []Template{{Volume: "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst"}}}
}

// put writes a kit as root does, with its list of hashes.
func put(t *testing.T, disk, name string, files map[string][]byte) string {
	t.Helper()
	dir := filepath.Join(disk, "felhom-recovery", "pve1", name)
	var sums bytes.Buffer
	for _, file := range slices.Sorted(maps.Keys(files)) {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, file), files[file], 0o644); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(files[file])
		fmt.Fprintf(&sums, "%s  %s\n", hex.EncodeToString(sum[:]), file)
	}
	if err := os.WriteFile(filepath.Join(dir, sumsFile), sums.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func build(t *testing.T, f Facts, at time.Time) map[string][]byte {
	t.Helper()
	files, err := Build(f, at, map[string][]byte{"home.yaml": []byte("guests: {}\n")}, []byte("owner: pve1\nlisten: 127.0.0.1:8765\n"), []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func finds(t *testing.T, disk string) (kits []*Kit, refused []error) {
	t.Helper()
	d, err := OpenDisk(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return Find(d)
}

// A kit is read as it was written; the newest by its own time comes first, and what is no kit is passed over.
func TestAKitIsReadAsWritten(t *testing.T) {
	disk := t.TempDir()
	put(t, disk, "20261122T180000Z", build(t, facts(), hour.Add(time.Hour))) // its own time counts, not the folder's
	put(t, disk, "20261122T183000Z", build(t, facts(), hour))
	os.WriteFile(filepath.Join(disk, "felhom-recovery/pve1/felhom-agent_0.1.0_amd64.deb"), nil, 0o644)
	os.Mkdir(filepath.Join(disk, "felhom-recovery/pve1/.20261122T190000Z"), 0o755)
	kits, refused := finds(t, disk)
	if len(kits) != 2 || len(refused) != 0 || !kits[0].Time.Equal(hour.Add(time.Hour)) {
		t.Fatalf("%v %v", kits, refused)
	}
	k := kits[0]
	if k.Node != "pve1" || string(k.DesiredFiles()["home.yaml"]) != "guests: {}\n" || k.Storages[0].Options["path"] != "/mnt/usb/backup" || Key(k.Files[AgentFile], "owner") != "pve1" {
		t.Errorf("%+v", k)
	}
	if Digest(k.Files) != Digest(kits[1].Files) {
		t.Error("two kits that say the same have two digests")
	}
}

// No key that may hold a secret gets into a kit, nor does a comment beside it.
func TestNothingSecretIsInAKit(t *testing.T) {
	for _, agent := range []string{
		"token_secret: 1d1f0a52-3c7e-4b8f\nowner: pve1\n", "# token_secret: 1d1f0a52-3c7e-4b8f\nowner: pve1\n", `{"token_secret": "1d1f0a52-3c7e-4b8f", "owner": "pve1"}`,
		"owner: pve1\nnotify: {command: [/bin/x, 1d1f0a52-3c7e-4b8f]}\n", "owner: pve1 # notify 1d1f0a52-3c7e-4b8f\n",
	} {
		files, err := Build(facts(), hour, map[string][]byte{"home.yaml": []byte("guests: {}\n")}, []byte(agent), nil)
		if err != nil {
			t.Fatal(err)
		}
		if Key(files[AgentFile], "owner") != "pve1" {
			t.Errorf("of %q is left %q", agent, files[AgentFile])
		}
		for name, text := range files {
			if bytes.Contains(text, []byte("1d1f0a52")) || bytes.Contains(text, []byte("hunter2")) {
				t.Errorf("%s of %q has the secret: %s", name, agent, text)
			}
		}
	}
}

// hostile are kits that somebody made, each with what is said of it.
var hostile = map[string]struct {
	facts func(*Facts)
	files func(map[string][]byte)
	disk  func(dir string) error
	want  string
}{
	"a link among the files": {disk: func(d string) error { return os.Symlink("/etc/shadow", d+"/desired/x.yaml") }, want: "link or a device"},
	"a file that is a link": {disk: func(d string) error {
		return errors.Join(os.Remove(d+"/agent.yaml"), os.Symlink("/etc/hostname", d+"/agent.yaml"))
	}, want: "link"},
	"kit.json that is a link": {disk: func(d string) error {
		return errors.Join(os.Remove(d+"/kit.json"), os.Symlink("/etc/hostname", d+"/kit.json"))
	}, want: "link"},
	"a folder that is a link": {disk: func(d string) error { return errors.Join(os.RemoveAll(d+"/desired"), os.Symlink("..", d+"/desired")) }, want: "link"},
	"a pipe":                  {disk: func(d string) error { return errors.Join(os.Remove(d+"/TIME"), syscall.Mkfifo(d+"/TIME", 0o644)) }, want: "device"},
	"a device":                {disk: func(d string) error { return syscall.Mknod(d+"/desired/zero.yaml", syscall.S_IFCHR|0o644, 1<<8|5) }, want: "link or a device"},
	"a huge file":             {disk: func(d string) error { return os.Truncate(d+"/state.json", 1<<40) }, want: "larger than a kit"},
	"a huge kit.json":         {disk: func(d string) error { return os.Truncate(d+"/kit.json", 1<<40) }, want: "larger than a kit"},
	"an altered file":         {disk: func(d string) error { return os.WriteFile(d+"/desired/home.yaml", []byte("guests: {x: 1}\n"), 0o644) }, want: "altered or cut off"},
	"a file more":             {disk: func(d string) error { return os.WriteFile(d+"/desired/more.yaml", nil, 0o644) }, want: "not in its SHA256SUMS"},
	"a file less":             {disk: func(d string) error { return os.Remove(d + "/state.json") }, want: "no such file"},
	"no list":                 {disk: func(d string) error { return os.Remove(d + "/SHA256SUMS") }, want: "cut off"},
	"half a list":             {disk: func(d string) error { return os.Truncate(d+"/SHA256SUMS", 100) }, want: "SHA256SUMS"},
	"a list that leads out": {disk: func(d string) error {
		return os.WriteFile(d+"/SHA256SUMS", []byte(strings.Repeat("0", 64)+"  ../../../../etc/shadow\n"), 0o644)
	}, want: "invalid line"},
	"a list of an absolute path": {disk: func(d string) error {
		return os.WriteFile(d+"/SHA256SUMS", []byte(strings.Repeat("0", 64)+"  /etc/shadow\n"), 0o644)
	}, want: "invalid line"},
	"a newer format":            {files: func(f map[string][]byte) { f[FactsFile] = []byte(`{"format": 2, "wonders": {}}`) }, want: "format 2"},
	"no format":                 {files: func(f map[string][]byte) { f[FactsFile] = []byte(`{}`) }, want: "format 0"},
	"an unknown key":            {files: func(f map[string][]byte) { f[FactsFile] = []byte(`{"format": 1, "run": "rm -rf /"}`) }, want: "unknown field"},
	"no JSON":                   {files: func(f map[string][]byte) { f[FactsFile] = []byte("{") }, want: FactsFile},
	"no time":                   {files: func(f map[string][]byte) { f[TimeFile] = []byte("yesterday") }, want: TimeFile},
	"no desired state":          {files: func(f map[string][]byte) { delete(f, "desired/home.yaml") }, want: "no desired state"},
	"an agent.yaml of no YAML":  {files: func(f map[string][]byte) { f[AgentFile] = []byte("- a\n- b\n") }, want: "agent.yaml"},
	"an unknown storage type":   {facts: func(f *Facts) { f.Storages = []Storage{{ID: "xy", Type: "script", Options: map[string]string{}}} }, want: `unknown type "script"`},
	"an option of a storage":    {facts: func(f *Facts) { f.Storages[0].ID = "--run" }, want: "invalid storage name"},
	"a path of the system":      {facts: func(f *Facts) { f.Storages[0].Options["path"] = "/etc/cron.d" }, want: "directory of the system"},
	"a path upwards":            {facts: func(f *Facts) { f.Storages[0].Options["path"] = "/mnt/../etc" }, want: "invalid path"},
	"a value with a dash":       {facts: func(f *Facts) { f.Storages[0].Options["content"] = "--delete" }, want: "invalid value"},
	"a storage twice":           {facts: func(f *Facts) { f.Storages = append(f.Storages, f.Storages[0]) }, want: "twice"},
	"root's token":              {facts: func(f *Facts) { f.Token = "root@pam!agent" }, want: "invalid token"},
	"a user of the system":      {facts: func(f *Facts) { f.Token = "backup@pam!agent" }, want: "invalid token"},
	"a token that is an option": {facts: func(f *Facts) { f.Token = "--help" }, want: "invalid token"},
	"a node of a path":          {facts: func(f *Facts) { f.Node = "../pve1" }, want: "invalid node"},
	"another node's kit":        {facts: func(f *Facts) { f.Node = "pve2" }, want: "in the folder of pve1"},
	"an owner of two words":     {facts: func(f *Facts) { f.Owner = "pve1 vmid=1" }, want: "invalid owner"},
	"a bridge that is a path":   {facts: func(f *Facts) { f.Bridges = []string{"../../x"} }, want: "invalid bridge"},
	"a template that is a path": {facts: func(f *Facts) { f.Templates = []Template{{Volume: "local:vztmpl/../../etc/x.tar.gz"}} }, want: "invalid template"},
	"a hash that is none":       {facts: func(f *Facts) { f.Templates[0].SHA512 = "../../etc" }, want: "invalid SHA-512"},
	"a template with an option": {facts: func(f *Facts) { f.Templates = []Template{{Volume: "local:vztmpl/--x.tar.gz"}} }, want: "invalid template"},
	"a guest of no number":      {facts: func(f *Facts) { f.Guests[0].VMID = -1 }, want: "invalid guest"},
	"control characters":        {facts: func(f *Facts) { f.Guests[0].Name = "\x1b[2J" }, want: "invalid guest"},
	"very many guests":          {facts: func(f *Facts) { f.Guests = make([]Guest, 5000) }, want: "more than 1000"},
}

// Every hostile shape of a kit is refused by name, and the previous kit is offered.
func TestHostileKits(t *testing.T) {
	for name, h := range hostile {
		t.Run(name, func(t *testing.T) {
			disk := t.TempDir()
			put(t, disk, "20261122T180000Z", build(t, facts(), hour))
			f := facts()
			if h.facts != nil {
				h.facts(&f)
			}
			files := build(t, f, hour.Add(time.Hour))
			if h.files != nil {
				h.files(files)
			}
			dir := put(t, disk, "20261122T190000Z", files)
			if h.disk != nil {
				if err := h.disk(dir); err != nil {
					if errors.Is(err, syscall.EPERM) {
						t.Skip("it needs root")
					}
					t.Fatal(err)
				}
			}
			kits, refused := finds(t, disk)
			if len(kits) != 1 || !kits[0].Time.Equal(hour) {
				t.Errorf("%d kits are offered", len(kits))
			}
			var e *Error
			if len(refused) != 1 || !errors.As(refused[0], &e) || !strings.Contains(e.Text, h.want) || !strings.HasSuffix(e.Path, "T190000Z") {
				t.Errorf("said is %v; expected %q", refused, h.want)
			}
		})
	}
}

// A folder of kits that is a link, or a file, leads nowhere.
func TestFolderOfKitsThatIsALink(t *testing.T) {
	for _, make := range []func(disk string) error{
		func(d string) error { return os.Symlink("/etc", d+"/felhom-recovery") },
		func(d string) error { return os.WriteFile(d+"/felhom-recovery", nil, 0o644) },
		func(d string) error {
			return errors.Join(os.Mkdir(d+"/felhom-recovery", 0o755), os.Symlink("/etc", d+"/felhom-recovery/pve1"))
		},
	} {
		disk := t.TempDir()
		if err := make(disk); err != nil {
			t.Fatal(err)
		}
		if kits, refused := finds(t, disk); len(kits) != 0 || len(refused) != 1 {
			t.Errorf("%v %v", kits, refused)
		}
	}
}

// An agent.yaml gets other values for some keys and keeps the rest.
func TestWithKeys(t *testing.T) {
	text, err := WithKeys([]byte("# mine\nurl: https://x:8006\nfingerprint: AA\nlisten: 127.0.0.1:1\n"), map[string]string{"url": "https://127.0.0.1:8006", "fingerprint": "", "ca": "/ca"})
	if want := "# mine\nurl: https://127.0.0.1:8006\nlisten: 127.0.0.1:1\nca: /ca\n"; err != nil || string(text) != want {
		t.Errorf("%v\n%s", err, text)
	}
}
