package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// createGuest is the command create: somebody else makes a container on a node, with a VMID, a hostname and a description.
func createGuest(ts *testscript.TestScript, _ bool, args []string) {
	sim, err := pvesim.Load([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	if status, body := sim.Do("root@pam", "POST", "/nodes/"+sim.Node()+"/lxc", map[string]string{"vmid": args[1], "hostname": args[2], "description": args[3],
		"storage": "local-lvm", "ostemplate": "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz"}); status != 200 {
		ts.Fatalf("%d: %s", status, body)
	}
	sim.Advance(time.Minute)
	text, err := sim.Save()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

// asRoot is the command root: somebody calls the API of a node as root, with parameters KEY=VALUE. Then a minute passes.
func asRoot(ts *testscript.TestScript, _ bool, args []string) {
	sim, err := pvesim.Load([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	params := map[string]string{}
	for _, pair := range args[3:] {
		key, value, _ := strings.Cut(pair, "=")
		params[key] = value
	}
	if status, body := sim.Do("root@pam", args[1], args[2], params); status != 200 {
		ts.Fatalf("%d: %s", status, body)
	}
	sim.Advance(time.Minute)
	text, err := sim.Save()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

// twoVMs is the command vms: a node gets two virtual machines, hass and router, that hold something.
func twoVMs(ts *testscript.TestScript, _ bool, args []string) {
	sim, err := pvesim.Load([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	addVMs(sim)
	text, err := sim.Save()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

// addVMs makes two virtual machines as root does.
func addVMs(sim *pvesim.Sim) {
	at := "/nodes/" + sim.Node() + "/qemu"
	sim.Do("root@pam", "POST", at, map[string]string{"vmid": "105", "name": "hass", "memory": "2048", "cores": "2", "bios": "ovmf", "ostype": "l26", "agent": "1",
		"net0": "virtio=BC:24:11:00:00:05,bridge=vmbr0", "scsi0": "local-lvm:32", "efidisk0": "local-lvm:1,efitype=4m"})
	sim.Do("root@pam", "POST", at, map[string]string{"vmid": "106", "name": "router", "memory": "512", "virtio0": "local-lvm:4", "net0": "virtio=BC:24:11:00:00:06,bridge=vmbr0"})
	sim.Advance(time.Minute)
	sim.Do("root@pam", "POST", at+"/105/status/start", nil)
	sim.Advance(time.Minute)
	sim.WriteData(105, "scsi0", "the automations")
	sim.WriteData(105, "efidisk0", "the boot entries")
	sim.WriteData(106, "virtio0", "the firewall")
}

// putFiles is the command put: files of the host of a node, each PATH=FILE.
func putFiles(ts *testscript.TestScript, _ bool, args []string) {
	sim, err := pvesim.Load([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	for _, arg := range args[1:] {
		to, from, _ := strings.Cut(arg, "=")
		ts.Check(sim.PutFile(to, []byte(ts.ReadFile(from))))
	}
	text, err := sim.Save()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

// alterTemplate is the command alter-template: somebody has another file in place of the copy of a template, on the disk of a node.
func alterTemplate(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	const from, to = "the template debian-13-standard_13.1-1_amd64.tar.zst", "the template debian-13-standard_13.1-1_amd64.tar.gz "
	if strings.Count(text, from) != 1 {
		ts.Fatalf("%d copies of the template", strings.Count(text, from))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, from, to, 1)), 0o600))
}

// writeConfig is the command config: the config and the snapshots of a container of a node go into a file.
func writeConfig(ts *testscript.TestScript, _ bool, args []string) {
	sim, err := pvesim.Load([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	var text string
	for _, what := range []string{"config", "snapshot"} {
		_, body := sim.Do("root@pam", "GET", "/nodes/"+sim.Node()+"/lxc/"+args[1]+"/"+what, nil)
		text += body + "\n"
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(text), 0o600))
}

// writeDisk writes the plain files of all disks of a node into a folder.
func writeDisk(ts *testscript.TestScript, world, to string) {
	var w struct {
		Nodes []struct {
			Disks []struct {
				Files map[string]string
				Dirs  map[string]map[string]struct {
					Size   int64
					Notes  string
					Config string
					Parts  []struct{ MP, Path string }
				}
			}
		}
	}
	ts.Check(yaml.Unmarshal([]byte(world), &w))
	for _, d := range w.Nodes[0].Disks {
		if d.Files == nil {
			continue
		}
		ts.Check(os.MkdirAll(filepath.Join(to, "dump"), 0o755))
		for name, v := range d.Dirs["/"] {
			at := filepath.Join(to, "dump", filepath.Base(name))
			name := regexp.MustCompile(`(?:host)?name: (.*)`).FindStringSubmatch(v.Config)[1]
			log := "2026-11-22 18:02:10 INFO: CT Name: " + name + "\n"
			if strings.HasSuffix(at, ".vma.zst") {
				log = "2026-11-22 18:02:10 INFO: VM Name: " + name + "\n"
			}
			for _, p := range v.Parts {
				if size := regexp.MustCompile(p.MP + `: ([^,]*),.*size=(\w+)`).FindStringSubmatch(v.Config); size != nil && !strings.HasSuffix(at, ".tar.zst") {
					log += fmt.Sprintf("2026-11-22 18:02:10 INFO: include disk '%s' '%s' %s\n", p.MP, size[1], size[2])
					continue
				}
				log += fmt.Sprintf("2026-11-22 18:02:10 INFO: including mount point %s ('%s') in backup\n", p.MP, p.Path)
			}
			ts.Check(errors.Join(os.WriteFile(at, nil, 0o600), os.Truncate(at, v.Size), os.WriteFile(at+".notes", []byte(v.Notes), 0o600),
				os.WriteFile(strings.TrimSuffix(strings.TrimSuffix(at, ".tar.zst"), ".vma.zst")+".log", []byte(log), 0o600)))
		}
		for name, text := range d.Files {
			at := filepath.Join(to, name)
			ts.Check(os.MkdirAll(filepath.Dir(at), 0o755))
			ts.Check(os.WriteFile(at, []byte(text), 0o600))
		}
	}
}

// macsOf are the MAC addresses of the guests of a node.
func macsOf(sim *pvesim.Sim) string {
	var lines []string
	for _, vmid := range []string{"101", "110", "111", "112", "113", "9000", "9001"} {
		_, body := sim.Do("root@pam", "GET", "/nodes/"+sim.Node()+"/lxc/"+vmid+"/config", nil)
		lines = append(lines, vmid+" "+regexp.MustCompile(`hwaddr=[0-9A-F:]+`).FindString(body)+"\n")
	}
	for _, vmid := range []string{"105", "106"} {
		if status, body := sim.Do("root@pam", "GET", "/nodes/"+sim.Node()+"/qemu/"+vmid+"/config", nil); status == 200 {
			lines = append(lines, vmid+" "+regexp.MustCompile(`virtio=[0-9A-F:]+`).FindString(body)+"\n")
		}
	}
	return strings.Join(lines, "")
}
