package pvesim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// A stepPlan is what happened between two exchanges of a recording.
type stepPlan struct {
	// Auth says who asked, where the recording's name for it is no token of the world.
	Auth  map[string]string `yaml:"auth"`
	Steps []*step           `yaml:"steps"`
}

// A step happens before the nth exchange (1 unless given) of a name.
type step struct {
	Before string `yaml:"before"`
	Nth    int    `yaml:"nth"`
	Why    string `yaml:"why"`
	Do     []deed `yaml:"do"`
	done   bool
}

// A deed is one of these.
type deed struct {
	// Call is a person's or a program's API call: METHOD PATH, below /api2/json.
	Call   string            `yaml:"call"`
	As     string            `yaml:"as"` // root@pam unless given
	Params map[string]string `yaml:"params"`
	Ends   string            `yaml:"ends"`  // how its task ends; OK unless given
	Lasts  time.Duration     `yaml:"lasts"` // how long its task takes
	Start  bool              `yaml:"start"` // do not wait for its task

	Shell   string         `yaml:"shell"`   // argv as root on the first node
	World   map[string]any `yaml:"world"`   // merged into the world file, see merge
	Clock   string         `yaml:"clock"`   // move the clock forward to this time, RFC 3339
	Advance time.Duration  `yaml:"advance"` // move it by this
	Plug    string         `yaml:"plug"`    // the UUID of a disk
	Unplug  string         `yaml:"unplug"`
	Kill    string         `yaml:"kill"`   // SIGKILL for the worker of the running task "TYPE ID"
	Finish  string         `yaml:"finish"` // wait for the running task "TYPE ID"
	Keep    string         `yaml:"keep"`   // tasks "TYPE ID" run on while later exchanges are made, until they are finished
	Fault   *world.Fault   `yaml:"fault"`  // something that goes wrong from now on
	Task    string         `yaml:"task"`   // the next task "TYPE ID" takes as long as lasts says
}

func readSteps(text []byte) (*stepPlan, error) {
	plan := new(stepPlan)
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(plan); err != nil {
		return nil, fmt.Errorf("steps: %w", err)
	}
	return plan, nil
}

func (r *replay) step(s *step) error {
	for i, d := range s.Do {
		if err := r.do(d); err != nil {
			return fmt.Errorf("%d: %w", i+1, err)
		}
	}
	return nil
}

func (r *replay) do(d deed) error {
	switch {
	case d.Call != "":
		return r.call(d)
	case d.Shell != "":
		_, err := r.sim.Shell(r.sim.Node(), d.Shell)
		return err
	case d.World != nil:
		return r.patch(d.World)
	case d.Clock != "":
		at, err := time.Parse(time.RFC3339, d.Clock)
		if err != nil {
			return err
		}
		r.until(at)
	case d.Advance > 0:
		r.sim.Advance(d.Advance)
	case d.Plug != "":
		r.sim.Plug(d.Plug)
	case d.Unplug != "":
		r.sim.Unplug(d.Unplug)
	case d.Kill != "":
		t, err := r.task(d.Kill)
		if err != nil {
			return err
		}
		_, err = r.sim.Shell(t.Node.Name, "kill -9 "+strconv.Itoa(t.PID))
		return err
	case d.Finish != "":
		t, err := r.task(d.Finish)
		if err != nil {
			return err
		}
		delete(r.kept, d.Finish)
		r.finish(t.UPID())
	case d.Keep != "":
		r.kept[d.Keep] = true
	case d.Fault != nil:
		return r.sim.Inject(*d.Fault)
	case d.Task != "":
		r.next[d.Task] = d.Lasts
	default:
		return fmt.Errorf("a deed without anything to do")
	}
	return nil
}

// task is a running task, by type and ID.
func (r *replay) task(what string) (*world.Task, error) {
	defer r.sim.cl.Enter()()
	for _, t := range r.sim.cl.Running {
		if t.Type+" "+t.ID == what {
			return t, nil
		}
	}
	return nil, fmt.Errorf("no task %q runs", what)
}

func (r *replay) call(d deed) error {
	method, path, _ := strings.Cut(d.Call, " ")
	if d.As == "" {
		d.As = "root@pam"
	}
	params := make(map[string]string)
	for k, v := range d.Params {
		params[k] = r.known.translate(v)
	}
	if d.Lasts > 0 {
		for _, kind := range []string{"vzdump", "vzrestore", "vzcreate", "vzclone"} {
			r.next[kind+" "+params["vmid"]] = d.Lasts
		}
	}
	status, body := r.sim.Do(d.As, method, r.known.translate(path), params)
	if status != 200 {
		return fmt.Errorf("%s: %d %s", d.Call, status, body)
	}
	var a struct{ Data any }
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return fmt.Errorf("%s: %w", d.Call, err)
	}
	upid, _ := a.Data.(string)
	if d.Start || !upidTextRE.MatchString(upid) {
		return nil
	}
	r.finish(upid)
	want := d.Ends
	if want == "" {
		want = "OK"
	}
	for _, n := range r.sim.cl.World.Nodes {
		if t := n.ByUPID[upid]; t != nil && t.Status != want {
			return fmt.Errorf("%s: its task ended with %q, not with %q", d.Call, t.Status, want)
		}
	}
	return nil
}

// patch merges a patch into the world file and goes on with the result.
func (r *replay) patch(patch map[string]any) error {
	text, err := r.sim.Save()
	if err != nil {
		return err
	}
	var w map[string]any
	if err := yaml.Unmarshal(text, &w); err != nil {
		return err
	}
	if text, err = yaml.Marshal(merge(w, patch)); err != nil {
		return err
	}
	sim, err := Load(text)
	if err != nil {
		return err
	}
	r.sim = sim
	r.rule()
	return nil
}

// merge changes a value of a world file: of maps the keys that the patch names, null takes
// one out; of lists of objects those that it names by vmid, uuid, target, name, pid or id (`gone: true`
// takes one out), others are added; all else is replaced.
func merge(old, patch any) any {
	switch p := patch.(type) {
	case map[string]any:
		m, ok := old.(map[string]any)
		if !ok {
			m = make(map[string]any)
		}
		for k, v := range p {
			if v == nil {
				delete(m, k)
			} else {
				m[k] = merge(m[k], v)
			}
		}
		return m
	case []any:
		list, _ := old.([]any)
		for _, item := range p {
			im, ok := item.(map[string]any)
			if !ok || len(p) == 0 {
				return p
			}
			at := -1
			for i := range list {
				if same(list[i], im) {
					at = i
				}
			}
			gone, _ := im["gone"].(bool)
			switch {
			case gone && at >= 0:
				list = append(list[:at:at], list[at+1:]...)
			case gone:
			case at >= 0:
				list[at] = merge(list[at], im)
			default:
				list = append(list, im)
			}
		}
		if len(p) == 0 {
			return []any{}
		}
		return list
	}
	return patch
}

// same reports whether two objects of a list are one, by the first of these keys that the patch has.
func same(old any, patch map[string]any) bool {
	m, ok := old.(map[string]any)
	if !ok {
		return false
	}
	for _, key := range []string{"vmid", "uuid", "target", "name", "pid", "id"} {
		if v, ok := patch[key]; ok {
			return reflect.DeepEqual(m[key], v) && (key != "id" || patch["path"] == nil || reflect.DeepEqual(m["path"], patch["path"]))
		}
	}
	return false
}
