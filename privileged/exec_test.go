package privileged

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fakeFence is a program that reads a request and then does what script says.
func fakeFence(t *testing.T, script string) *ExecRunner {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fence")
	if err := os.WriteFile(name, []byte("#!/bin/sh\ncat > "+name+".request\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &ExecRunner{Mode: Direct, Path: name}
}

const accepted = `echo '{"format":1,"accepted":true}'` + "\n"

// What an agent says about a fence that answers badly. None of it hangs, and none of it fills the memory.
func TestBadFences(t *testing.T) {
	op := wholeOps()["Unbind"]
	for name, c := range map[string]struct {
		script string
		says   string
		sent   bool
	}{
		"silent":           {"exit 0", "ended without an answer", false},
		"silent, warning":  {"echo 'cannot do it' >&2; exit 1", "cannot do it", false},
		"half":             {accepted + `printf '{"format":1,"resu'`, "cut off", true},
		"killed":           {accepted + "kill -9 $$", "ended without an answer", true},
		"garbage":          {accepted + `printf 'hello\033[2J\n'`, "cannot be read", true},
		"another version":  {`echo '{"format":2,"result":{}}'`, "speaks format 1", false},
		"no version":       {`echo '{"result":{}}'`, "format 0", false},
		"endless line":     {accepted + `printf '{"format":1,"result":{"output":"'; exec tr '\0' x < /dev/zero`, "longer than 16 MiB", true},
		"endless warnings": {`tr '\0' x < /dev/zero | head -c 50000000 >&2; exit 1`, "xxxx", false},
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		_, err := fakeFence(t, c.script).Do(t.Context(), op, nil)
		runtime.GC()
		runtime.ReadMemStats(&after)
		var lost *UnreachableError
		if !errors.As(err, &lost) || !strings.Contains(err.Error(), c.says) || lost.Sent != c.sent {
			t.Errorf("%s: %T %s", name, err, clip(fmt.Sprint(err), 300))
		}
		if len(fmt.Sprint(err)) > 20<<10 || strings.ContainsAny(fmt.Sprint(err), "\x1b\n") {
			t.Errorf("%s: the error is no line: %q", name, clip(fmt.Sprint(err), 300))
		}
		if after.HeapAlloc > before.HeapAlloc+64<<20 {
			t.Errorf("%s: %d MiB kept", name, (after.HeapAlloc-before.HeapAlloc)>>20)
		}
	}
	if _, err := fakeFence(t, accepted+`echo '{"format":1,"answer":[]}'`).Do(t.Context(), op, nil); err == nil {
		t.Error("an answer was taken for a result")
	}
	if _, err := Mounts(t.Context(), fakeFence(t, accepted+`echo '{"format":1,"result":{}}'`), testNode); err == nil {
		t.Error("a result was taken for an answer")
	}
	if _, err := Mounts(t.Context(), fakeFence(t, accepted+`echo '{"format":1,"answer":{"x":1}}'`), testNode); err == nil || !strings.Contains(err.Error(), "of one version") {
		t.Errorf("an answer of another shape: %v", err)
	}
}

func TestErrorsCrossTheDoor(t *testing.T) {
	op := wholeOps()["Unbind"]
	_, err := fakeFence(t, accepted+`echo '{"format":1,"refused":{"op":"Unbind","arg":"vmid","value":"201","reason":"it is not ours","fix":"Leave it","here":"pve2"}}'`).Do(t.Context(), op, nil)
	var refused *RefusedError
	if !errors.As(err, &refused) || *refused != (RefusedError{Op: "Unbind", Arg: "vmid", Value: "201", Reason: "it is not ours", Fix: "Leave it", Here: "pve2"}) {
		t.Errorf("%#v", err)
	}
	_, err = fakeFence(t, accepted+`printf '%s\n' '{"format":1,"failed":{"op":"Unbind","program":"/usr/sbin/pct","exit":25,"output":"trying\nCT is locked (backup)\n","undone":["it was mounted again"],"unknown":true}}'`).Do(t.Context(), op, nil)
	var failed *FailedError
	if !errors.As(err, &failed) || failed.Exit != 25 || !failed.Unknown || err.Error() != "Unbind failed: /usr/sbin/pct exited with 25: CT is locked (backup); it was mounted again" {
		t.Errorf("%#v", err)
	}
	result, err := fakeFence(t, accepted+`echo '{"format":1,"progress":"one"}'; echo '{"format":1,"result":{"output":"out","notes":["n"],"still_running":"2026-11-22T18:00:00Z"}}'`).Do(t.Context(), op, func(line string) {
		if line != "one" {
			t.Errorf("progress %q", line)
		}
	})
	if err != nil || result.Output != "out" || len(result.Notes) != 1 || !result.StillRunning.Equal(time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v %v", result, err)
	}
}

// The end of a context ends the waiting: of an operation that goes on, of a query with the context's error.
func TestImpatience(t *testing.T) {
	dir := t.TempDir()
	slow := fakeFence(t, accepted+`echo '{"format":1,"progress":"begun"}'; while [ -d `+dir+` ] && [ ! -e `+dir+`/go ]; do sleep 0.02; done; echo '{"format":1,"progress":"late"}'; touch `+dir+`/done`)
	ctx, cancel := context.WithCancel(t.Context())
	result, err := slow.Do(ctx, wholeOps()["Unbind"], func(line string) {
		if line != "begun" {
			t.Errorf("progress after the answer: %q", line)
		}
		cancel()
	})
	if err != nil || result.StillRunning == nil {
		t.Errorf("%+v %v", result, err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Mounts(ctx, slow, testNode); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a query: %v", err)
	}
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for !fileExists(dir + "/done") { // it went on without us
		time.Sleep(10 * time.Millisecond)
	}
}

func fileExists(name string) bool { _, err := os.Stat(name); return err == nil }

// The request as it goes over the door.
func TestRequestText(t *testing.T) {
	runner := fakeFence(t, accepted+`echo '{"format":1,"result":{}}'`)
	if _, err := runner.Do(t.Context(), wholeOps()["RemoveDevice"], nil); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(runner.Path + ".request")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"format":1,"timeout_ms":3600000,"op":{"node":"pve1","name":"RemoveDevice","args":{"index":"0","object":"web","owner":"home","path":"/dev/net/tun","vmid":"201"}}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What is badly formed is refused on this side: nothing is started.
func TestCheckedBeforeItIsSent(t *testing.T) {
	op := wholeOps()["Unbind"]
	op.Args["source"] = "/mnt/a,mp=/etc"
	for _, r := range []Runner{&ExecRunner{Mode: Direct, Path: "/nowhere"}, &SocketRunner{Path: "/nowhere"}} {
		var refused *RefusedError
		if _, err := r.Do(t.Context(), op, nil); !errors.As(err, &refused) || refused.Arg != "source" {
			t.Errorf("%T: %v", r, err)
		}
		if _, err := FolderInfo(t.Context(), r, testNode, "/mnt/x", "../y"); !errors.As(err, &refused) || refused.Arg != "folder" {
			t.Errorf("%T: %v", r, err)
		}
		if _, err := Mounts(t.Context(), r, testNode); !errors.As(err, new(*UnreachableError)) {
			t.Errorf("%T: %v", r, err)
		}
	}
}

// A root helper that ended without an answer is not waited for because of a program that it left behind with its warnings.
func TestFenceLeavesAnotherBehind(t *testing.T) {
	end := filepath.Join(t.TempDir(), "end")
	if err := syscall.Mkfifo(end, 0o600); err != nil {
		t.Fatal(err)
	}
	runner, said := fakeFence(t, "echo 'cannot do it' >&2\n(: <"+end+") >/dev/null &\nexit 1"), make(chan error, 1)
	go func() {
		_, err := runner.Do(t.Context(), wholeOps()["Unbind"], nil)
		said <- err
	}()
	select {
	case err := <-said:
		if err == nil || !strings.Contains(err.Error(), "cannot do it") {
			t.Error(err)
		}
	case <-time.After(time.Minute): // only a hang gets here
		t.Error("it waits for ever")
	}
	if left, err := os.OpenFile(end, os.O_WRONLY, 0); err == nil { // what was left behind ends
		left.Close()
	}
}

// A socket from which nobody takes connections any more, until its queue is full: that is said, and not waited for.
func TestSocketWithoutTaker(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence.sock")
	socket := func() int {
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Close(fd) })
		return fd
	}
	at, listens := &syscall.SockaddrUnix{Name: path}, socket()
	if err := errors.Join(syscall.Bind(listens, at), syscall.Listen(listens, 0)); err != nil {
		t.Fatal(err)
	}
	for syscall.Connect(socket(), at) == nil {
	}
	said := make(chan error, 1)
	go func() {
		_, err := Running(t.Context(), &SocketRunner{Path: path}, testNode)
		said <- err
	}()
	select {
	case err := <-said:
		if unreachable := new(UnreachableError); !errors.As(err, &unreachable) || unreachable.Sent {
			t.Error(err)
		}
	case <-time.After(time.Minute): // only a hang gets here
		t.Fatal("it waits for ever")
	}
}

func TestSudoersFile(t *testing.T) {
	if got, want := Sudoers("felhom-agent"), "felhom-agent ALL=(root) NOPASSWD: /usr/sbin/felhom-fence \"\"\n"; got != want {
		t.Errorf("%q", got)
	}
	if argv := (&ExecRunner{}).argv(); strings.Join(argv, " ") != "/usr/bin/sudo -n /usr/sbin/felhom-fence" {
		t.Errorf("%q", argv)
	}
}

// Serve on a box: the same checks, the same answers, whoever carries the bytes.
func TestServe(t *testing.T) {
	box := newBox(t)
	ask := func(request string) string {
		var out bytes.Buffer
		Serve(t.Context(), box.Local, strings.NewReader(request), &out)
		return out.String()
	}
	if got := ask(`{"format":1,"timeout_ms":60000,"query":{"node":"pve1","name":"Running","args":{}}}`); got != "{\"format\":1,\"accepted\":true}\n{\"format\":1,\"answer\":[]}\n" {
		t.Errorf("%s", got)
	}
	if got := ask(`{"format":1,"timeout_ms":60000,"op":{"node":"pve1","name":"Unbind","args":{"vmid":"201","object":"web","owner":"home","index":"1","source":"/mnt/usb/media/library"}}}`); !strings.HasSuffix(got, "{\"format\":1,\"result\":{}}\n") {
		t.Errorf("%s", got)
	}
	if got := ask(`{"format":1,"timeout_ms":60000,"op":{"node":"pve1","name":"Running","args":{}}}`); !strings.Contains(got, `"refused"`) {
		t.Errorf("a query as an act: %s", got)
	}
	var out bytes.Buffer
	Serve(t.Context(), box.Local, io.MultiReader(strings.NewReader("{"), brokenReader{}), &out)
	if !strings.Contains(out.String(), "could not be read") {
		t.Errorf("%s", out.String())
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// Where the program is missing, the sudoers line would not help.
func TestMissingFenceSaysInstall(t *testing.T) {
	for _, mode := range []Mode{Direct, Sudo} {
		if _, err := os.Stat("/usr/bin/sudo"); mode == Sudo && err != nil {
			t.Log("skipped: there is no sudo")
			continue
		}
		r := &ExecRunner{Mode: mode, Path: filepath.Join(t.TempDir(), "felhom-fence")}
		_, err := Mounts(t.Context(), r, testNode)
		if err == nil || !strings.Contains(err.Error(), "Install the package") || strings.Contains(err.Error(), "sudoers") {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}

// A fence that hangs itself, at a disk that does not answer, ends a look and not the agent.
func TestAQueryIsWaitedForAMinuteAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs, ours := io.Pipe()
		answer, _ := io.Pipe()
		go io.Copy(io.Discard, theirs)
		began := time.Now()
		_, err := exchange(context.Background(), ours, answer, request{Query: &Query{Name: "Disks"}}, nil, func(err error, _ bool) error { return err }, func() {})
		if err == nil || !strings.Contains(err.Error(), "has not answered Disks within 1m0s") || time.Since(began) != queryPatience {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}
