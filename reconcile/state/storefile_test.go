package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// smallState has one of everything that a state file can have.
func smallState() Stored {
	at := time.Date(2026, 11, 22, 18, 2, 9, 0, time.FixedZone("", 3600))
	return Stored{
		Format: 1, Trusted: "9", TrustedOn: "pve1",
		Holds: []Hold{
			{Name: "restores/web", Kind: HoldPerson, Why: "looking at <it> & more", By: "anna", Since: at, Until: at.Add(time.Hour)},
			{Name: "mounts/backup", Kind: HoldEjected, UUID: "6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11", Device: "8:17", Gone: true, Since: at},
		},
		Backups: map[string]LastBackup{"web": {Time: at, Storage: "usb-backup", Disk: "blue"}},
		Known:   map[string]proxmox.VMID{"restores/web": 201, "mounts/backup": 0},
		Drift:   map[string]time.Time{"guests/dns: memory 512 MiB -> 1024 MiB": at},
	}
}

// ok ends a test at an error.
func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stateFile(t *testing.T, stored Stored) (path string, data []byte) {
	t.Helper()
	dir := t.TempDir()
	ok(t, OpenStore(dir).Change(func(s *Stored) { *s = stored }))
	path = filepath.Join(dir, "state.json")
	data, err := os.ReadFile(path)
	ok(t, err)
	return path, data
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	ok(t, err)
	return string(data)
}

// Every bit of a small state file: turned over, it is noticed, or nothing of the state is
// another one. What is noticed says where the file is, what is lost and how to go on, and
// no change writes over it.
func TestEveryBitOfAState(t *testing.T) {
	path, data := stateFile(t, smallState())
	want := asJSON(t, smallState())
	noticed := 0
	for bit := range len(data) * 8 {
		damaged := bytes.Clone(data)
		damaged[bit/8] ^= 1 << (bit % 8)
		ok(t, os.WriteFile(path, damaged, 0o640))
		store := OpenStore(filepath.Dir(path))
		stored, err := store.Load()
		if err == nil {
			if got := asJSON(t, stored); got != want {
				t.Fatalf("bit %d of byte %d turns\n%s\ninto\n%s", bit%8, bit/8, want, got)
			}
			continue
		}
		noticed++
		if _, known := errors.AsType[*StateError](err); !known || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "fix: ") || !strings.Contains(err.Error(), "It has holds on ") {
			t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
		if bit%61 != 0 { // a few are tried
			continue
		}
		if err := store.AddHold(Hold{Name: "all", Kind: HoldPerson}); err == nil {
			t.Fatalf("bit %d of byte %d: a change writes over it", bit%8, bit/8)
		}
	}
	if noticed < len(data)*4 {
		t.Errorf("%d of %d are noticed", noticed, len(data)*8)
	}
}

// A state that ends too early at any byte is noticed: a power cut, a full disk.
func TestAStateThatIsCutOff(t *testing.T) {
	path, data := stateFile(t, smallState())
	for n := range len(data) - 1 { // the last byte is the end of the line
		ok(t, os.WriteFile(path, data[:n], 0o640))
		if _, err := OpenStore(filepath.Dir(path)).Load(); err == nil {
			t.Fatalf("%d of %d bytes are taken for a state", n, len(data))
		}
	}
}

// What an earlier version wrote, without a checksum, is read as it is.
func TestAStateOfTheVersionBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	old, err := json.MarshalIndent(smallState(), "", "  ")
	ok(t, err)
	if bytes.Contains(old, []byte("sum")) {
		t.Fatalf("it has a checksum:\n%s", old)
	}
	ok(t, os.WriteFile(path, append(old, '\n'), 0o640))
	stored, err := OpenStore(filepath.Dir(path)).Load()
	if err != nil || asJSON(t, stored) != asJSON(t, smallState()) {
		t.Errorf("%v\n%s", err, asJSON(t, stored))
	}
	ok(t, OpenStore(filepath.Dir(path)).AddHold(Hold{Name: "all", Kind: HoldPerson}))
	if now, err := os.ReadFile(path); err != nil || !bytes.Contains(now, []byte(`"sum": "`)) {
		t.Errorf("%v; after the first change it has no checksum:\n%s", err, now)
	}
}

// What this version does not know is refused, and what that would lose is named.
func TestAStateWithWhatIsNotKnown(t *testing.T) {
	const hold = `{"name":"restores/web","kind":"person","since":"2026-11-22T18:02:09Z"}`
	for text, says := range map[string]string{
		`{"format":2,"holds":[` + hold + `]}`:                                                                       "has format 2 and this version knows 1",
		`{"holds":[` + hold + `]}`:                                                                                  "has format 0",
		`{"format":1,"holds":[` + hold + `],"quarantine":["restores/web"]}`:                                         `has the key "quarantine", which this version does not know`,
		`{"format":1,"holds":[` + strings.Replace(hold, `"person"`, `"vacation"`, 1) + `]}`:                         `a hold of the kind "vacation"`,
		`{"format":1,"holds":[` + strings.Replace(hold, `{`, `{"priority":1,`, 1) + `]}`:                            `has the key "priority"`,
		`{"format":1,"holds":[` + hold + `,` + strings.Replace(hold, `restores/web`, `volumes/data`, 1) + `]}`:      `a hold on "volumes/data"`,
		`{"format":1,"holds":[` + hold + `]} {"format":1}`:                                                          "something follows its end",
		`{"format":1,"sum":"000000000000","holds":[` + hold + `]}`:                                                  "to accept it as it is, delete its key sum",
		`{"format":1,"holds":[` + strings.Replace(hold, `"2026-11-22T18:02:09Z"`, `"\u001b[2Jyesterday"`, 1) + `]}`: "is damaged",
	} {
		path := filepath.Join(t.TempDir(), "state.json")
		ok(t, os.WriteFile(path, []byte(text), 0o640))
		_, err := OpenStore(filepath.Dir(path)).Load()
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "It has holds on restores/web") || !strings.Contains(err.Error(), "fix: ") || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s\nis answered with %v\nand not %s", text, err, says)
		}
	}
}

// FuzzState: any file is a state or a refusal with a fix, without a panic, and what is read
// is written and read again as the same.
func FuzzState(f *testing.F) {
	data, err := smallState().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(`{"format":1,"holds":[{"name":"all","kind":"person","by":"\ud800","why":"\u2028"}]}`))
	f.Add([]byte("{\"format\":1,\"holds\":[{\"name\":\"all\",\"kind\":\"person\",\"by\":\"\xff\"}],\"known\":{\"restores/\xfe\":1,\"restores/\xff\":2}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		stored, err := decodeStored("state.json", data)
		if err != nil {
			if _, known := errors.AsType[*StateError](err); !known || !strings.Contains(err.Error(), "fix: ") {
				t.Fatal(err)
			}
			return
		}
		written, err := stored.encode()
		if err != nil {
			t.Skip("a time that JSON does not take:", err)
		}
		again, err := decodeStored("state.json", written)
		if err != nil {
			t.Fatalf("%q is written as\n%s\nand then %v", data, written, err)
		}
		if len(again.Holds) != len(stored.Holds) {
			t.Fatalf("%d of %d holds are left", len(again.Holds), len(stored.Holds))
		}
		if once, err := again.encode(); err != nil || !bytes.Equal(once, written) {
			t.Fatalf("%v; written again it is\n%s\nand was\n%s", err, once, written)
		}
	})
}
