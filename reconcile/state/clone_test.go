package state

import (
	"reflect"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// Whoever changes what was loaded changes nothing for others. A new field of Stored has to be filled in here.
func TestWhatIsLoadedIsTheCallersOwn(t *testing.T) {
	at := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	result := TestResult{Object: "tests/weekly", Fix: []string{"a"}, Notes: []string{"b"}}
	good := result.clone()
	all := Stored{
		Format: 1, Sum: "0", Trusted: "9", TrustedOn: "pve1", Holds: []Hold{{Name: "all"}},
		Backups: map[string]LastBackup{"web": {Time: at}}, Servers: map[string]Server{"pbs": {Guests: map[string]time.Time{"web": at}}},
		Known: map[string]proxmox.VMID{"guests/web": 101}, Kits: map[string]Kit{"usb": {}}, Tests: map[string]LastTest{"web": {TestResult: result, Good: &good}},
		Guards: map[string]GuardFailure{"guests/web": {}}, Deletions: map[string]Deletion{"guests/web": {}}, Drift: map[string]time.Time{"a": at},
	}
	copied := all.clone()
	if !reflect.DeepEqual(copied, all) {
		t.Errorf("%+v\nwant %+v", copied, all)
	}
	shares(t, "Stored", reflect.ValueOf(all), reflect.ValueOf(copied))
}

// shares reports what two equal values have in common that either could change, and what is empty in both.
func shares(t *testing.T, at string, a, b reflect.Value) {
	t.Helper()
	if a.Type() == reflect.TypeFor[time.Time]() {
		return
	}
	switch a.Kind() {
	case reflect.Map, reflect.Slice, reflect.Pointer:
		if a.IsNil() || a.Pointer() == b.Pointer() {
			t.Errorf("%s is shared, or empty", at)
			return
		}
	}
	switch a.Kind() {
	case reflect.Pointer:
		shares(t, at, a.Elem(), b.Elem())
	case reflect.Map:
		for _, key := range a.MapKeys() {
			shares(t, at+"["+key.String()+"]", a.MapIndex(key), b.MapIndex(key))
		}
	case reflect.Slice:
		for i := range a.Len() {
			shares(t, at, a.Index(i), b.Index(i))
		}
	case reflect.Struct:
		for i := range a.NumField() {
			shares(t, at+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
	}
}
