package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// TestPeople runs the stories in testdata/people: what people at the terminal do, and what others do to the
// node meanwhile, with the real program. Besides the usual commands there are:
//
//	exits CODE PROGRAM ARGS...          runs a program, which must exit with CODE
//	colleague FILE METHOD PATH KEY=VALUE...   a call of anna@pam on a simulated node that nobody runs (blanks in values as +)
//	host FILE COMMAND                   a command of root on its machine
//	later FILE DURATION                 lets its clock go on
//	fault FILE MATCH EFFECT [TEXT]      breaks something there
//	containers FILE N                   makes N containers
//	await FILE REGEXP                   waits until a file that another process writes matches
//	counts FILE N REGEXP                the file matches N times
func TestPeople(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Abs("../../examples/desired")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/people", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLES", examples)
			env.Setenv("STATE_DIRECTORY", filepath.Join(env.WorkDir, "state"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits,
			"colleague": func(ts *testscript.TestScript, _ bool, args []string) {
				params := map[string]string{}
				for _, pair := range args[3:] {
					key, value, _ := strings.Cut(pair, "=")
					params[key] = strings.ReplaceAll(value, "+", " ")
				}
				inWorld(ts, args[0], func(sim *pvesim.Sim) error {
					if status, body := sim.Do("root@pam", args[1], args[2], params); status != 200 {
						return fmt.Errorf("%d %s", status, body)
					}
					sim.Advance(time.Minute)
					return nil
				})
			},
			"host": func(ts *testscript.TestScript, _ bool, args []string) {
				inWorld(ts, args[0], func(sim *pvesim.Sim) error {
					out, err := sim.Shell(sim.Node(), strings.Join(args[1:], " "))
					ts.Logf("%s", out)
					return err
				})
			},
			"later": func(ts *testscript.TestScript, _ bool, args []string) {
				d, err := time.ParseDuration(args[1])
				ts.Check(err)
				inWorld(ts, args[0], func(sim *pvesim.Sim) error { sim.Advance(d); return nil })
			},
			"fault": func(ts *testscript.TestScript, _ bool, args []string) {
				inWorld(ts, args[0], func(sim *pvesim.Sim) error {
					return sim.Inject(pvesim.Fault{Match: args[1], Effect: args[2], Text: strings.Join(args[3:], " ")})
				})
			},
			"containers": func(ts *testscript.TestScript, _ bool, args []string) {
				n, err := strconv.Atoi(args[1])
				ts.Check(err)
				inWorld(ts, args[0], func(sim *pvesim.Sim) error {
					for i := range n {
						status, body := sim.Do("root@pam", "POST", "/nodes/pve1/lxc", map[string]string{
							"vmid": strconv.Itoa(200 + i), "hostname": fmt.Sprintf("ct%d", i), "ostemplate": "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz",
							"rootfs": "local-lvm:1", "unprivileged": "1", "start": strconv.Itoa(i % 2), "memory": strconv.Itoa(256 + 16*i),
							"net0": fmt.Sprintf("name=eth0,bridge=vmbr0,ip=10.0.10.%d/24", 20+i), "tags": "house",
						})
						if status != 200 {
							return fmt.Errorf("%d %s", status, body)
						}
						sim.Advance(time.Minute)
					}
					return nil
				})
			},
			"await": func(ts *testscript.TestScript, _ bool, args []string) {
				pattern := regexp.MustCompile("(?m)" + args[1])
				begin := time.Now()
				for {
					text, _ := os.ReadFile(ts.MkAbs(args[0]))
					if pattern.Match(text) {
						return
					}
					if time.Since(begin) > time.Minute {
						ts.Fatalf("%s never matched %s:\n%s", args[0], args[1], text)
					}
					time.Sleep(5 * time.Millisecond) // another process writes it: there is nothing to wait on
				}
			},
			"counts": func(ts *testscript.TestScript, _ bool, args []string) {
				text, err := os.ReadFile(ts.MkAbs(args[0]))
				ts.Check(err)
				if n := len(regexp.MustCompile("(?m)"+args[2]).FindAll(text, -1)); strconv.Itoa(n) != args[1] {
					ts.Fatalf("%s matches %s %d times, want %s:\n%s", args[0], args[2], n, args[1], text)
				}
			},
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if (strconv.Itoa(code) == args[0]) == neg {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// inWorld changes a simulated node that is kept in a file and that nobody runs.
func inWorld(ts *testscript.TestScript, file string, change func(*pvesim.Sim) error) {
	path := ts.MkAbs(file)
	sim := pvesim.New()
	if text, err := os.ReadFile(path); err == nil {
		sim, err = pvesim.Load(text)
		ts.Check(err)
	}
	ts.Check(change(sim))
	text, err := sim.Save()
	ts.Check(err)
	ts.Check(os.WriteFile(path, text, 0o600))
}
