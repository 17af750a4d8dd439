package proxmox

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

func TestBadAnswersToReads(t *testing.T) {
	for name, answer := range map[string]string{
		"web page":        "<html><title>Router</title></html>",
		"truncated":       `{"data":[{"vmid":100,"status":"run`,
		"null":            `{"data":null}`,
		"no data":         `{"message":"hm"}`,
		"object for list": `{"data":{"vmid":100}}`,
		"string for list": `{"data":"x"}`,
		"no vmid":         `{"data":[{"status":"running"}]}`,
		"vmid a list":     `{"data":[{"vmid":[1],"status":"running"}]}`,
		"vmid a word":     `{"data":[{"vmid":"web","status":"running"}]}`,
		"mem too large":   `{"data":[{"vmid":100,"status":"running","mem":1e40}]}`,
		"element null":    `{"data":[null]}`,
		"empty":           "",
		"two documents":   `{"data":[]}{"data":[]}`,
		"deep":            strings.Repeat(`{"data":`, 20000),
	} {
		client := testClient(t, fake(func(*http.Request) (*http.Response, error) { return response("200 OK", answer), nil }))
		guests, err := client.ListLXC(t.Context(), "pve1")
		if _, ok := errors.AsType[*AnswerError](err); !ok || guests != nil {
			t.Errorf("%s: %v, %T %v", name, guests, err, err)
		} else if len(err.Error()) > 500 || !strings.Contains(err.Error(), "/nodes/pve1/lxc") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// endless is a body that never ends.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read.Add(int64(len(p)))
	return len(p), nil
}
func (e *endless) Close() error { return nil }

// Of an answer that never ends no more is read than the largest real one of its kind has.
func TestBodyOf2GiB(t *testing.T) {
	upid, _ := ParseUPID("UPID:pve1:00001F3A:0000B5C2:6922C5D0:vzstart:101:root@pam:")
	for name, c := range map[string]struct {
		most int64
		ask  func(*Client) error
	}{
		"guests": {32 << 20, func(c *Client) error { _, err := c.ListLXC(t.Context(), "pve1"); return err }},
		"contents": {32 << 20, func(c *Client) error {
			_, err := c.StorageContent(t.Context(), "pve1", "local", ContentFilter{})
			return err
		}},
		"log":     {4 << 20, func(c *Client) error { _, err := c.TaskLog(t.Context(), upid); return err }},
		"config":  {1 << 20, func(c *Client) error { _, err := c.GuestConfig(t.Context(), "pve1", 101); return err }},
		"version": {1 << 20, func(c *Client) error { _, err := c.Version(t.Context()); return err }},
		"a write": {1 << 20, func(c *Client) error { _, err := c.Do(t.Context(), On("pve1").Stop(101)); return err }},
	} {
		for _, line := range []string{"200 OK", "500 oh"} {
			body := &endless{}
			client := testClient(t, fake(func(*http.Request) (*http.Response, error) {
				r := response(line, "")
				r.Body, r.ContentLength = body, 2<<30
				return r, nil
			}))
			if err := c.ask(client); err == nil {
				t.Errorf("%s, %s: an answer out of blanks", name, line)
			}
			if n := body.read.Load(); n > c.most+1<<19 {
				t.Errorf("%s, %s: read %s of it", name, line, Size(n).Human())
			}
		}
	}
}

// An answer within the limit of bytes, but of millions of entries, is refused before it is decoded: that would cost
// gigabytes.
func TestAnswerOfMillionsOfEntries(t *testing.T) {
	for name, body := range map[string]string{
		"objects": `{"data":[{}` + strings.Repeat(`,{}`, 8<<20) + `]}`,
		"texts":   `{"data":[""` + strings.Repeat(`,""`, 8<<20) + `]}`,
	} {
		client := testClient(t, fake(func(*http.Request) (*http.Response, error) { return response("200 OK", body), nil }))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := client.ListLXC(t.Context(), "pve1")
		runtime.ReadMemStats(&after)
		if _, ok := errors.AsType[*AnswerError](err); !ok || !strings.Contains(err.Error(), "it has more than 100000 entries") {
			t.Errorf("%s: %v", name, err)
		}
		if cost := Size(after.TotalAlloc - before.TotalAlloc); cost > 4*Size(len(body)) {
			t.Errorf("%s: %s for %s", name, cost.Human(), Size(len(body)).Human())
		}
	}
}

// A large node has large lists: each is read, also that of a pool, whose path ends with its name.
func TestListsOfALargeNode(t *testing.T) {
	list := func(entry string, n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
	}
	for name, c := range map[string]struct {
		data string
		ask  func(*Client) error
	}{
		"pool": {`{"members":` + list(`{"id":"lxc/101","type":"lxc","vmid":101,"node":"pve1","status":"running","name":"`+strings.Repeat("w", 200)+`"}`, 10_000) + `}`,
			func(c *Client) error { _, err := c.Pool(t.Context(), "all"); return err }},
		"rights": {list(`{"path":"/vms/101","type":"token","ugid":"felhom@pve!agent","roleid":"FelhomAgent","propagate":1}`, 20_000),
			func(c *Client) error { _, err := c.ACL(t.Context()); return err }},
		"networks": {list(`{"iface":"vmbr0","type":"bridge","comments":"`+strings.Repeat("c", 400)+`"}`, 4_000),
			func(c *Client) error { _, err := c.Bridges(t.Context(), "pve1"); return err }},
		"templates": {list(`{"template":"debian","description":"`+strings.Repeat("d", 4000)+`"}`, 400),
			func(c *Client) error { _, err := c.Appliances(t.Context(), "pve1"); return err }},
	} {
		client := testClient(t, fake(func(*http.Request) (*http.Response, error) { return response("200 OK", `{"data":`+c.data+`}`), nil }))
		if err := c.ask(client); err != nil {
			t.Errorf("%s, %s: %v", name, Size(len(c.data)).Human(), err)
		}
	}
}
