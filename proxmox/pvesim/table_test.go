package pvesim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// A fact is one row of testdata/replay/table.yaml; see there.
type fact struct {
	As      string              `yaml:"as"`
	Call    string              `yaml:"call"`
	With    map[string]string   `yaml:"with"`
	Body    string              `yaml:"body"`
	Type    string              `yaml:"type"`
	Is      string              `yaml:"is"`
	Errors  map[string]string   `yaml:"errors"`
	Data    map[string]any      `yaml:"data"`
	Match   map[string]string   `yaml:"match"` // regular expressions of fields
	List    []any               `yaml:"list"`
	Value   any                 `yaml:"value"`
	Volumes []string            `yaml:"volumes"` // volids, in order
	Marks   []string            `yaml:"marks"`   // of a dry run of pruning, in order
	Total   int                 `yaml:"total"`
	Task    string              `yaml:"task"`
	Log     []string            `yaml:"log"`
	Conf    map[string][]string `yaml:"conf"`
}

func TestTable(t *testing.T) {
	world, err := os.ReadFile("testdata/replay/table-world.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/replay/table.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var groups []struct {
		Group string `yaml:"group"`
		Rows  []fact `yaml:"rows"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&groups); err != nil {
		t.Fatal(err)
	}
	facts := 0
	for _, g := range groups {
		facts += len(g.Rows)
		t.Run(strings.ReplaceAll(g.Group, " ", "-"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := Load(world)
				if err != nil {
					t.Fatal(err)
				}
				s.SetDuration(func(cluster.TaskInfo) time.Duration { return time.Second })
				for i, f := range g.Rows {
					for _, why := range f.check(s) {
						t.Errorf("row %d, %s %s: %s", i+1, f.As, f.Call, why)
					}
				}
			})
		})
	}
	if facts < 150 {
		t.Errorf("only %d facts were read", facts)
	}
}

func (f *fact) check(s *Sim) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	method, path, _ := strings.Cut(f.Call, " ")
	var body io.Reader
	if f.With != nil {
		form := make(url.Values)
		for k, v := range f.With {
			form.Set(k, v)
		}
		body = strings.NewReader(form.Encode())
	} else if f.Body != "" {
		body = strings.NewReader(f.Body)
	}
	req, err := http.NewRequest(method, "https://node:8006/api2/json"+path, body)
	if err != nil {
		return []string{err.Error()}
	}
	if f.Type != "" {
		req.Header.Set("Content-Type", f.Type)
	}
	switch {
	case f.As == "none":
	case strings.HasPrefix(f.As, "PVEAPIToken"):
		req.Header.Set("Authorization", f.As)
	default:
		for id, secret := range s.Tokens() {
			if strings.HasSuffix(id, "!"+f.As) {
				req.Header.Set("Authorization", "PVEAPIToken="+id+"="+secret)
			}
		}
	}
	began := time.Now()
	res, err := s.RoundTrip(req)
	if err != nil {
		return []string{err.Error()}
	}
	text, _ := io.ReadAll(res.Body)
	if res.Status != f.Is {
		say("it is %q, not %q: %s", res.Status, f.Is, text)
	}
	if took := time.Since(began); res.StatusCode == 401 && took != 3*time.Second {
		say("it took %v", took)
	}
	var a struct {
		Data    any
		Message string
		Errors  map[string]string
		Total   int
	}
	if len(text) > 0 && json.Unmarshal(text, &a) != nil && strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		say("no JSON: %s", text)
	}
	if res.StatusCode >= 400 && a.Message != "" && strings.TrimSuffix(a.Message, "\n") != strings.TrimSpace(strings.SplitN(res.Status, " ", 2)[1]) {
		say("message %q, status %q", a.Message, res.Status)
	}
	if !reflect.DeepEqual(a.Errors, f.Errors) {
		say("errors %q, not %q", a.Errors, f.Errors)
	}
	if f.Total != 0 && a.Total != f.Total {
		say("total %d, not %d", a.Total, f.Total)
	}
	fields, _ := a.Data.(map[string]any)
	for k, want := range f.Data {
		got, ok := fields[k]
		if want == nil && ok || want != nil && (!ok || jsonText(got) != jsonText(want)) {
			say("%s is %s, not %s", k, jsonText(got), jsonText(want))
		}
	}
	for k, form := range f.Match {
		if got, _ := fields[k].(string); !regexp.MustCompile(form).MatchString(got) {
			say("%s is %q, not like %s", k, got, form)
		}
	}
	if f.List != nil && jsonText(a.Data) != jsonText(f.List) {
		say("the list is %s, not %s", jsonText(a.Data), jsonText(f.List))
	}
	if f.Value != nil && a.Data != f.Value {
		say("it answers %v, not %v", a.Data, f.Value)
	}
	for key, want := range map[string][]string{"volid": f.Volumes, "mark": f.Marks} {
		if want == nil {
			continue
		}
		var got []string
		list, _ := a.Data.([]any)
		for _, v := range list {
			m, _ := v.(map[string]any)
			got = append(got, fmt.Sprint(m[key]))
		}
		if !reflect.DeepEqual(got, want) {
			say("%s: %q, not %q", key, got, want)
		}
	}
	if f.Task != "" {
		upid, _ := a.Data.(string)
		wrong = append(wrong, f.ended(s, upid)...)
	}
	for vmid, lines := range f.Conf {
		wrong = append(wrong, confWrong(s, notation.Atoi(vmid), lines)...)
	}
	return wrong
}

// ended waits for the task of the answer and compares its end and its log.
func (f *fact) ended(s *Sim, upid string) (wrong []string) {
	var t *world.Task
	for range 1000 {
		s.cl.Mu.Lock()
		s.cl.Settle()
		t = s.cl.World.Nodes[0].ByUPID[upid]
		s.cl.Mu.Unlock()
		if t == nil {
			return []string{"the answer is no task: " + upid}
		}
		if t.End != 0 {
			break
		}
		time.Sleep(time.Second)
	}
	if t.Status != f.Task {
		wrong = append(wrong, fmt.Sprintf("the task ends with %q, not %q", t.Status, f.Task))
	}
	if f.Log == nil {
		return wrong
	}
	var lines []string
	for _, line := range t.Log {
		if !said.MatchString(line) {
			continue
		}
		line = sortedOptions(line)
		line = regexp.MustCompile(`vzdump-lxc-100-\d{4}_\d\d_\d\d-1\d_\d\d_\d\d`).ReplaceAllString(line, "<thing>")
		for _, c := range changing {
			line = c.form.ReplaceAllString(line, c.is)
		}
		lines = append(lines, line)
	}
	if !reflect.DeepEqual(lines, f.Log) {
		wrong = append(wrong, fmt.Sprintf("its log is\n  %s\nnot\n  %s", strings.Join(lines, "\n  "), strings.Join(f.Log, "\n  ")))
	}
	return wrong
}

func confWrong(s *Sim, vmid int, lines []string) (wrong []string) {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	g := s.cl.Guests[vmid]
	if g == nil {
		return []string{fmt.Sprintf("there is no guest %d", vmid)}
	}
	have := make(map[string]bool)
	for _, line := range strings.Split(g.Conf.Text(), "\n") {
		have[line] = true
	}
	for _, line := range lines {
		if want, no := strings.CutPrefix(line, "-"); no && have[want] || !no && !have[line] {
			wrong = append(wrong, fmt.Sprintf("config of %d: %q in\n%s", vmid, line, g.Conf.Text()))
		}
	}
	return wrong
}

func jsonText(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
