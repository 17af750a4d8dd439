package proxmox_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox"
)

// An answer that is the same as the one before is not decoded again. What a caller does to what it
// was told changes nothing for the next.
func TestWhatIsToldIsTheCallersOwn(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		ask  func(context.Context, *proxmox.View) (any, error)
	}{
		"storages": {`[{"storage":"usb","type":"dir","content":"backup,iso","nodes":"pve1,pve2"}]`,
			func(ctx context.Context, v *proxmox.View) (any, error) { return v.ListStorage(ctx) }},
		"storages of a node": {`[{"storage":"usb","type":"dir","content":"backup,iso","active":1}]`,
			func(ctx context.Context, v *proxmox.View) (any, error) { return v.NodeStorage(ctx, "pve1") }},
		"archives": {`[{"volid":"usb:backup/vzdump-lxc-101-2026_11_22-05_00_00.tar.zst","content":"backup","size":1000,"vmid":101},{"volid":"usb:a","content":"iso"}]`,
			func(ctx context.Context, v *proxmox.View) (any, error) {
				return v.StorageContent(ctx, "pve1", "usb", proxmox.ContentFilter{})
			}},
		"guests": {`[{"vmid":102,"status":"running","tags":"a;b"},{"vmid":101,"status":"stopped"}]`,
			func(ctx context.Context, v *proxmox.View) (any, error) { return v.ListLXC(ctx, "pve1") }},
		"resources": {`[{"id":"lxc/101","type":"lxc","vmid":101,"node":"pve1","tags":"a;b"},{"id":"lxc/100","type":"lxc","vmid":100}]`,
			func(ctx context.Context, v *proxmox.View) (any, error) { return v.Resources(ctx, "") }},
		"snapshots": {`[{"name":"current","digest":"x"},{"name":"b","snaptime":1700000000},{"name":"a","snaptime":1600000000}]`,
			func(ctx context.Context, v *proxmox.View) (any, error) { return v.Snapshots(ctx, "pve1", 101) }},
		"a config": {`{"hostname":"dns","digest":"x","lxc":[["lxc.a","b"]]}`,
			func(ctx context.Context, v *proxmox.View) (any, error) {
				return v.Of(proxmox.LXC, "pve1", 101).Config(ctx)
			}},
		"a pending config": {`[{"key":"digest","value":"x"},{"key":"memory","value":512,"pending":1024},{"key":"swap","value":1,"delete":1}]`,
			func(ctx context.Context, v *proxmox.View) (any, error) { return v.GuestPending(ctx, "pve1", 101) }},
		"permissions": {`{"/":{"VM.Audit":1},"/vms/101":{"VM.Audit":0}}`,
			func(ctx context.Context, v *proxmox.View) (any, error) { return v.Permissions(ctx) }},
		"tasks": {`[{"upid":"UPID:pve1:00000001:00000002:65538D00:vzdump:101:root@pam:","type":"vzdump","id":"101","user":"root@pam","starttime":1700000000}]`,
			func(ctx context.Context, v *proxmox.View) (any, error) {
				tasks, total, err := v.Tasks(ctx, "pve1", proxmox.TaskFilter{})
				return []any{tasks, total}, err
			}},
		"bridges": {`[{"iface":"vmbr1","type":"bridge"},{"iface":"vmbr0","type":"bridge"}]`,
			func(ctx context.Context, v *proxmox.View) (any, error) { return v.Bridges(ctx, "pve1") }},
		"a pool": {`{"comment":"c","members":[{"type":"lxc","vmid":102},{"type":"lxc","vmid":101},{"type":"storage","storage":"usb"}]}`,
			func(ctx context.Context, v *proxmox.View) (any, error) { return v.Pool(ctx, "p") }},
		"nodes": {`[{"node":"pve2","status":"online"},{"node":"pve1","status":"online"}]`,
			func(ctx context.Context, v *proxmox.View) (any, error) { return v.Nodes(ctx) }},
		"disks": {`[{"devpath":"/dev/sdb","size":1},{"devpath":"/dev/sda","size":2}]`,
			func(ctx context.Context, v *proxmox.View) (any, error) { return v.Disks(ctx, "pve1") }},
	} {
		token, _ := proxmox.NewToken("felhom@pve!agent", "5f4dcc3b-0000-4000-8000-aabbccddeeff")
		client, err := proxmox.New(proxmox.Options{Transport: says(c.data), Token: token})
		if err != nil {
			t.Fatal(err)
		}
		told := func(view *proxmox.View) (any, string) {
			value, err := c.ask(t.Context(), view)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return value, fmt.Sprintf("%+v", value)
		}
		view := client.Read()
		value, first := told(view)
		spoil(reflect.ValueOf(value))
		if spoiled := fmt.Sprintf("%+v", value); spoiled == first {
			t.Fatalf("%s: nothing in %s could be changed", name, first)
		}
		if _, again := told(view); again != first {
			t.Errorf("%s: in one look the first was told\n%s\nthe next\n%s", name, first, again)
		}
		if _, again := told(client.Read()); again != first {
			t.Errorf("%s: one look was told\n%s\nthe next\n%s", name, first, again)
		}
		client.Close()
	}
}

// spoil changes all that can be reached and written through slices and maps.
func spoil(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			spoil(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			spoil(v.Index(i))
		}
		if v.Len() > 1 {
			reflect.Swapper(v.Interface())(0, v.Len()-1)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			spoil(v.MapIndex(key))
			v.SetMapIndex(key, reflect.Zero(v.Type().Elem()))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				spoil(v.Field(i))
			}
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString("spoiled")
		}
	case reflect.Int, reflect.Int64:
		if v.CanSet() {
			v.SetInt(-1)
		}
	}
}

// counting answers with a body of its own to every question.
type counting struct{ n, size int }

func (c *counting) RoundTrip(req *http.Request) (*http.Response, error) {
	c.n++
	body := fmt.Sprintf(`{"data":[{"id":"lxc/101","type":"lxc","vmid":101,"node":"pve1","status":"running %d","name":"%s"}]}`, c.n, strings.Repeat("x", c.size))
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req}, nil
}

// Answers that change are decoded each time, and those of several clients are kept apart by what
// they say, also when there is no room for them.
func TestAnswersThatChange(t *testing.T) {
	token, _ := proxmox.NewToken("felhom@pve!agent", "5f4dcc3b-0000-4000-8000-aabbccddeeff")
	for _, size := range []int{1, 1 << 20, 5 << 20} {
		node, shared := &counting{size: size}, new(proxmox.Answers)
		for range 3 {
			client, err := proxmox.New(proxmox.Options{Transport: node, Token: token, Answers: shared})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				all, err := client.Read().Resources(t.Context(), "")
				if want := fmt.Sprintf("running %d", node.n); err != nil || len(all) != 1 || all[0].Status != want || len(all[0].Name) != size {
					t.Fatalf("told %d resources (%v), not one that is %s and has a name of %d bytes", len(all), err, want, size)
				}
			}
			client.Close()
		}
	}
}
