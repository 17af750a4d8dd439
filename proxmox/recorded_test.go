package proxmox

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
)

type exchange struct {
	Name, Auth, Method, Path, Response string
	StatusLine                         string `json:"status_line"`
}

// recorded reads the exchanges that were recorded on two real nodes.
func recorded(t *testing.T) (all []exchange) {
	t.Helper()
	for _, name := range []string{"exchanges.jsonl", "exchanges-2.jsonl"} {
		f, err := os.Open("../../shared/recordings/" + name)
		if err != nil {
			t.Skipf("no recordings here: %v", err)
		}
		defer f.Close()
		before := len(all)
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var e exchange
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
		if err := lines.Err(); err != nil || len(all) == before {
			t.Fatalf("%s: %d exchanges, %v", name, len(all)-before, err)
		}
	}
	return all
}

// replay is a client to whom every request is answered with one recording.
func replay(t *testing.T, e exchange) *Client {
	return testClient(t, fake(func(*http.Request) (*http.Response, error) {
		return response(strings.TrimPrefix(e.StatusLine, "HTTP/1.1 "), e.Response), nil
	}), func(o *Options) { o.Retries = -1 })
}

// readers maps the paths that this package reads to its reading.
var readers = []struct {
	form *regexp.Regexp
	read func(c *Client, t *testing.T) (any, error)
}{
	{regexp.MustCompile(`^/version$`), func(c *Client, t *testing.T) (any, error) { return c.Version(t.Context()) }},
	{regexp.MustCompile(`^/nodes$`), func(c *Client, t *testing.T) (any, error) { return c.Nodes(t.Context()) }},
	{regexp.MustCompile(`^/nodes/[^/]+/network$`), func(c *Client, t *testing.T) (any, error) { return c.Bridges(t.Context(), "n") }},
	{regexp.MustCompile(`^/nodes/[^/]+/status$`), func(c *Client, t *testing.T) (any, error) { return c.NodeStatus(t.Context(), "n") }},
	{regexp.MustCompile(`^/nodes/[^/]+/time$`), func(c *Client, t *testing.T) (any, error) { return c.NodeTime(t.Context(), "n") }},
	{regexp.MustCompile(`^/cluster/status$`), func(c *Client, t *testing.T) (any, error) { return c.ClusterStatus(t.Context()) }},
	{regexp.MustCompile(`^/cluster/resources$`), func(c *Client, t *testing.T) (any, error) { return c.Resources(t.Context(), "") }},
	{regexp.MustCompile(`^/access/acl$`), func(c *Client, t *testing.T) (any, error) { return c.ACL(t.Context()) }},
	{regexp.MustCompile(`^/access/permissions$`), func(c *Client, t *testing.T) (any, error) { return c.Permissions(t.Context()) }},
	{regexp.MustCompile(`^/nodes/[^/]+/lxc$`), func(c *Client, t *testing.T) (any, error) { return c.ListLXC(t.Context(), "n") }},
	{regexp.MustCompile(`/lxc/\d+/status/current$`), func(c *Client, t *testing.T) (any, error) { return c.GuestStatus(t.Context(), "n", 100) }},
	{regexp.MustCompile(`/lxc/\d+/config$`), func(c *Client, t *testing.T) (any, error) { return c.GuestConfig(t.Context(), "n", 100) }},
	{regexp.MustCompile(`/lxc/\d+/pending$`), func(c *Client, t *testing.T) (any, error) { return c.GuestPending(t.Context(), "n", 100) }},
	{regexp.MustCompile(`/lxc/\d+/snapshot$`), func(c *Client, t *testing.T) (any, error) { return c.Snapshots(t.Context(), "n", 100) }},
	{regexp.MustCompile(`/lxc/\d+/feature$`), func(c *Client, t *testing.T) (any, error) { return c.Feature(t.Context(), "n", 100, "snapshot") }},
	{regexp.MustCompile(`^/storage$`), func(c *Client, t *testing.T) (any, error) { return c.ListStorage(t.Context()) }},
	{regexp.MustCompile(`^/nodes/[^/]+/storage$`), func(c *Client, t *testing.T) (any, error) { return c.NodeStorage(t.Context(), "n") }},
	{regexp.MustCompile(`/storage/[^/]+/content$`), func(c *Client, t *testing.T) (any, error) {
		return c.StorageContent(t.Context(), "n", "local", ContentFilter{})
	}},
	{regexp.MustCompile(`/storage/[^/]+/content/.+$`), func(c *Client, t *testing.T) (any, error) {
		return c.VolumeInfo(t.Context(), "n", "local:backup/vzdump-lxc-101-2026_11_22-18_21_14.tar.zst")
	}},
	{regexp.MustCompile(`/vzdump/extractconfig$`), func(c *Client, t *testing.T) (any, error) {
		return c.ArchiveConfig(t.Context(), "n", "local:backup/vzdump-lxc-101-2026_11_22-18_21_14.tar.zst")
	}},
	{regexp.MustCompile(`^/nodes/[^/]+/disks/list$`), func(c *Client, t *testing.T) (any, error) { return c.Disks(t.Context(), "n") }},
	{regexp.MustCompile(`^/nodes/[^/]+/tasks$`), func(c *Client, t *testing.T) (any, error) {
		tasks, _, err := c.Tasks(t.Context(), "n", TaskFilter{})
		return tasks, err
	}},
	{regexp.MustCompile(`/tasks/UPID:[^/]+/status$`), func(c *Client, t *testing.T) (any, error) {
		return c.TaskStatusOnce(t.Context(), UPID{Node: "n", Type: "vzstart", User: "root@pam"})
	}},
	{regexp.MustCompile(`/tasks/UPID:[^/]+/log$`), func(c *Client, t *testing.T) (any, error) {
		return c.TaskLogTail(t.Context(), UPID{Node: "n", Type: "vzstart", User: "root@pam"}, 1000)
	}},
}

// TestRecordedReads holds that every answer a real node gave to a request that
// this package can make is understood, and every refusal is an APIError.
func TestRecordedReads(t *testing.T) {
	read, refused := 0, 0
	for _, e := range recorded(t) {
		path, err := url.PathUnescape(strings.TrimPrefix(e.Path, "/api2/json"))
		if err != nil || e.Method != "GET" || !strings.HasPrefix(e.Path, "/api2/json") {
			continue
		}
		path, _, _ = strings.Cut(path, "?")
		if strings.Contains(e.Response, "…") || !json.Valid([]byte(e.Response)) && strings.Contains(e.StatusLine, " 200 ") {
			continue // cut by the recorder
		}
		for _, r := range readers {
			if !r.form.MatchString(path) {
				continue
			}
			_, err := r.read(replay(t, e), t)
			api, isAPI := err.(*APIError)
			switch {
			case strings.Contains(e.StatusLine, " 200 "):
				read++
				if strings.Contains(e.Response, "unable to open file") {
					if !IsNotFound(err) {
						t.Errorf("%s: %v is not IsNotFound", e.Name, err)
					}
				} else if err != nil {
					t.Errorf("%s: %s: %v\n%.300s", e.Name, path, err, e.Response)
				}
			case !isAPI:
				t.Errorf("%s: %s is %T, want an APIError: %v", e.Name, e.StatusLine, err, err)
			default:
				refused++
				if !strings.Contains(e.StatusLine, api.Message) {
					t.Errorf("%s: %q does not say %q", e.Name, api.Message, e.StatusLine)
				}
			}
		}
	}
	t.Logf("%d answers read, %d refusals", read, refused)
	if read < 150 || refused < 20 {
		t.Errorf("only %d answers read and %d refusals: is something skipped?", read, refused)
	}
}

// TestRecordedWrites holds that the answers to recorded writes are understood
// and that their tasks, read back with their logs, end here as they did there.
func TestRecordedWrites(t *testing.T) {
	all := recorded(t)
	byName := map[string]exchange{}
	for _, e := range all {
		byName[e.Name] = e
	}
	started, done, refused, failed, succeeded, denied := 0, 0, 0, 0, 0, 0
	for _, e := range all {
		if e.Method == "GET" || strings.HasPrefix(e.Path, "/api2/json/access/ticket") || !strings.HasPrefix(e.Path, "/api2/json/nodes/") {
			continue
		}
		if len(e.Response) > 0 && !json.Valid([]byte(e.Response)) && strings.Contains(e.StatusLine, " 200 ") {
			continue // cut by the recorder
		}
		path, err := url.PathUnescape(strings.TrimPrefix(e.Path, "/api2/json"))
		if err != nil {
			t.Fatal(err)
		}
		path, _, _ = strings.Cut(path, "?")
		// Below Do, which never sends the deletion of a guest: a person did that there.
		upid, err := replay(t, e).send(t.Context(), Call{Method: e.Method, Path: path})
		if !strings.Contains(e.StatusLine, " 200 ") {
			refused++
			api, ok := errors.AsType[*APIError](err)
			if !ok || !upid.IsZero() || !strings.Contains(e.StatusLine, api.Message) {
				t.Errorf("%s: %s is %T %v", e.Name, e.StatusLine, err, err)
			} else if (api.Denied != nil && api.Denied.Path != "") != strings.Contains(api.Message, "(/") {
				t.Errorf("%s: %s is read as %+v", e.Name, api.Message, api.Denied)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %.200s is %v", e.Name, e.Response, err)
			continue
		}
		if upid.IsZero() {
			done++
			continue
		}
		started++
		task, ok := byName[e.Name+".task"]
		log := byName[e.Name+".log"]
		if !ok || !strings.Contains(task.Response, "stopped") || !strings.Contains(task.Response, upid.Node+":") {
			continue
		}
		client := testClient(t, fake(func(req *http.Request) (*http.Response, error) {
			if strings.HasSuffix(req.URL.Path, "/log") {
				return response("200 OK", log.Response), nil
			}
			return response("200 OK", task.Response), nil
		}))
		status, err := client.WaitTask(t.Context(), upid, WaitOptions{})
		good := strings.Contains(task.Response, `"exitstatus":"OK"`) || strings.Contains(task.Response, `"exitstatus":"WARNINGS: `)
		if (err == nil) != good || status.OK() != good {
			t.Errorf("%s: %+v, %v", e.Name, status, err)
		}
		taskErr, isTask := errors.AsType[*TaskError](err)
		switch {
		case good:
			succeeded++
		case !isTask:
			t.Errorf("%s: %T %v", e.Name, err, err)
		default:
			failed++
			if taskErr.Reason() == "job errors" && json.Valid([]byte(log.Response)) {
				t.Errorf("%s: no reason in %.300s", e.Name, log.Response)
			}
			if strings.Contains(log.Response, "Permission check failed") != IsDenied(err) && !taskErr.Denied.RootOnly() {
				t.Errorf("%s: denied is %v: %v", e.Name, IsDenied(err), err)
			}
			if IsDenied(err) {
				denied++
			}
		}
	}
	t.Logf("%d tasks started, %d done at once, %d refused; %d tasks ended well, %d failed, %d for a privilege", started, done, refused, succeeded, failed, denied)
	if started < 40 || done < 5 || refused < 40 || succeeded < 20 || failed < 15 || denied < 1 {
		t.Error("too few of some kind: is something skipped?")
	}
}
