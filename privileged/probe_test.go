package privileged_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// Probes of a simulated container, as far as root's file opens it: each kind with a good and a bad verdict.
func TestProbesOfASimulatedGuest(t *testing.T) { synctest.Test(t, probesOfASimulatedGuest) }

func probesOfASimulatedGuest(t *testing.T) {
	b := newBench(t)
	ask := func(vmid int, p privileged.Probe) (privileged.Verdict, error) {
		return privileged.ProbeGuest(t.Context(), b, b.node, vmid, p)
	}
	var refused *privileged.RefusedError
	if _, err := ask(101, privileged.Probe{Kind: privileged.ProbeSystem}); !errors.As(err, &refused) || !strings.Contains(err.Error(), `{"tests": "9900-9909"}`) {
		t.Errorf("without root's word: %v", err)
	}
	b.sim.AllowTests("felhom-test")
	if _, err := ask(101, privileged.Probe{Kind: privileged.ProbeSystem}); !errors.As(err, &refused) {
		t.Errorf("outside the range: %v", err)
	}
	b.shell("vzdump 101 --storage local")
	_, body := b.sim.Do("root@pam", "GET", "/nodes/"+b.node+"/storage/local/content", map[string]string{"content": "backup"})
	volid := regexp.MustCompile(`local:backup/[^"]+`).FindString(body)
	when := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	if err := b.sim.FurnishArchive(volid, pvesim.Inside{Units: map[string]string{"nginx.service": "active", "db.service": "failed"}, Processes: []string{"nginx"}, Ports: map[int]int{80: 204, 22: 0},
		Files: map[string]pvesim.InsideFile{"/srv/canary": {Text: "x", Modified: when.Unix()}}}); err != nil {
		t.Fatal(err)
	}
	b.shell("pct restore 9900 " + volid + " --storage local-lvm")
	if v, err := ask(9900, privileged.Probe{Kind: privileged.ProbeSystem}); err != nil || v.Good || v.Says != "system: it does not run" {
		t.Errorf("%+v, %v", v, err)
	}
	b.shell("pct start 9900")
	const sum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	for says, c := range map[string]struct {
		probe privileged.Probe
		good  bool
	}{
		"system: degraded, failed: db.service":                         {privileged.Probe{Kind: privileged.ProbeSystem}, false},
		"unit nginx.service: active":                                   {privileged.Probe{Kind: privileged.ProbeUnit, Name: "nginx"}, true},
		"unit db.service: failed":                                      {privileged.Probe{Kind: privileged.ProbeUnit, Name: "db.service"}, false},
		"process nginx: 1 running":                                     {privileged.Probe{Kind: privileged.ProbeProcess, Name: "nginx"}, true},
		"process apache: there is no such process":                     {privileged.Probe{Kind: privileged.ProbeProcess, Name: "apache"}, false},
		"tcp 22: connected":                                            {privileged.Probe{Kind: privileged.ProbeTCP, Port: 22}, true},
		"tcp 23: connection refused":                                   {privileged.Probe{Kind: privileged.ProbeTCP, Port: 23}, false},
		"http 80 /health: status 204":                                  {privileged.Probe{Kind: privileged.ProbeHTTP, Port: 80, URL: "/health"}, true},
		"http 80: status 204, expected 200":                            {privileged.Probe{Kind: privileged.ProbeHTTP, Port: 80, Status: 200}, false},
		"http 22: its answer is not HTTP":                              {privileged.Probe{Kind: privileged.ProbeHTTP, Port: 22}, false},
		"file /srv/canary: changed 2026-11-22 03:00:00Z":               {privileged.Probe{Kind: privileged.ProbeFile, File: "/srv/canary", After: when, SHA256: strings.ToUpper(sum)}, true},
		"file /srv/none: it does not exist":                            {privileged.Probe{Kind: privileged.ProbeFile, File: "/srv/none"}, false},
		"newest /srv: /srv/canary changed 2026-11-22 03:00:00Z":        {privileged.Probe{Kind: privileged.ProbeNewest, File: "/srv"}, true},
		"newest /var: there is no file below it":                       {privileged.Probe{Kind: privileged.ProbeNewest, File: "/var"}, false},
		"file /srv/canary: SHA-256 " + sum + ", expected 0123456789ab": {privileged.Probe{Kind: privileged.ProbeFile, File: "/srv/canary", SHA256: "0123456789ab"}, false},
		"newest /srv: /srv/canary changed 2026-11-22 03:00:00Z, expected after 2026-11-22 03:00:01Z": {privileged.Probe{Kind: privileged.ProbeNewest, File: "/srv", After: when.Add(time.Second)}, false},
	} {
		if v, err := ask(9900, c.probe); err != nil || v.Good != c.good || v.Says != says {
			t.Errorf("%v: %+v, %v; want %q", c.probe, v, err, says)
		}
	}
	s, err := privileged.SurveyGuest(t.Context(), b, b.node, 9900)
	if err != nil || len(s.Ports) != 2 || s.Ports[0] != 22 || len(s.Units) != 1 || s.Units[0] != "nginx.service" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, p := range []privileged.Probe{
		{Kind: "shell"}, {Kind: privileged.ProbeUnit, Name: "-x.service"}, {Kind: privileged.ProbeUnit, Name: "a b.service"}, {Kind: privileged.ProbeUnit},
		{Kind: privileged.ProbeTCP, Port: 70000}, {Kind: privileged.ProbeTCP}, {Kind: privileged.ProbeHTTP, Port: 80, URL: "/a b"}, {Kind: privileged.ProbeHTTP, Port: 80, URL: "/a\r\nHost: x"},
		{Kind: privileged.ProbeFile, File: "etc/passwd"}, {Kind: privileged.ProbeFile, File: "/etc/../../x"}, {Kind: privileged.ProbeFile, File: "/"}, {Kind: privileged.ProbeNewest},
	} {
		if v, err := ask(9900, p); !errors.As(err, &refused) {
			t.Errorf("%+v: %+v, %v; want it refused", p, v, err)
		}
	}
}
