package pvesim

import (
	"fmt"
	"strings"
	"testing"
)

const qemu = "/nodes/pve1/qemu"

// The life of a virtual machine, as PVE's sources have it; nothing of it was measured.
func TestVirtualMachineAssumedFromPVEsSources(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		mountBlue(t, s)
		c.done("POST", qemu, form("vmid", "105", "name", "hass", "memory", "2048", "cores", "2", "net0", "virtio,bridge=vmbr0", "scsi0", "local-lvm:32", "onboot", "1"))
		get := func() map[string]string {
			out := map[string]string{}
			for k, v := range c.ok("GET", qemu+"/105/config", nil).(map[string]any) {
				out[k] = fmt.Sprint(v)
			}
			return out
		}
		conf := get()
		if conf["scsi0"] != "local-lvm:vm-105-disk-0,size=32G" || !strings.HasPrefix(conf["net0"], "virtio=BC:24:11:") || !strings.HasSuffix(conf["net0"], ",bridge=vmbr0") {
			t.Errorf("made as %v", conf)
		}
		if got := fmt.Sprint(c.ok("GET", "/nodes/pve1/lxc", nil)); strings.Contains(got, "hass") {
			t.Errorf("the containers are %s", got)
		}
		c.done("POST", qemu+"/105/status/start", nil)
		c.done("POST", qemu+"/105/config", form("memory", "4096", "name", "ha", "digest", conf["digest"]))
		if got := fmt.Sprint(c.ok("GET", qemu+"/105/pending", nil)); !strings.Contains(got, "pending:4096") || !strings.Contains(got, "value:ha") {
			t.Errorf("pending is %s", got)
		}
		if got, _ := c.do("POST", qemu+"/105/config", form("memory", "512", "digest", conf["digest"])); !strings.Contains(got, "checksum mismatch (file change by other user?)") {
			t.Errorf("a stale digest is answered with %q", got)
		}
		s.cl.Guests[105].Stubborn = true
		if got, _ := c.task("POST", qemu+"/105/status/shutdown", form("timeout", "10")); !strings.Contains(got, "VM quit/powerdown failed - got timeout") {
			t.Errorf("a deaf one: %q", got)
		}
		c.done("POST", qemu+"/105/status/stop", nil)
		s.WriteData(105, "scsi0", "the automations")
		c.done("POST", qemu+"/105/snapshot", form("snapname", "a1"))
		c.done("POST", "/nodes/pve1/vzdump", dumpForm("vmid", "105", "mode", "snapshot"))
		archive := ""
		for volid := range c.backups("usb-backup") {
			if strings.Contains(volid, "vzdump-qemu-105-") && strings.HasSuffix(volid, ".vma.zst") {
				archive = "usb-backup:backup/" + volid
			}
		}
		inside := fmt.Sprint(c.ok("GET", "/nodes/pve1/vzdump/extractconfig", form("volume", archive)))
		if !strings.Contains(inside, "#qmdump#map:scsi0:drive-scsi0:local-lvm:raw:") || !strings.Contains(inside, "name: ha") || strings.Contains(inside, "[") {
			t.Errorf("inside is %s", inside)
		}
		before := strings.Split(s.String(), "guest 105")[1]
		c.done("DELETE", qemu+"/105", nil)
		c.done("POST", qemu, form("vmid", "105", "archive", archive, "storage", "local-lvm", "description", "mine"))
		if now := strings.Split(s.String(), "guest 105")[1]; dataOf(now) == "" || dataOf(now) != dataOf(before) {
			t.Errorf("came back with %s, had %s", dataOf(now), dataOf(before))
		}
		if got := get(); got["name"] != "ha" || got["net0"] != conf["net0"] || got["description"] != "mine\n" {
			t.Errorf("came back as %v", got)
		}
		s.cl.Guests[105].Conf.Set("hostpci0", "0000:01:00") // as root
		c.done("POST", "/nodes/pve1/vzdump", dumpForm("vmid", "105", "mode", "snapshot"))
		newest := ""
		for volid := range c.backups("usb-backup") {
			if strings.Contains(volid, "vzdump-qemu-105-") && volid > newest {
				newest = volid
			}
		}
		c.done("DELETE", qemu+"/105", nil)
		if got, log := c.task("POST", qemu, form("vmid", "105", "archive", "usb-backup:backup/"+newest, "storage", "local-lvm")); !strings.Contains(got, "only root can set 'hostpci0' config for non-mapped devices") || !strings.Contains(strings.Join(log, "\n"), "VM 105 state is NOT cleaned up.") {
			t.Errorf("raw PCI: %q %s", got, log)
		}
		if got := get(); got["memory"] != "128" || got["scsi0"] != "" || got["lock"] != "" {
			t.Errorf("the wreck is %v", got)
		}
		if _, got := c.do("POST", qemu, form("vmid", "106", "archive", archive, "scsi0", "local-lvm:1")); !strings.Contains(got, "option conflicts with option 'archive'") {
			t.Errorf("a drive beside an archive: %q", got)
		}
	})
}

// dataOf is the fingerprint of the first disk in the state of a guest.
func dataOf(state string) string {
	_, rest, _ := strings.Cut(state, "  local-lvm:vm-105-disk-0: ")
	line, _, _ := strings.Cut(rest, "\n")
	data, _, _ := strings.Cut(line, " ")
	return data
}
