package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // memory is there, and a fifth of the processor time was spent on collecting it
	// Most tests here wait for programs that they have started, so a processor has time for several.
	flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0)))) // -parallel is read later, and wins
	testscript.Main(m, map[string]func(){
		"felhom-agent": main,
		// The same program with a mistake in it, in two places.
		"broken-agent": func() { os.Exit(exit.Guard(func() int { panic("a mistake made on purpose") })) },
		"broken-goroutine": func() {
			os.Exit(exit.Guard(func() int {
				exit.Go(func() { panic("a mistake made on purpose in a goroutine") })
				select {}
			}))
		},
	})
}

// TestScripts runs the stories in testdata/script with the real program, as a user would. Besides the
// usual commands there are:
//
//	exits CODE PROGRAM ARGS...     runs a program, which must exit with CODE
//	world FILE [FAULT...]          puts faults, each as "MATCH=EFFECT[:TEXT]", into a simulated node, which
//	                               is fresh where there is no FILE yet
//	macs FILE TO                   writes the MAC addresses of all guests
//	vms FILE                       a node gets two virtual machines, hass (105) and router (106)
//	root FILE METHOD PATH [K=V...] somebody calls the API of a node as root
//	copy FOLDER TO                 copies a folder; same FOLDER OTHER compares two
//	disk FILE TO                   writes the plain files of the node's disks, such as recovery kits, into a folder
//	holds FOLDER TEXT              a file in the folder has the text
//	alter-template FILE            alters the copy of a template beside the recovery kits of a node
//	alter FOLDER                   alters all recovery kits in a folder
//	fire FILE [bare]               the host burns down and is installed anew; its disks are still there
//	data FILE TO                   writes what every volume holds
//	await FILE REGEXP              waits until a file that another process writes matches
//	serve NAME [WHAT...]           serves a fresh node by HTTPS and sets NAME_URL, NAME_FINGERPRINT and NAME_SECRET.
//	                               WHAT is a privilege that its role lacks, "no-token-acl": the role was not given to
//	                               the token, or "ahead": its clock is two hours off
//	contacts N                     tells how often somebody came to where $TRAP listens; ! contacts 0: at all
func TestScripts(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Abs("../../examples/desired")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLES", examples)
			env.Setenv("STATE_DIRECTORY", filepath.Join(env.WorkDir, "state"))
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			var contacts atomic.Int64
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					contacts.Add(1)
					conn.Close()
				}
			}()
			env.Defer(func() { listener.Close() })
			env.Setenv("TRAP", "https://"+listener.Addr().String())
			env.Values["contacts"] = &contacts
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, errors.New("there is no such condition")
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits,
			"world": func(ts *testscript.TestScript, _ bool, args []string) {
				sim := pvesim.New()
				if text, err := os.ReadFile(ts.MkAbs(args[0])); err == nil {
					sim, err = pvesim.Load(text)
					ts.Check(err)
				}
				for _, arg := range args[1:] {
					match, effect, _ := strings.Cut(arg, "=")
					effect, text, _ := strings.Cut(effect, ":")
					ts.Check(sim.Inject(pvesim.Fault{Match: match, Effect: effect, Text: text}))
				}
				text, err := sim.Save()
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
			},
			"await": func(ts *testscript.TestScript, _ bool, args []string) {
				pattern := regexp.MustCompile("(?m)" + args[1])
				begin := time.Now()
				for {
					text, _ := os.ReadFile(ts.MkAbs(args[0]))
					if pattern.Match(text) {
						ts.Logf("after %s", time.Since(begin).Round(time.Millisecond))
						return
					}
					if time.Since(begin) > time.Minute {
						ts.Fatalf("%s never matched %s:\n%s", args[0], args[1], text)
					}
					time.Sleep(5 * time.Millisecond) // another process writes it: there is nothing to wait on
				}
			},
			"fire": func(ts *testscript.TestScript, _ bool, args []string) {
				sim, err := pvesim.Load([]byte(ts.ReadFile(args[0])))
				ts.Check(err)
				sim.Reinstall()
				if len(args) > 1 {
					sim.Strip()
				}
				if len(args) > 2 {
					sim.Rename(args[2], nil)
				}
				text, err := sim.Save()
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
			},
			"create":         createGuest,
			"root":           asRoot,
			"vms":            twoVMs,
			"put":            putFiles,
			"config":         writeConfig,
			"alter-template": alterTemplate,
			"data": func(ts *testscript.TestScript, _ bool, args []string) {
				sim, err := pvesim.Load([]byte(ts.ReadFile(args[0])))
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(sim.Data()), 0o600))
			},
			"macs": func(ts *testscript.TestScript, _ bool, args []string) {
				sim, err := pvesim.Load([]byte(ts.ReadFile(args[0])))
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(macsOf(sim)), 0o600))
			},
			"copy": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
			},
			"same": func(ts *testscript.TestScript, neg bool, args []string) {
				if out, err := exec.Command("diff", "-r", ts.MkAbs(args[0]), ts.MkAbs(args[1])).CombinedOutput(); (err == nil) == neg {
					ts.Fatalf("%v\n%s", err, out)
				}
			},
			"disk": func(ts *testscript.TestScript, _ bool, args []string) {
				writeDisk(ts, ts.ReadFile(args[0]), ts.MkAbs(args[1]))
			},
			"holds": func(ts *testscript.TestScript, neg bool, args []string) {
				if out, err := exec.Command("grep", "-rF", args[1], ts.MkAbs(args[0])).CombinedOutput(); (err == nil) == neg {
					ts.Fatalf("%v\n%s", err, out)
				}
			},
			"alter": func(ts *testscript.TestScript, _ bool, args []string) {
				all, _ := filepath.Glob(ts.MkAbs(args[0]) + "/felhom-recovery/*/*/kit.json")
				for _, file := range all {
					text, err := os.ReadFile(file)
					ts.Check(err)
					ts.Check(os.WriteFile(file, append(text, ' '), 0o600))
				}
			},
			"serve": serve,
			"contacts": func(ts *testscript.TestScript, neg bool, args []string) {
				if n := ts.Value("contacts").(*atomic.Int64).Load(); (strconv.FormatInt(n, 10) == args[0]) == neg {
					ts.Fatalf("%d contacts", n)
				}
			},
		},
	})
}

// serve is the command of that name.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	sim := pvesim.New()
	now := time.Now()
	if args[len(args)-1] == "ahead" {
		args, now = args[:len(args)-1], now.Add(2*time.Hour)
	}
	change := func(line *regexp.Regexp, to string) {
		text, err := sim.Save()
		ts.Check(err)
		if !line.Match(text) {
			ts.Fatalf("no line of the world matches %s", line)
		}
		sim, err = pvesim.Load(line.ReplaceAll(text, []byte(to)))
		ts.Check(err)
	}
	change(regexp.MustCompile(`(?m)^clock: .*$`), "clock: "+now.Format(time.RFC3339))
	for _, privilege := range args[1:] {
		if privilege == "no-token-acl" {
			change(regexp.MustCompile(`(?m)^ *- path: /\n *type: token\n *id: .*\n *role: .*\n`), "")
			continue
		}
		change(regexp.MustCompile(`(?m)^ *- `+regexp.QuoteMeta(privilege)+`\n`), "")
	}
	sim.SetSpeed(simulated.WorldSpeed)
	sim.SetAuthDelay(0)
	server := httptest.NewTLSServer(sim)
	ts.Defer(server.Close)
	sum := sha256.Sum256(server.Certificate().Raw)
	ts.Setenv(args[0]+"_URL", server.URL)
	ts.Setenv(args[0]+"_FINGERPRINT", hex.EncodeToString(sum[:]))
	ts.Setenv(args[0]+"_SECRET", sim.TokenSecret())
}

// TestVersion builds the program as a release does.
func TestVersion(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "felhom-agent")
	build := exec.Command("go", "build", "-ldflags", "-X github.com/felhom/felhom-agent/cmd/felhom-agent/version.Version=1.2.3-test", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program, "--version").Output()
	if err != nil || !bytes.HasPrefix(out, []byte("felhom-agent 1.2.3-test, commit ")) || !bytes.Contains(out, []byte(", go1.")) {
		t.Errorf("--version printed %q, %v", out, err)
	}
}
