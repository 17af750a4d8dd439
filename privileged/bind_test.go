package privileged

import (
	"errors"
	"strings"
	"testing"
)

func bindOf(source string, options map[string]string) Op {
	return BindMount(testNode, BindSpec{VMID: 201, Object: "web", Owner: "home", Index: 3, Source: source, Target: "/media", Options: options})
}

// A bind gives root of a guest no ID of the host, unless root's own file allows that for the folder.
func TestBindIDMap(t *testing.T) {
	const here, other = "/mnt/usb/media/library", "/mnt/other"
	for idmap, bad := range map[string]bool{
		"passthrough":                          true,
		"u:0:0:1":                              true,
		"u:0:99999:1":                          true,
		"u:0:100000:65536":                     false,
		"u:0:200000:65536;g:0:200000:65536":    false,
		"u:0:100000:65536;g:0:0:1":             true,
		"g:1000:1000:1":                        true,
		"u:0:4294967295:2":                     true, // counts beyond the last ID, where the kernel begins at 0 again
		"u:0:4294967296:1":                     true,
		"u:0:0000000001:1":                     true,
		"u:0:100000:4294967295":                true,
		"u:0:100000:1;g:0:100000:1;u:9:1000:1": true,
	} {
		for policy, allowed := range map[string]bool{"": false, `{"idmap": ["/mnt/usb/media/"]}`: true, `{"idmap": ["/mnt/usb/med"]}`: false, `{"idmap": ["mnt"]}`: false, `{"idmap": []}`: false} {
			box := newBox(t)
			if policy != "" {
				box.write(PolicyPath, policy, 0o644)
			}
			_, err := box.do(bindOf(here, map[string]string{"idmap": idmap}))
			var refused *RefusedError
			if errors.As(err, &refused) != (bad && !allowed) || !(bad && !allowed) && err != nil {
				t.Errorf("%s with %s: %v", idmap, policy, err)
			}
			if refused != nil && (refused.Arg != "option.idmap" || !strings.Contains(refused.Fix, PolicyPath) || box.calls() != "") {
				t.Errorf("%s: %v\n%s", idmap, refused, box.calls())
			}
			if _, err := box.do(bindOf(other, map[string]string{"idmap": idmap})); errors.As(err, new(*RefusedError)) != bad {
				t.Errorf("%s in another folder, with %s: %v", idmap, policy, err)
			}
		}
	}
}

// The folders where PVE mounts network storages are opened by a root of their own alone.
func TestBindStorages(t *testing.T) {
	for policy, allowed := range map[string]bool{"": false, `{"roots": ["/mnt"]}`: false, `{"roots": ["/mnt", "/mnt/pve"]}`: true, `{"roots": ["/mnt/pve/nas/"]}`: true, `{"roots": ["/mnt/pve/na"]}`: false, `{"roots": ["/"]}`: false} {
		box := newBox(t)
		tree(t, box.root, "mnt/pve/nas/dump/", "mnt/pvx/")
		if policy != "" {
			box.write(PolicyPath, policy, 0o644)
		}
		_, err := box.do(bindOf("/mnt/pve/nas/dump", nil))
		if refused := errors.As(err, new(*RefusedError)); refused == allowed {
			t.Errorf("%s: %v", policy, err)
		}
		if !allowed && (!strings.Contains(err.Error(), PolicyPath) || box.calls() != "") {
			t.Errorf("%s: %v\n%s", policy, err, box.calls())
		}
	}
	if _, err := newBox(t).do(bindOf("/mnt/pve", nil)); !errors.As(err, new(*RefusedError)) {
		t.Errorf("/mnt/pve itself: %v", err)
	}
}

// Whoever may write above a bind's folder exchanges it for a link while pct works: what was set is taken back, and said.
func TestBindExchanged(t *testing.T) {
	for before, want := range map[string]string{"": pct + " set 201 --delete mp3", "/mnt/other,mp=/media": pct + " set 201 --mp3 /mnt/other,mp=/media"} {
		box := newBox(t)
		if before != "" {
			box.write("/etc/pve/nodes/"+testNode+"/lxc/201.conf", conf(testMarker)+"mp3: "+before+"\n", 0o640)
		}
		box.program(pct, `cd `+box.root+`/mnt/usb/media; [ -L library ] || { mv library x; ln -s /etc library; }`)
		_, err := box.do(bindOf("/mnt/usb/media/library", nil))
		var failed *FailedError
		if !errors.As(err, &failed) || !strings.Contains(failed.Reason, "was exchanged while it was bound") || len(failed.Undone) != 1 {
			t.Errorf("%v", err)
		}
		if !strings.HasSuffix(box.calls(), want) {
			t.Errorf("%s", box.calls())
		}
	}
}
