package spec_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-multierror"

	"github.com/felhom/felhom-agent/spec"
)

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

const one = "guests: {web: {vmid: 111}}\n"

// A link inside of the folder is followed, however it is written; one that leaves it is refused by its name, and
// nothing of what it leads to is said.
func TestLinks(t *testing.T) {
	const secret = "4b5a4968-0f1e-2d3c-8776-a5b4c3d2e1f0"
	for name, c := range map[string]struct {
		make func(dir, outside string)
		want string // of the error; "": it loads
	}{
		"as Kubernetes swaps": {func(dir, _ string) {
			put(t, filepath.Join(dir, "..2026_11_28/a.yaml"), one)
			link(t, "..2026_11_28", filepath.Join(dir, "..data"))
			link(t, "..data/a.yaml", filepath.Join(dir, "a.yaml"))
		}, ""},
		"absolute, inside": {func(dir, _ string) {
			put(t, filepath.Join(dir, ".store/a"), one)
			link(t, filepath.Join(dir, ".store/a"), filepath.Join(dir, "a.yaml"))
		}, ""},
		"absolute": {func(dir, outside string) { link(t, outside, filepath.Join(dir, "a.yaml")) }, "a.yaml: is a link that leaves the folder"},
		"relative": {func(dir, _ string) { link(t, "../outside", filepath.Join(dir, "a.yaml")) }, "a.yaml: is a link that leaves the folder"},
		"through a folder": {func(dir, _ string) {
			link(t, "..", filepath.Join(dir, ".up"))
			link(t, ".up/outside", filepath.Join(dir, "a.yaml"))
		}, "a.yaml: is a link that leaves the folder"},
		"absolute through a folder": {func(dir, _ string) {
			link(t, filepath.Dir(dir), filepath.Join(dir, ".up"))
			link(t, ".up/outside", filepath.Join(dir, "a.yaml"))
		}, "a.yaml: is a link that leaves the folder"},
		"to /proc":    {func(dir, _ string) { link(t, "/proc/self/pagemap", filepath.Join(dir, "a.yaml")) }, "a.yaml: is a link that leaves the folder"},
		"to a device": {func(dir, _ string) { link(t, "/dev/zero", filepath.Join(dir, "a.yaml")) }, "a.yaml: is a link that leaves the folder"},
		"to itself":   {func(dir, _ string) { link(t, "a.yaml", filepath.Join(dir, "a.yaml")) }, "a.yaml: is a link that leaves the folder"},
		"to nothing":  {func(dir, _ string) { link(t, "none", filepath.Join(dir, "a.yaml")) }, "a.yaml: is a link to a file that does not exist"},
		"beside a good file": {func(dir, _ string) {
			put(t, filepath.Join(dir, "a.yaml"), one)
			link(t, "../outside", filepath.Join(dir, "b.yaml"))
		}, "b.yaml: is a link that leaves the folder"},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dir, outside := filepath.Join(top, "desired"), filepath.Join(top, "outside")
			put(t, filepath.Join(dir, "README.md"), "")
			put(t, outside, secret+"\n")
			c.make(dir, outside)
			d, err := spec.Load(dir)
			if c.want == "" {
				if err != nil || d.Len() != 1 {
					t.Errorf("%v, %v", d, err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), c.want+". ") || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// Of a file that is not of the language no message says anything but what kind of thing it is.
func TestNothingIsQuoted(t *testing.T) {
	const secret = "4b5a4968-0f1e-2d3c-8776-a5b4c3d2e1f0"
	for _, text := range []string{
		secret, "token " + secret, "token: " + secret, secret + ": token", "[" + secret + "]", "- " + secret, "*" + secret, "a: *" + secret, "&" + secret + " b: c",
		"!" + secret + " a", "%" + secret, "\"" + secret, "'" + secret, "{" + secret, "|\n " + secret, secret + "\n---\n" + secret, "{" + secret + ": a, " + secret + ": b}",
		"felhom@pve!agent=" + secret, "guests: {web: {vmid: felhom@pve!agent=" + secret + "}}", "guests: {web: {vmid: " + secret + "}}", "guests: " + secret,
		"guests: {web: " + secret + "}", "guests: {web: {vmid: 111, token: " + secret + "}}", "guests: {web: {vmid: 111, needs: " + secret + "}}",
		"guests: {web: {vmid: 111, config: {net0: {name: " + secret + ", bridge: vmbr0}}}}", "guests: {web: {vmid: 111, config: {net0: 'name=" + secret + "'}}}",
		"guests: {web: {vmid: *" + secret + "}}", "guests: {web: {vmid: !" + secret + " 1}}", "backups: {a: {guest: web, storage: " + secret + " x, at: " + secret + "}}",
		"node: " + secret + ".x\nguests: {}", "node: pve1\nurl: https://pve1:8006\ntoken_secret: " + secret,
	} {
		for _, text := range []string{text, text + "\x00", "\xff" + text, text + "\x1b", text + "\n\tx: [", "# guests:\n" + text} {
			path := filepath.Join(t.TempDir(), "a.yaml")
			put(t, path, text)
			_, err := spec.Load(path)
			if err == nil {
				t.Fatalf("%q is taken", text)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), secret[:13]) {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

// A folder that is too large is refused by what it is, a file that never ends too.
func TestLimits(t *testing.T) {
	expect := func(what string, dir, want string) {
		t.Helper()
		if _, err := spec.Load(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %.300v, want %s", what, err, want)
		}
	}
	dir := t.TempDir()
	for i := range 2001 {
		put(t, filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), "")
	}
	expect("2,001 files", dir, "holds more than 2000 .yaml files")
	dir = t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		put(t, filepath.Join(dir, name+".yaml"), "#"+strings.Repeat("x", 3<<20))
	}
	expect("9 MiB in three files", dir, "c.yaml: makes the desired state larger than 8 MiB")
	expect("without end", "/proc/self/pagemap", "pagemap: ")
	expect("a device", "/dev/zero", "zero: is not a regular file")
	dir = t.TempDir()
	for i := range 8 {
		put(t, filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), "x-a:\n"+strings.Repeat("- 1\n", 25_000))
	}
	expect("too many entries", dir, "3.yaml: makes more than 200000 keys, items and lines of the desired state")
	var items strings.Builder
	items.WriteString("x-a: &a [")
	for i := range 50_000 {
		fmt.Fprintf(&items, "n%d,", i)
	}
	items.WriteString("]\nguests:\n")
	for i := range 2000 {
		fmt.Fprintf(&items, "  g%d: {vmid: %d, needs: *a}\n", i, 1000+i)
	}
	put(t, filepath.Join(dir, "items"), items.String())
	expect("lists by anchors", filepath.Join(dir, "items"), "anchors bring in too much")
}

// A pipe, also one behind a link inside of the folder, keeps nobody waiting.
func TestPipeBehindLink(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, ".pipe"), 0o644); err != nil {
		t.Skip("no pipes here: ", err)
	}
	link(t, ".pipe", filepath.Join(dir, "a.yaml"))
	if _, err := spec.Load(dir); err == nil || !strings.HasPrefix(err.Error(), "a.yaml: is not a regular file. ") {
		t.Errorf("%v", err)
	}
}

// Names that are not read are named, but for what nobody takes for a part of the desired state.
func TestPassedOver(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.yaml"), one)
	for _, name := range []string{"b.YAML", "c.yml.txt", "d.json", "e", "more/f.yaml", "g.yaml/h", ".hidden.json", "README", "README.md", "a.yaml~", ".a.yaml.swp", "a.yaml.bak", "a.yaml.dpkg-dist", ".git/x", "#a.yaml#"} {
		put(t, filepath.Join(dir, name), one)
	}
	d, err := spec.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(d.PassedOver), "[b.YAML c.yml.txt d.json e g.yaml/ more/]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A character that YAML does not have is told with its line and column, whatever stands before it.
func TestControlCharacters(t *testing.T) {
	for _, r := range []rune{0x1b, 0x0c, 0x1a, 0x08, 0x7f, 0x90, 0xfeff, 0xffff} {
		path := filepath.Join(t.TempDir(), "a.yaml")
		put(t, path, "guests:\n  web:\n    # ő "+string(r)+"\n    vmid: 111\n")
		want := fmt.Sprintf("a.yaml:3: holds the control character U+%04X in column 9. Remove it", r)
		if _, err := spec.Load(path); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Of many mistakes the first thousand are said, and how many more there are.
func TestManyMistakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	var text strings.Builder
	text.WriteString("guests:\n")
	for i := range 3000 {
		fmt.Fprintf(&text, "  g%d:\n", i)
	}
	put(t, path, text.String())
	_, err := spec.Load(path)
	var all *multierror.Error
	if !errors.As(err, &all) || len(all.Errors) != 1001 || !strings.Contains(all.Errors[1000].Error(), "2000 more mistakes are not listed") {
		t.Errorf("%.500v", err)
	}
}

// loadEnv makes this test binary load a path and print its peak memory.
const loadEnv = "SPEC_TEST_LOAD"

func init() {
	path := os.Getenv(loadEnv)
	if path == "" {
		return
	}
	_, err := spec.Load(path)
	fmt.Fprintf(os.Stderr, "%.200v\n", err)
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	fmt.Println(kib)
	os.Exit(0)
}

// Whatever 8 MiB hold, reading them costs less than 20 times as much, with the garbage collector as the program sets it.
func TestMemory(t *testing.T) {
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("skipped: the race detector's own memory is several times that of the program; go test without -race measures")
	}
	const size = 8<<20 - 100
	fill := func(head, item string) string { return head + strings.Repeat(item, (size-len(head))/len(item)) }
	numbered := func(head, format string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := 0; b.Len() < size-200; i++ {
			fmt.Fprintf(&b, format, i, i+1000)
		}
		return b.String()
	}
	// As many as are taken.
	some := func(text string) string {
		entries, end := 0, 0
		for i := range len(text) {
			if strings.IndexByte("\n\r,[{:-?*", text[i]) >= 0 {
				entries++
			}
			if text[i] == '\n' && entries < 199_990 {
				end = i + 1
			}
		}
		return text[:end]
	}
	for name, text := range map[string]string{
		"items":              fill("x-a:\n", "- 1\n"),
		"flow":               "x-a: [" + strings.Repeat("1,", size/2-10) + "]\n",
		"one text":           "x-a: " + strings.Repeat("a", size-10),
		"quoted":             `x-a: "` + strings.Repeat(`\n`, size/2-10) + `"`,
		"comments":           fill("", "# xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"),
		"nested":             strings.Repeat("[", size/2) + strings.Repeat("]", size/2),
		"objects":            some(numbered("guests:\n", "  g%d: {vmid: %d, config: {memory: 512MiB, description: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}}\n")),
		"small objects":      some(numbered("guests:\n", "  g%d: {vmid: %d}\n")),
		"objects that fail":  some(numbered("guests:\n", "  g%d: {vmid: x%d}\n")),
		"empty objects":      some(numbered("guests:\n", "  g%d: {} #%d\n")),
		"items that are one": some(fill("x-a:\n", "- 1\n")),
		"maps in maps":       some(fill("x-a:\n", "- {a: {b: {c: 1}}}\n")),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.yaml")
			put(t, path, text)
			cmd := exec.Command(os.Args[0])
			cmd.Env, cmd.Stderr = append(os.Environ(), loadEnv+"="+path, "GOGC=50"), t.Output()
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			kib, err := strconv.Atoi(string(bytes.TrimSpace(out)))
			if err != nil || kib>>10 >= 20*8 {
				t.Errorf("%d MiB for %d bytes (%v)", kib>>10, len(text), err)
			}
			t.Logf("%d MiB", kib>>10)
		})
	}
}
