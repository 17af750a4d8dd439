package proxmox_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// says answers every request with the same data.
type says string

func (s says) RoundTrip(*http.Request) (*http.Response, error) {
	body := `{"data":` + string(s) + `}`
	return &http.Response{Status: "200 OK", StatusCode: 200, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}, "Content-Type": {"application/json"}},
		Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
}

// A list that names one thing twice names one thing; where the two entries differ, that is
// told, and nothing is guessed.
func TestListsNameEachThingOnce(t *testing.T) {
	tests := []struct {
		name, entry string
		other       string // replaced in the second entry, "old>new"; harmless: what changes from one moment to the next
		harmless    string
		list        func(context.Context, *proxmox.View) (n int, ambiguous bool, err error)
	}{
		{"storages", `{"storage":"usb","type":"dir","path":"/mnt/a","content":"backup"}`, "/mnt/a>/mnt/b", "",
			func(ctx context.Context, v *proxmox.View) (int, bool, error) {
				l, err := v.ListStorage(ctx)
				return len(l), slices.ContainsFunc(l, func(s proxmox.Storage) bool { return s.Ambiguous }), err
			}},
		{"storages of a node", `{"storage":"usb","type":"dir","active":1,"avail":5,"total":9}`, `"active":1>"active":0`, "",
			func(ctx context.Context, v *proxmox.View) (int, bool, error) {
				l, err := v.NodeStorage(ctx, "pve1")
				return len(l), slices.ContainsFunc(l, func(s proxmox.StorageStatus) bool { return s.Ambiguous }), err
			}},
		{"archives", `{"volid":"usb:backup/vzdump-lxc-101-2026_11_22-05_00_00.tar.zst","content":"backup","size":1000,"vmid":101,"ctime":1700000000}`, "1000>999", "",
			func(ctx context.Context, v *proxmox.View) (int, bool, error) {
				l, err := v.StorageContent(ctx, "pve1", "usb", proxmox.ContentFilter{})
				return len(l), slices.ContainsFunc(l, func(s proxmox.StorageContent) bool { return s.Ambiguous }), err
			}},
		{"guests", `{"vmid":101,"status":"running","name":"dns","cpu":0.1,"mem":5}`, "running>stopped", `"mem":5>"mem":6`,
			func(ctx context.Context, v *proxmox.View) (int, bool, error) {
				l, err := v.ListLXC(ctx, "pve1")
				return len(l), slices.ContainsFunc(l, func(s proxmox.Guest) bool { return s.Ambiguous }), err
			}},
		{"resources", `{"id":"lxc/101","type":"lxc","vmid":101,"node":"pve1","disk":5}`, "pve1>pve2", `"disk":5>"disk":6`,
			func(ctx context.Context, v *proxmox.View) (int, bool, error) {
				l, err := v.Resources(ctx, "")
				return len(l), slices.ContainsFunc(l, func(s proxmox.Resource) bool { return s.Ambiguous }), err
			}},
		{"resources of two types with one VMID", `{"id":"lxc/101","type":"lxc","vmid":101,"node":"pve1"}`, "lxc>qemu", "",
			func(ctx context.Context, v *proxmox.View) (int, bool, error) {
				l, err := v.Resources(ctx, "")
				return len(l), slices.ContainsFunc(l, func(s proxmox.Resource) bool { return s.Ambiguous }), err
			}},
		{"snapshots", `{"name":"current","digest":"x"},{"name":"a","description":"b","snaptime":1700000000}`, "1700000000>1700000001", "",
			func(ctx context.Context, v *proxmox.View) (int, bool, error) {
				l, err := v.Snapshots(ctx, "pve1", 101)
				return len(l.Snapshots), slices.ContainsFunc(l.Snapshots, func(s proxmox.Snapshot) bool { return s.Ambiguous }), err
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			twice := func(change string) (int, bool) {
				second := tt.entry
				if old, with, ok := strings.Cut(change, ">"); ok {
					second = strings.ReplaceAll(tt.entry, old, with)
				}
				token, err := proxmox.NewToken("felhom@pve!agent", "5f4dcc3b-0000-4000-8000-aabbccddeeff")
				if err != nil {
					t.Fatal(err)
				}
				c, err := proxmox.New(proxmox.Options{Transport: says("[" + tt.entry + "," + second + "]"), Token: token})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				n, ambiguous, err := tt.list(t.Context(), c.Read())
				if err != nil {
					t.Fatal(err)
				}
				return n, ambiguous
			}
			if n, ambiguous := twice(""); n != 1 || ambiguous {
				t.Errorf("the same entry twice: %d, ambiguous %v", n, ambiguous)
			}
			if n, ambiguous := twice(tt.other); n != 1 || !ambiguous {
				t.Errorf("two that differ: %d, ambiguous %v", n, ambiguous)
			}
			if tt.harmless != "" {
				if n, ambiguous := twice(tt.harmless); n != 1 || ambiguous {
					t.Errorf("two that differ in use alone: %d, ambiguous %v", n, ambiguous)
				}
			}
		})
	}
}

// Of two entries of one task the cautious reading counts.
func TestATaskNamedTwice(t *testing.T) {
	const upid = "UPID:pve1:00000001:00000002:65538D00:vzdump:101:root@pam:"
	entry := func(rest string) string {
		return `{"upid":"` + upid + `","type":"vzdump","id":"101","user":"root@pam","starttime":1700000000` + rest + `}`
	}
	ok, failed, runs := entry(`,"endtime":1700000009,"status":"OK"`), entry(`,"endtime":1700000009,"status":"job errors"`), entry("")
	for name, c := range map[string]struct {
		a, b        string
		running, ok bool
	}{
		"the same":              {ok, ok, false, true},
		"one of them runs":      {ok, runs, true, false},
		"the other runs":        {runs, ok, true, false},
		"one of them failed":    {ok, failed, false, false},
		"the other failed":      {failed, ok, false, false},
		"both run":              {runs, runs, true, false},
		"both failed, likewise": {failed, failed, false, false},
	} {
		token, _ := proxmox.NewToken("felhom@pve!agent", "5f4dcc3b-0000-4000-8000-aabbccddeeff")
		client, err := proxmox.New(proxmox.Options{Transport: says("[" + c.a + "," + c.b + "]"), Token: token})
		if err != nil {
			t.Fatal(err)
		}
		tasks, _, err := client.Tasks(t.Context(), "pve1", proxmox.TaskFilter{})
		if err != nil || len(tasks) != 1 || tasks[0].Running() != c.running || tasks[0].OK() != c.ok {
			t.Errorf("%s: %v %+v", name, err, tasks)
		}
		client.Close()
	}
}
