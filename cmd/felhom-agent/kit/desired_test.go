package kit

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// On a host of another name the YAML names that host; nothing else of it changes.
func TestDesiredOnAnotherNode(t *testing.T) {
	k := &Kit{Files: map[string][]byte{
		"desired/a.yaml": []byte("# node: pve1\nnode: pve1   # the old host\nx-é: &o {é: ü, node: 'pve1'}\nrestores:\n  pve1: {vmid: 1, config: {description: \"node: pve1\"}}\n  b: {node: \"pve1\"}\r\n  c:\n    node: pve10\n  d:\n    node: pve2\n"),
		"desired/b.yaml": []byte("node: [pve1\n")}}
	k.Node = "pve1"
	want := map[string]string{
		"a.yaml": "# node: pve1\nnode: new   # the old host\nx-é: &o {é: ü, node: 'new'}\nrestores:\n  pve1: {vmid: 1, config: {description: \"node: pve1\"}}\n  b: {node: \"new\"}\r\n  c:\n    node: pve10\n  d:\n    node: pve2\n",
		"b.yaml": "node: [pve1\n"}
	got := map[string]string{}
	for name, text := range k.DesiredOn("new") {
		got[name] = string(text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if string(k.DesiredFiles()["a.yaml"]) == got["a.yaml"] {
		t.Error("the kit itself has changed")
	}
}
