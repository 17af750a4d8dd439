package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// putConfig are the parameters of PUT /nodes/{node}/lxc/{vmid}/config in PVE 9.2, of
// numbered ones the first, with their sub-keys.
const putConfig = `arch cmode console cores cpulimit cpuunits debug delete description digest entrypoint env features hookscript
	hostname lock memory nameserver node onboot ostype protection revert rootfs searchdomain startup swap tags template
	timezone tty unprivileged vmid
	dev0.deny-write dev0.gid dev0.mode dev0.path dev0.uid
	features.force_rw_sys features.fuse features.keyctl features.mknod features.mount features.nesting
	mp0.acl mp0.backup mp0.idmap mp0.keepattrs mp0.mountoptions mp0.mp mp0.quota mp0.replicate mp0.ro mp0.shared mp0.size mp0.volume
	net0.bridge net0.firewall net0.gw net0.gw6 net0.host-managed net0.hwaddr net0.ip net0.ip6 net0.link_down net0.mtu net0.name
	net0.rate net0.tag net0.trunks net0.type
	startup.order startup.up startup.down
	unused0 unused17`

// Whatever PVE can be told about a container the language either knows or refuses with
// a fix of its own, never as a word that nobody has heard of.
func TestEveryKeyOfPVEIsKnownOrRefusedWithItsCure(t *testing.T) {
	for key := range strings.FieldsSeq(putConfig) {
		config := "{" + key + ": 1}"
		if outer, inner, ok := strings.Cut(key, "."); ok {
			config = "{" + outer + ": {" + inner + ": 1}}"
		}
		for _, text := range []string{
			"guests: {g: {vmid: 101, config: " + config + "}}\n",
			"golden: {g: {vmid: 9001, template: 'local:vztmpl/x.tar.zst', rootfs: 'local-lvm:8', config: " + config + "}}\n",
		} {
			file := filepath.Join(t.TempDir(), "pve1.yaml")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(file); err != nil && strings.Contains(err.Error(), "unknown key") {
				t.Errorf("%s%v", text, err)
			}
		}
	}
}
