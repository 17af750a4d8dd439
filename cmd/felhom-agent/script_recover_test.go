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
			log := "2026-11-22 18:02:10 INFO: CT Name: " + regexp.MustCompile(`hostname: (.*)`).FindStringSubmatch(v.Config)[1] + "\n"
			for _, p := range v.Parts {
				log += fmt.Sprintf("2026-11-22 18:02:10 INFO: including mount point %s ('%s') in backup\n", p.MP, p.Path)
			}
			ts.Check(errors.Join(os.WriteFile(at, nil, 0o600), os.Truncate(at, v.Size), os.WriteFile(at+".notes", []byte(v.Notes), 0o600),
				os.WriteFile(strings.TrimSuffix(at, ".tar.zst")+".log", []byte(log), 0o600)))
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
	return strings.Join(lines, "")
}
