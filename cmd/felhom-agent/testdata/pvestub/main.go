// Pvestub stands in for pvesm, pveum, pveam, pvesh, systemctl and felhom-agent in a chroot: it writes down how it was called, and remembers what it was
// told to create, so that pvesh shows it afterwards.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// state is what the stub remembers.
type state struct {
	Storages  []map[string]string
	Roles     []map[string]string
	Users     []map[string]string
	Tokens    []map[string]string
	ACL       []map[string]string
	Templates []map[string]string
	Units     map[string]bool
}

func main() {
	if filepath.Base(os.Args[0]) == "blkid" { // nothing is on any device
		os.Exit(2)
	}
	s := state{Units: map[string]bool{}}
	if text, err := os.ReadFile("/state.json"); err == nil {
		must(json.Unmarshal(text, &s))
	}
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name != "pvesh" && (name != "systemctl" || args[0] != "is-enabled") {
		log, err := os.OpenFile("/calls", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		must(err)
		fmt.Fprintln(log, name, strings.Join(args, " "))
		must(log.Close())
	}
	code := s.run(name, args)
	text, err := json.Marshal(s)
	must(err)
	must(os.WriteFile("/state.json", text, 0o600))
	must(os.WriteFile("/ended", nil, 0o600))
	os.Exit(code)
}

func (s *state) run(name string, args []string) int {
	switch name + " " + args[0] {
	case "pvesh get":
		return s.get(args[1])
	case "pvesm add":
		if os.Remove("/slow") == nil { // it goes on when it is told to
			must(os.WriteFile("/started", nil, 0o600))
			for _, err := os.Stat("/go"); err != nil; _, err = os.Stat("/go") {
				time.Sleep(5 * time.Millisecond)
			}
		}
		if args[len(args)-1] == "--password" {
			password, err := io.ReadAll(os.Stdin)
			must(err)
			must(os.WriteFile("/password", password, 0o600))
		}
		s.Storages = append(s.Storages, options(args[3:], "type", args[1], "storage", args[2]))
	case "pveum role":
		s.Roles = append(s.Roles, map[string]string{"roleid": args[2], "privs": args[4]})
	case "pveum acl":
		kind := strings.TrimSuffix(strings.TrimPrefix(args[3], "--"), "s")
		s.ACL = append(s.ACL, map[string]string{"path": args[2], "type": kind, "ugid": args[4], "roleid": args[6]})
	case "pveum user":
		if args[1] == "add" {
			s.Users = append(s.Users, map[string]string{"userid": args[2]})
			return 0
		}
		s.Tokens = append(s.Tokens, map[string]string{"tokenid": args[4]})
		fmt.Println(`{"full-tokenid":"` + args[3] + "!" + args[4] + `","value":"5ec2e700-0000-4000-8000-000000000001"}`)
	case "pvesm path":
		fmt.Println("/var/lib/vz/template/cache/" + filepath.Base(args[1]))
	case "pveam download":
		if _, err := os.Stat("/offline"); err == nil {
			fmt.Fprintln(os.Stderr, "Could not resolve host: download.proxmox.com")
			return 255
		}
		s.Templates = append(s.Templates, map[string]string{"volid": args[1] + ":vztmpl/" + args[2]})
	case "systemctl enable":
		s.Units[args[len(args)-1]] = true
	case "systemctl is-enabled":
		if !s.Units[args[1]] {
			return 1
		}
	}
	return 0
}

func options(args []string, more ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		m[strings.TrimPrefix(args[i], "--")] = args[i+1]
	}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

func (s *state) get(path string) int {
	var answer any = []string{}
	switch {
	case path == "/storage":
		answer = s.Storages
	case path == "/access/roles":
		answer = s.Roles
	case path == "/access/users":
		answer = s.Users
	case path == "/access/acl":
		answer = s.ACL
	case strings.HasSuffix(path, "/token"):
		answer = s.Tokens
	case strings.HasSuffix(path, "/content"):
		answer = s.Templates
		files, _ := filepath.Glob("/var/lib/vz/template/cache/*")
		for _, file := range files {
			answer = []map[string]string{{"volid": "local:vztmpl/" + filepath.Base(file)}}
		}
	case strings.HasSuffix(path, "/network"):
		answer = []map[string]string{{"iface": "vmbr0", "type": "bridge"}}
	}
	return map[bool]int{true: 0, false: 1}[json.NewEncoder(os.Stdout).Encode(answer) == nil]
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(70)
	}
}
