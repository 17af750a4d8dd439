package proxmox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var dumpUPID = UPID{"pve1", 0x767, 0x12584, 0x6B03308F, "vzdump", "111", "felhom@pve!agent"}

// oneTask is a node on which one task runs until a moment and then ends.
type oneTask struct {
	ends  time.Time
	exit  string
	log   []string
	asked []time.Time
	wrote bool
	// broken answers the nth status request (from 0) instead, if it is not nil.
	broken func(n int) (*http.Response, error)
}

func (o *oneTask) RoundTrip(req *http.Request) (*http.Response, error) {
	path := strings.TrimPrefix(req.URL.Path, "/api2/json/nodes/pve1/tasks/"+dumpUPID.String()+"/")
	switch {
	case req.Method != "GET":
		o.wrote = true
		return response("200 OK", `{"data":null}`), nil
	case path == "status":
		o.asked = append(o.asked, time.Now())
		if o.broken != nil {
			if r, err := o.broken(len(o.asked) - 1); r != nil || err != nil {
				return r, err
			}
		}
		if time.Now().Before(o.ends) {
			return response("200 OK", `{"data":{"status":"running","pid":1895}}`), nil
		}
		text, _ := json.Marshal(o.exit)
		return response("200 OK", `{"data":{"status":"stopped","exitstatus":`+string(text)+`}}`), nil
	case path == "log":
		return response("200 OK", o.page(req.URL.Query())), nil
	}
	return response("501 Method 'GET "+req.URL.Path+"' not implemented", ""), nil
}

// page answers like PVE: 50 lines unless asked otherwise.
func (o *oneTask) page(q url.Values) string {
	start, _ := strconv.Atoi(q.Get("start"))
	limit := 50
	if q.Has("limit") {
		limit, _ = strconv.Atoi(q.Get("limit"))
	}
	type line struct {
		N int    `json:"n"`
		T string `json:"t"`
	}
	lines := []line{}
	for i := start; i < len(o.log) && (limit == 0 || i < start+limit); i++ {
		lines = append(lines, line{i + 1, o.log[i]})
	}
	total := len(o.log)
	if total == 0 {
		lines, total = []line{{1, "no content"}}, 1
	}
	text, _ := json.Marshal(map[string]any{"data": lines, "total": total})
	return string(text)
}

// agentPace is how the agent waits.
var agentPace = WaitOptions{Interval: 250 * time.Millisecond, Factor: 1.2, Cap: 2 * time.Second}

func TestWaitNoticesTheEndSoon(t *testing.T) {
	for ms := 0; ms <= 10000; ms += 37 {
		synctest.Test(t, func(t *testing.T) {
			took := time.Duration(ms) * time.Millisecond
			node := &oneTask{ends: time.Now().Add(took), exit: "OK"}
			start := time.Now()
			s, err := testClient(t, node).WaitTask(t.Context(), dumpUPID, agentPace)
			if err != nil || !s.OK() {
				t.Fatalf("%+v, %v", s, err)
			}
			if late := time.Since(start) - took; late > 300*time.Millisecond+took/5 || late < 0 {
				t.Errorf("a task of %v was noticed %v after its end", took, late)
			}
		})
	}
}

func TestWaitPace(t *testing.T) {
	for name, c := range map[string]struct {
		options WaitOptions
		total   time.Duration
		first   []time.Duration // since the wait began
		pause   time.Duration   // in the end
	}{
		"default": {WaitOptions{}, 10 * time.Minute, []time.Duration{0, time.Second, 2500 * time.Millisecond, 4750 * time.Millisecond}, 5 * time.Second},
		"agent": {
			func() WaitOptions { o := agentPace; o.Total = time.Minute; return o }(), time.Minute,
			[]time.Duration{0, 250 * time.Millisecond, 550 * time.Millisecond, 910 * time.Millisecond}, 2 * time.Second,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			node := &oneTask{ends: time.Now().Add(24 * time.Hour), exit: "OK"}
			start := time.Now()
			progress := 0
			c.options.Progress = func(s TaskStatus) {
				if progress++; !s.Running || s.UPID != dumpUPID {
					t.Errorf("progress says %+v", s)
				}
			}
			_, err := testClient(t, node).WaitTask(t.Context(), dumpUPID, c.options)
			wait, ok := errors.AsType[*WaitError](err)
			if !ok || wait.UPID != dumpUPID || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), dumpUPID.String()) {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(start); took != c.total {
				t.Errorf("%s: gave up after %v", name, took)
			}
			for i, want := range c.first {
				if got := node.asked[i].Sub(start); got != want {
					t.Errorf("%s: poll %d at %v, want %v", name, i, got, want)
				}
			}
			last := len(node.asked) - 1
			if got := node.asked[last].Sub(node.asked[last-1]); got != c.pause {
				t.Errorf("%s: idles at one poll per %v", name, got)
			}
			if progress != len(node.asked) {
				t.Errorf("%s: %d polls, progress of %d", name, len(node.asked), progress)
			}
		})
	}
}

func TestWaitThatIsCancelledLeavesTheTaskAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &oneTask{ends: time.Now().Add(time.Hour), exit: "OK"}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		start := time.Now()
		_, err := testClient(t, node).WaitTask(ctx, dumpUPID, WaitOptions{})
		if wait, ok := errors.AsType[*WaitError](err); !ok || wait.UPID != dumpUPID || time.Since(start) != 20*time.Second {
			t.Errorf("%v, after %v", err, time.Since(start))
		}
		if node.wrote {
			t.Error("the task was touched")
		}
		if _, failed := errors.AsType[*TaskError](err); failed {
			t.Error("a cancelled wait looks like a failed task")
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := testClient(t, node).WaitTask(gone, dumpUPID, WaitOptions{}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), dumpUPID.String()) {
			t.Errorf("dead context: %v", err)
		}
	})
}

// TestLostPolls: PVE's daemon restarts, hangs, its cluster file system is down;
// the wait goes on.
func TestLostPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &oneTask{ends: time.Now().Add(30 * time.Second), exit: "OK"}
		node.broken = func(n int) (*http.Response, error) {
			switch n {
			case 0, 1:
				return response("595 Connection refused", ""), nil
			case 2:
				return response("596 Connection timed out", ""), nil
			case 3:
				return nil, io.ErrUnexpectedEOF
			case 4:
				return response("500 RPCEnvironment init request failed: Unable to load access control list: Connection refused", ""), nil
			}
			return nil, nil
		}
		s, err := testClient(t, node).WaitTask(t.Context(), dumpUPID, WaitOptions{})
		if err != nil || !s.OK() {
			t.Errorf("%+v, %v", s, err)
		}
	})
	for line, check := range map[string]func(error) bool{
		"401 Authentication failed!":                           IsUnauthorized,
		"403 Permission check failed (/nodes/pve1, Sys.Audit)": IsDenied,
		`400 Parameter verification failed.`:                   IsPermanent,
		"200 OK":                                               func(err error) bool { _, ok := errors.AsType[*AnswerError](err); return ok },
	} {
		synctest.Test(t, func(t *testing.T) {
			node := &oneTask{ends: time.Now().Add(time.Hour)}
			node.broken = func(int) (*http.Response, error) { return response(line, `{"data":null}`), nil }
			start := time.Now()
			_, err := testClient(t, node).WaitTask(t.Context(), dumpUPID, WaitOptions{})
			if wait, ok := errors.AsType[*WaitError](err); !ok || wait.UPID != dumpUPID || !check(err) || time.Since(start) > 0 {
				t.Errorf("%s: %v, after %v", line, err, time.Since(start))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		node := &oneTask{ends: time.Now().Add(time.Hour)}
		node.broken = func(int) (*http.Response, error) { return response("595 Connection refused", ""), nil }
		start := time.Now()
		_, err := testClient(t, node).WaitTask(t.Context(), dumpUPID, WaitOptions{})
		if !IsNotDelivered(err) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Minute {
			t.Errorf("a node that stays away: %v, after %v", err, time.Since(start))
		}
	})
}

func TestHowTasksEnd(t *testing.T) {
	long := make([]string, 120)
	for i := range long {
		long[i] = fmt.Sprintf("line %d", i+1)
	}
	backup := []string{
		"INFO: starting new backup job: vzdump 105 --storage usb-backup",
		"ERROR: Backup of VM 105 failed - command 'set -o pipefail && tar' failed: exit code 1: No space left on device",
		"INFO: Failed at 2026-11-22 18:50:00",
		"TASK ERROR: job errors",
	}
	for name, c := range map[string]struct {
		exit string
		log  []string
		want string // the error, or the warnings
		ok   bool
		tail int
	}{
		"OK":            {"OK", []string{"TASK OK"}, "[]", true, 0},
		"warnings":      {"WARNINGS: 2", []string{"x", "WARN: no nesting", "WARN: old", "TASK WARNINGS: 2"}, "[no nesting old]", true, 0},
		"warnings lost": {"WARNINGS: 1", nil, "[]", true, 0},
		"error":         {"CT is locked (backup)", []string{"TASK ERROR: CT is locked (backup)"}, "failed: CT is locked (backup)", false, 1},
		"killed":        {"unexpected status", nil, "failed: unexpected status", false, 0},
		"empty":         {"", nil, "failed: unexpected status", false, 0},
		"long":          {"boom", long, "failed: boom", false, 20},
		"job errors":    {"job errors", backup, "No space left on device", false, 4},
		"denied":        {"unable to restore CT 202 - 403 Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)", nil, "lacks SDN.Use on /sdn/zones/localnetwork/vmbr0", false, 0},
		"denied job":    {"job errors", []string{"ERROR: Backup of VM 302 failed - 403 Permission check failed (/vms/302, VM.Backup)"}, "lacks VM.Backup on /vms/302", false, 1},
	} {
		node := &oneTask{exit: c.exit, log: c.log}
		s, err := testClient(t, node).WaitTask(t.Context(), dumpUPID, WaitOptions{})
		if c.ok {
			if err != nil || !s.OK() || fmt.Sprint(s.Warnings) != c.want || s.ExitStatus != c.exit {
				t.Errorf("%s: %+v, %v", name, s, err)
			}
			continue
		}
		task, ok := errors.AsType[*TaskError](err)
		if !ok || s.OK() || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dumpUPID.String()) {
			t.Errorf("%s: %+v, %v", name, s, err)
			continue
		}
		if len(task.LogTail) != c.tail || c.tail > 0 && task.LogTail[c.tail-1] != c.log[len(c.log)-1] {
			t.Errorf("%s: log tail %q", name, task.LogTail)
		}
		if strings.HasPrefix(name, "denied") != IsDenied(err) {
			t.Errorf("%s: denied is %v", name, IsDenied(err))
		}
	}
}

func TestNoTaskHasEnded(t *testing.T) {
	client := testClient(t, fake(func(*http.Request) (*http.Response, error) {
		t.Error("a request")
		return nil, io.EOF
	}))
	s, err := client.WaitTask(t.Context(), UPID{}, WaitOptions{})
	if err != nil || !s.OK() {
		t.Errorf("%+v, %v", s, err)
	}
	if lines, err := client.TaskLogTail(t.Context(), UPID{}, 10); err != nil || lines != nil {
		t.Errorf("%q, %v", lines, err)
	}
}

func TestTaskLogTail(t *testing.T) {
	for lines := range 130 {
		log := make([]string, lines)
		for i := range log {
			log[i] = strconv.Itoa(i)
		}
		client := testClient(t, &oneTask{log: log})
		if got, err := client.TaskLog(t.Context(), dumpUPID); err != nil || !slices.Equal(got, log) {
			t.Fatalf("all of %d lines: %q, %v", lines, got, err)
		}
		for _, n := range []int{1, 2, 49, 50, 51, 1000} {
			got, err := client.TaskLogTail(t.Context(), dumpUPID, n)
			if want := log[max(0, lines-n):]; err != nil || !slices.Equal(got, want) {
				t.Fatalf("last %d of %d lines: %q, %v", n, lines, got, err)
			}
		}
	}
}

// FuzzTaskLog holds that no log and no exit status can do worse than be shown.
func FuzzTaskLog(f *testing.F) {
	f.Add("job errors", "ERROR: Backup of VM 105 failed - CT is locked (backup)\nTASK ERROR: job errors")
	f.Add("WARNINGS: 1", "WARN: x")
	f.Add("", "no content")
	f.Add("403 Permission check failed (/, Sys.Modify)", "unable to open file - gone")
	f.Fuzz(func(t *testing.T, exit, log string) {
		node := &oneTask{exit: exit, log: strings.Split(log, "\n")}
		s, err := testClient(t, node).WaitTask(t.Context(), dumpUPID, WaitOptions{})
		ok := exit == "OK" || strings.HasPrefix(exit, "WARNINGS: ")
		if (err == nil) != ok || s.OK() != ok {
			t.Fatalf("%q: %+v, %v", exit, s, err)
		}
		if err == nil {
			return
		}
		if _, isTask := errors.AsType[*TaskError](err); !isTask {
			t.Fatalf("%q: %T %v", exit, err, err)
		}
		verdicts(err)
		if IsOutcomeUnknown(err) || IsNotDelivered(err) {
			t.Fatalf("%q: a failed task was delivered and its outcome is known", exit)
		}
	})
}

func TestTasks(t *testing.T) {
	client := testClient(t, &script{to: map[string][]string{
		"GET /nodes/pve1/tasks?limit=2&source=all&vmid=111": {`200 OK
			{"total":37,"data":[
			{"upid":"UPID:pve1:00000767:00012584:6B03308F:vzdump:111:felhom@pve!agent:","starttime":1795371151,"endtime":1795371190,"type":"vzdump","id":"111","user":"felhom@pve","tokenid":"agent","status":"job errors","node":"pve1","pid":1895,"pstart":75140},
			{"upid":"UPID:pve1:00000768:00012585:6B033090:vzdump:111:felhom@pve!agent:","starttime":1795371152,"type":"vzdump","id":"111","user":"felhom@pve!agent","status":"RUNNING","saved":"0"},
			{"upid":"UPID:pve1:00000700:00012500:6B033000:vzstop:111:root@pam:","starttime":"1795371008","endtime":1795371010,"type":"vzstop","id":"111","user":"root@pam","status":"OK"}]}`},
		"GET /nodes/pve1/tasks": data(`[{"upid":"UPID:x"}]`),
	}})
	tasks, total, err := client.Tasks(t.Context(), "pve1", TaskFilter{Source: "all", VMID: 111, Limit: 2})
	if err != nil || total != 37 || len(tasks) != 3 {
		t.Fatalf("%+v of %d, %v", tasks, total, err)
	}
	var got []string
	for _, task := range tasks {
		got = append(got, fmt.Sprint(task.Type, " ", task.Owner(), " ", task.Running(), " ", task.OK(), " ", task.StartTime.Unix()-1795371000))
	}
	want := []string{"vzdump felhom@pve!agent true false 152", "vzdump felhom@pve!agent false false 151", "vzstop root@pam false true 8"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, _, err := client.Tasks(t.Context(), "pve1", TaskFilter{}); err == nil {
		t.Error("a task without an id passes")
	}
	client = testClient(t, &script{to: map[string][]string{"GET /nodes/pve1/tasks": data(`[
		{"upid":"UPID:pve1:0000AB18:00F3C9D1:692203F3:download:a file.iso:root@pam:","starttime":1795371008,"type":"download","id":"a file.iso","user":"root@pam","status":"RUNNING"}]`)}})
	tasks, _, err = client.Tasks(t.Context(), "pve1", TaskFilter{})
	if err != nil || len(tasks) != 1 || !tasks[0].Running() || tasks[0].ID != "a file.iso" || !tasks[0].UPID.IsZero() {
		t.Errorf("a task with a name that is assumed to be possible for others: %+v, %v", tasks, err)
	}
}
