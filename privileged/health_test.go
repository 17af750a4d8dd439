package privileged

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func number64(p *int64) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprint(*p)
}

// The files under testdata are outputs in the real tools' formats of disks that do not exist.
func TestSMARTOfManyKinds(t *testing.T) {
	const head = "health temperature hours reallocated pending uncorrectable wear"
	for file, want := range map[string]string{
		"ata.json":          "ATA EXAMPLE HDD 4TB 0001: passed 37 18432 0 0 0 -",
		"ata-failing.json":  "ATA EXAMPLE HDD 4TB 0001: failing 44 51207 2040 312 296 -",
		"ata-ssd.json":      "ATA EXAMPLE SSD 1TB: passed 29 11003 0 - - 17",
		"nvme.json":         "NVMe EXAMPLE NVMe 1TB: passed 41 9120 - - 0 6",
		"nvme-failing.json": "NVMe EXAMPLE NVMe 1TB: failing 58 40211 - - 27 112",
		"sas.json":          "SCSI EXAMPLE SAS4000: passed 31 30114 2 - - -",
		"usb-sat.json":      "ATA EXAMPLE PORTABLE 2TB: passed 33 1204 0 0 0 -",
		"usb-unknown.json":  " : unknown - - - - - - (/dev/sdd: Unknown USB bridge [0x152d:0xabcd (0x205)])",
		"usb-mute.json":     "ATA : unknown - - - - - - (Read Device Identity failed: scsi error unsupported field in scsi command)",
		"standby.json":      "ATA : unknown - - - - - - (Device is in STANDBY mode, exit(2))",
	} {
		data, err := os.ReadFile(filepath.Join("testdata/smart", file))
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseSMART(data)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		got := fmt.Sprintf("%s %s: %s %s %s %s %s %s %s", r.Protocol, r.Model, r.Health, number64(r.Temperature), number64(r.Hours),
			number64(r.Reallocated), number64(r.Pending), number64(r.Uncorrectable), number64(r.Wear))
		if r.Health == HealthUnknown {
			got += " (" + strings.Join(r.Messages, "; ") + ")"
		}
		if got != want {
			t.Errorf("%s (%s):\n got %s\nwant %s", file, head, got, want)
		}
	}
	for _, bad := range []string{"", "{}", "[]", "{", "smartctl 7.3", `{"smartctl":{"exit_status":"x"}}`} {
		if r, err := parseSMART([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}

// One value that cannot be read costs that value, and never what the disk says of its health.
func TestSMARTOddValues(t *testing.T) {
	const nvme = `{"smartctl":{"exit_status":8},"device":{"protocol":"NVMe"},"model_name":"X","smart_status":{"passed":false},"nvme_smart_health_information_log":{"percentage_used":7,"media_errors":@},"temperature":{"current":41}}`
	const ata = `{"smartctl":{"exit_status":0},"device":{"protocol":"ATA"},"model_name":"X","smart_status":{"passed":true},"ata_smart_attributes":{"table":[{"id":5,"name":"R","value":100,"raw":{"value":@}},{"id":197,"raw":{"value":3}}]}}`
	for _, odd := range []string{"36893488147419103244", "18446744073709551615", "-1e400", "1.5", `"7"`, "null", "{}", "[1]", "true", "nan", "-inf"} {
		r, err := parseSMART([]byte(strings.Replace(nvme, "@", odd, 1)))
		if err != nil || r.Health != HealthFailing || r.Uncorrectable != nil || number64(r.Wear) != "7" || number64(r.Temperature) != "41" {
			t.Errorf("media errors %s: %+v %v", odd, r, err)
		}
		r, err = parseSMART([]byte(strings.Replace(ata, "@", odd, 1)))
		if err != nil || r.Health != HealthPassed || r.Reallocated != nil || number64(r.Pending) != "3" {
			t.Errorf("reallocated %s: %+v %v", odd, r, err)
		}
	}
	for text, want := range map[string]string{
		`{"smartctl":{"exit_status":"x"},"smart_status":{"passed":false},"model_name":7,"temperature":41}`:                                                     "failing  []",
		`{"smartctl":{"exit_status":8},"smart_status":[]}`:                                                                                                     "failing  []",
		`{"smartctl":{"exit_status":0},"smart_status":{"passed":"no"}}`:                                                                                        "unknown  []",
		"{\n \"smartctl\": {\"exit_status\": 0},\n \"model_name\": \"My \"best\" disk\",\n \"smart_status\": {\"passed\": true}\n}":                            `passed My "best" disk []`,
		`{"smartctl":{"exit_status":0},"smart_status":{"passed":false},"model_na`:                                                                              "failing  [the report of smartctl is incomplete]",
		"=======> WARNING! firmware bug\n{\"smartctl\":{\"exit_status\":0},\"smart_status\":{\"passed\":true}}\nbye\n":                                         "passed  [=======> WARNING! firmware bug bye]",
		`{"smartctl":{"exit_status":8,"output":["SMART overall-health self-assessment test result: FAILED!","- available spare has fallen below threshold"]}}`: "failing  [available spare has fallen below threshold]",
		`{"smartctl":{"exit_status":2,"output":["smartctl 7.4","Device is in STANDBY mode, exit(2)"]}}`:                                                        "unknown  [Device is in STANDBY mode, exit(2)]",
		"smartctl 6.6\nSMART overall-health self-assessment test result: PASSED\n":                                                                             "passed  [the report of smartctl is incomplete]",
	} {
		r, err := parseSMART([]byte(text))
		if got := fmt.Sprint(r.Health, " ", r.Model, " ", r.Messages); err != nil || got != want {
			t.Errorf("%s:\n got %s %v\nwant %s", text, got, err, want)
		}
	}
}

// What sensors prints is JSON only nearly: each reading that can be read is there, under a name of its own.
func TestSensorsOddValues(t *testing.T) {
	const text = `{
   "coretemp-isa-0000":{
      "Adapter": "ISA adapter",
      "Package "id" 0":{
         "temp1_input": @,
         "temp1_max": 105.000
      },
      "Tctl":{
         "temp2_input": 50.000,
         "temp2_max": @,
      },
      "Tctl":{
         "temp3_input": 51.000
      },
      "a\b":{
      },
      "Core \0":{
         "temp4_input": 52.000
      },
   },
   "other-isa-0001":{
      "Adapter": "ISA adapter",
      "Tctl":{
         "temp1_input": 53.000
      }
   }
}
`
	for value, want := range map[string]string{"nan": "", "-nan": "", "inf": "", "-inf": "", "1e999": "", "": "", "N/A": "", "61.000": `Package "id" 0 61, `} {
		list, err := parseSensors([]byte(strings.ReplaceAll(text, "@", value)))
		var got []string
		for _, s := range list {
			got = append(got, fmt.Sprintf("%s %g", s.Label, s.Value))
			if value != "61.000" && s.Label == "Tctl (temp2)" && s.Max != nil {
				t.Errorf("%s: a limit of %g", value, *s.Max)
			}
		}
		if want := `Core \0 52, ` + want + "Tctl (temp2) 50, Tctl (temp3) 51, Tctl 53"; err != nil || strings.Join(got, ", ") != want {
			t.Errorf("%s:\n got %q %v\nwant %s", value, got, err, want)
		}
	}
	for _, cut := range []int{len(text) - 3, len(text) - 60} {
		if list, err := parseSensors([]byte(strings.ReplaceAll(text[:cut], "@", "61.0"))); err != nil || len(list) < 4 {
			t.Errorf("cut off at %d: %v %v", cut, list, err)
		}
	}
	for _, bad := range []string{"", "[]", "sensors: error", "{"} {
		if list, err := parseSensors([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, list)
		}
	}
}

func TestSensorsOfAHost(t *testing.T) {
	data, err := os.ReadFile("testdata/sensors/minipc.json")
	if err != nil {
		t.Fatal(err)
	}
	list, err := parseSensors(data)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range list {
		limit := func(name string, p *float64) string {
			if p == nil {
				return ""
			}
			return fmt.Sprintf(" %s %g", name, *p)
		}
		line := fmt.Sprintf("%s | %s | %s %g%s%s%s%s", s.Chip, s.Label, s.Kind, s.Value, s.Unit, limit("min", s.Min), limit("max", s.Max), limit("crit", s.Crit))
		if s.Alarm {
			line += " ALARM"
		}
		got = append(got, line)
	}
	want := `acpitz-acpi-0 | temp1 | temp 27.8°C crit 119
amdgpu-pci-0400 | PPT | power 6.135W
coretemp-isa-0000 | Core 0 | temp 58°C max 105 crit 105
coretemp-isa-0000 | Package id 0 | temp 61°C max 105 crit 105
nct6775-isa-0290 | Vcore | in 0.872V min 0 max 1.744
nct6775-isa-0290 | fan2 | fan 0RPM min 600 ALARM
nvme-pci-0100 | Composite | temp 40.85°C min -273.15 max 83.85 crit 86.85
nvme-pci-0100 | Sensor 1 | temp 40.85°C min -273.15 max 65261.85`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}

	data, err = os.ReadFile("testdata/sensors/unreadable.json")
	if err != nil {
		t.Fatal(err)
	}
	if list, err = parseSensors(data); err != nil || len(list) != 1 || list[0].Value != 38 {
		t.Errorf("a sensor that cannot be read: %+v %v", list, err)
	}
	if list, err = parseSensors([]byte("{\n\n}\n")); err != nil || list == nil || len(list) != 0 {
		t.Errorf("a host without sensors: %v %v", list, err)
	}
}

func FuzzSMART(f *testing.F) {
	files, _ := filepath.Glob("testdata/smart/*.json")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseSMART(data)
		if err != nil {
			return
		}
		if r.Health != HealthPassed && r.Health != HealthFailing && r.Health != HealthUnknown {
			t.Errorf("health %q", r.Health)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
	})
}

func FuzzSensors(f *testing.F) {
	for _, name := range []string{"minipc.json", "unreadable.json"} {
		data, err := os.ReadFile("testdata/sensors/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseSensors(data)
		if err != nil {
			return
		}
		if _, err := json.Marshal(list); err != nil {
			t.Error(err)
		}
	})
}
