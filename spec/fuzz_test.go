package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Load answers any text with a household or with mistakes, and always the same.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"testdata/bad", "../examples/desired"} {
		paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
	f.Add(household(3))
	f.Add("guests: {a: &a {<<: *a, vmid: 111}}")
	f.Add("x-a: &a [*a, *a]\nguests: {a: {vmid: 111, needs: *a}}")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Count(text, "<<") > 30 || len(text) > 1<<16 {
			t.Skip("bombs have their own test")
		}
		files := []file{{"a.yaml", []byte(text)}}
		d, err := Loader{}.join("a.yaml", files, new(faults))
		again, errAgain := Loader{}.join("a.yaml", files, new(faults))
		if err != nil {
			if d != nil {
				t.Fatal("a Desired beside an error")
			}
			checkMistakes(t, err)
			if errAgain == nil || err.Error() != errAgain.Error() {
				t.Fatalf("first\n%v\nthen\n%v", err, errAgain)
			}
			return
		}
		if errAgain != nil {
			t.Fatalf("loaded, then %v", errAgain)
		}
		if d.Len() == 0 || d.Len() != len(d.Refs()) {
			t.Fatalf("%d objects, %d of them named", d.Len(), len(d.Refs()))
		}
		for _, r := range d.Refs() {
			o := d.Object(r)
			if o == nil || o.Ref != r || o.Pos.Line == 0 {
				t.Fatalf("%v is %+v", r, o)
			}
		}
		vmids := map[int]bool{}
		for _, m := range []map[string]*Guest{d.Restores, d.Guests} {
			for name, g := range m {
				if vmids[int(g.VMID)] || g.VMID < 100 {
					t.Fatalf("%s has the number %d", name, g.VMID)
				}
				vmids[int(g.VMID)] = true
				if g.Canonical() != again.Guest(name).Canonical() {
					t.Fatalf("%s: the canonical text changes", name)
				}
				for i, mp := range g.Config.Mounts {
					if mp.Path == "" || mp.Bind() == (mp.Storage != "" || mp.Volume != "") || mp.Mount != "" && mp.Folder == "" {
						t.Fatalf("%s mp%d is %+v", name, i, mp)
					}
				}
			}
		}
	})
}

// FuzzSchedule: what is read prints to what reads the same, and its slots lie
// on both sides of any moment.
func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"02:30", "mon..fri 02:30", "sat,sun 04:00", "sun..mon 23:59", "tue 0:00"} {
		f.Add(s, int64(1795370000))
	}
	loc := zone(f, "Europe/Budapest")
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		if again, err := ParseSchedule(s.String()); err != nil || again != s {
			t.Fatalf("%q prints as %q, which is %v, %v", text, s, again, err)
		}
		now := time.Unix(unix%(1<<33), 0).In(loc)
		last, next := s.Last(now), s.Next(now)
		if last.IsZero() || last.After(now) || !next.After(now) {
			t.Fatalf("%q at %v: last %v, next %v", text, now, last, next)
		}
	})
}

// household is a text of about n objects of all kinds.
func household(n int) string {
	var mounts, golden, restores, guests, snapshots, backups strings.Builder
	for i := range max(n/5, 1) {
		if i%20 == 0 {
			fmt.Fprintf(&mounts, "  disk%d: {uuid: 6f1e2a30-58b1-4c57-9a0e-%012d, path: /mnt/usb/disk%d}\n", i, i, i)
			fmt.Fprintf(&golden, "  golden%d: {vmid: %d, template: 'local:vztmpl/debian.tar.zst', rootfs: 'local-lvm:8', publish: {storage: local, revision: 1}}\n", i, 900000+i)
		}
		fmt.Fprintf(&restores, `  restore%d:
    vmid: %d
    from: [{newest: usb-backup}, {golden: golden%d}]
    storage: local-lvm
    config:
      cores: 2
      memory: 2GiB
      tags: [a, b]
      net0: {<<: *lan, ip: 10.0.10.11/24}
      mp0: {storage: local-lvm, size: 200G, mp: /data, backup: true}
    needs: [guest%d]
    state: running
`, i, 100+i, i/20*20, i)
		fmt.Fprintf(&guests, "  guest%d: {vmid: %d, config: {memory: 512MiB, mp0: {mount: disk%d, folder: library, mp: /media}}}\n", i, 500000+i, i/20*20)
		fmt.Fprintf(&snapshots, "  snap%d: {guest: restore%d, every: 1h, keep: {hourly: 24}}\n  named%d: {guest: restore%d, taken: 2026-11-22}\n", i, i, i, i)
		fmt.Fprintf(&backups, "  backup%d: {guest: guest%d, storage: usb-backup, at: '02:30'}\n", i, i)
	}
	return "node: pve1\nx-lan: &lan {bridge: vmbr0, gw: 10.0.10.1}\n" +
		"mounts:\n" + mounts.String() + "golden:\n" + golden.String() + "restores:\n" + restores.String() +
		"guests:\n" + guests.String() + "snapshots:\n" + snapshots.String() + "backups:\n" + backups.String()
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "pve1.yaml")
			write(b, path, household(n))
			b.ReportAllocs()
			objects := 0
			for b.Loop() {
				d, err := Load(path)
				if err != nil {
					b.Fatal(err)
				}
				objects += d.Len()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(objects), "ns/object")
		})
	}
}

// Files that multiply by anchors end with a mistake, not with the memory.
func TestBombs(t *testing.T) {
	merge := "x-0: &m0 {a: b, c: d}\n"
	for i := range 40 {
		merge += fmt.Sprintf("x-%d: &m%d {<<: [*m%d, *m%d, *m%d, *m%d]}\n", i+1, i+1, i, i, i, i)
	}
	for name, text := range map[string]string{
		"merge":    merge + "guests: {a: {vmid: 111, config: {net0: {<<: *m40}}}}",
		"itself":   "guests: {a: &a {<<: *a, vmid: 111}}",
		"cycle":    "x-a: &a {<<: &b {<<: *a}}\nguests: {a: {<<: *b, vmid: 111}}",
		"deep":     "guests: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"too deep": strings.Repeat("[", 200000),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.yaml")
			write(t, path, text)
			if _, err := Load(path); err == nil {
				t.Error("was taken")
			} else {
				checkMistakes(t, err)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	check := func(path, want string) {
		t.Helper()
		_, err := Load(path)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
			return
		}
		checkMistakes(t, err)
	}
	check(filepath.Join(dir, "none"), filepath.Join(dir, "none")+": does not exist. Create a folder there with at least one .yaml file, or give the path of yours.")
	if err := os.Mkdir(filepath.Join(dir, "folder.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	check(dir, dir+": holds no .yaml file. Declare what you want in files whose names end in .yaml; hidden files and folders are not read. There is folder.yaml/.")
	if err := os.Symlink("nowhere", filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	check(dir, "a.yaml: is a link to a file that does not exist. Correct the link, or remove it.")
	write(t, filepath.Join(dir, "zero"), "guests:\n  a: \x00\n")
	check(filepath.Join(dir, "zero"), "zero:2: is not text: it contains a zero byte. Save it as UTF-8 text.")
}

// A pipe would keep the agent waiting, a socket cannot be read.
func TestSpecialFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), "guests: {a: {vmid: 111}}")
	if err := syscall.Mkfifo(filepath.Join(dir, "b.yaml"), 0o644); err != nil {
		t.Skip("no pipes here: ", err)
	}
	_, err := Load(dir)
	if want := "b.yaml: is not a regular file. Replace it by an ordinary text file, or remove it."; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
