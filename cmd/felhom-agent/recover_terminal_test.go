package main

import (
	"encoding/base64"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A terminal is a pseudo terminal on which a program runs.
type terminal struct {
	t      *testing.T
	master *os.File
	tty    *os.File
	seen   strings.Builder
	at     int // what was on the screen before counts no more
	read   chan string
	end    chan int
}

// onTerminal starts the program on a terminal of its own.
func onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("a pseudo terminal is needed: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("a pseudo terminal is needed: %v", err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("a pseudo terminal is needed: %v", err)
	}
	cmd := exec.Command("felhom-agent", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, master: master, tty: tty, read: make(chan string, 100), end: make(chan int, 1)}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			if n > 0 {
				term.read <- string(b[:n])
			}
			if err != nil {
				close(term.read)
				return
			}
		}
	}()
	go func() {
		cmd.Wait()
		term.end <- cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() { cmd.Process.Kill(); tty.Close(); master.Close() })
	return term
}

// answer waits for a question and types an answer to it; a question that was answered counts no more.
func (s *terminal) answer(question, typed string) {
	s.t.Helper()
	late := time.After(2 * time.Minute)
	for !strings.Contains(s.seen.String()[s.at:], question) {
		select {
		case text, ok := <-s.read:
			if !ok {
				s.t.Fatalf("it ended before it asked %q:\n%s", question, &s.seen)
			}
			s.seen.WriteString(text)
		case code := <-s.end:
			s.end <- code
			s.rest()
			if !strings.Contains(s.seen.String()[s.at:], question) {
				s.t.Fatalf("it ended with %d before it asked %q:\n%s", code, question, &s.seen)
			}
		case <-late:
			s.t.Fatalf("it never asked %q:\n%s", question, &s.seen)
		}
	}
	s.at += strings.Index(s.seen.String()[s.at:], question) + len(question)
	io.WriteString(s.master, typed)
}

// rest reads the rest of what a program that has ended left on the screen.
func (s *terminal) rest() {
	s.tty.Close()
	for text := range s.read {
		s.seen.WriteString(text)
	}
}

// wait is the exit code, and all that was on the screen. The terminal shows again what is typed.
func (s *terminal) wait() (exit int, screen string) {
	s.t.Helper()
	for {
		select {
		case text := <-s.read:
			s.seen.WriteString(text)
		case code := <-s.end:
			modes, err := unix.IoctlGetTermios(int(s.tty.Fd()), unix.TCGETS)
			if err != nil || modes.Lflag&unix.ECHO == 0 {
				s.t.Errorf("the terminal no longer shows what is typed: %v", err)
			}
			s.rest()
			return code, s.seen.String()
		}
	}
}

const (
	offsitePassword = "hunter2-hunter2"
	offsiteYAML     = `mounts:
  backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, from: {newest: usb-backup}}
backups:
  nightly: {guests: all, storage: usb-backup, every: 24h, keep: 3}
  away: {guests: all, storage: offsite, every: 24h, keep: server}
`
)

// offsiteKey is an encryption key whose bytes count up from a first one.
func offsiteKey(first byte) (file string) {
	data := make([]byte, 32)
	for i := range data {
		data[i] = first + byte(i)
	}
	return `{"kdf":null,"data":"` + base64.StdEncoding.EncodeToString(data) + `"`
}

// lostNode is a node on which Proxmox VE has just been installed again; its guest was backed up to a disk, and to a backup server with a password and a key.
func lostNode(t *testing.T) (world string) {
	t.Helper()
	dir := t.TempDir()
	world = filepath.Join(dir, "node.yaml")
	save := func(sim *pvesim.Sim) {
		text, err := sim.Save()
		if err == nil {
			err = os.WriteFile(world, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	sim := pvesim.New()
	sim.AddDatastore("192.0.2.9", "home", 1<<40, map[string]string{"felhom@pbs!pve1": "DatastoreBackup"}).SetPassword(offsitePassword)
	if status, body := sim.Do("root@pam", "POST", "/storage", map[string]string{"type": "pbs", "storage": "offsite", "server": "192.0.2.9", "datastore": "home",
		"username": "felhom@pbs!pve1", "content": "backup", "prune-backups": "keep-all=1", "encryption-key": keyPrintOf}); status != 200 {
		t.Fatal(status, body)
	}
	save(sim)
	desired := filepath.Join(dir, "desired.yaml")
	os.WriteFile(desired, []byte(offsiteYAML), 0o644)
	once, err := parse([]string{"--simulate=" + world, "--once", desired})
	if err != nil {
		t.Fatal(err)
	}
	if code, err := runOnce(t.Context(), once, &console.Console{Stdout: io.Discard, Stderr: io.Discard}); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	text, _ := os.ReadFile(world)
	if sim, err = pvesim.Load(text); err != nil {
		t.Fatal(err)
	}
	sim.Reinstall()
	sim.Strip()
	save(sim)
	os.RemoveAll(world + ".state")
	return world
}

// keyPrintOf is the fingerprint of the key that begins with 0.
const keyPrintOf = "0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b"

// storageOf is a storage of a node, as JSON; "" where there is none.
func storageOf(t *testing.T, world, id string) string {
	t.Helper()
	text, _ := os.ReadFile(world)
	sim, err := pvesim.Load(text)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := sim.Do("root@pam", "GET", "/storage/"+id, nil); status == 200 {
		return body
	}
	return ""
}

// A person on a terminal is asked before anything changes, and for the password and the key of a backup server. What is typed as a password is on no
// screen and in no file; a wrong one is asked for again, and an interrupt leaves everything as it is.
func TestRecoverOnATerminal(t *testing.T) {
	t.Parallel()
	world := lostNode(t)
	burnt := setUp(t, world)
	untouched := func(why string) {
		t.Helper()
		if now := setUp(t, world); now != burnt {
			t.Errorf("%s: the node is\n%s", why, now)
		}
		if _, err := os.Stat(world + ".etc"); err == nil {
			t.Errorf("%s: files were written", why)
		}
	}
	dir := t.TempDir()
	key, other := filepath.Join(dir, "key.json"), filepath.Join(dir, "other.json")
	os.WriteFile(key, []byte(offsiteKey(0)+`,"fingerprint":"`+keyPrintOf+`"}`), 0o600)
	os.WriteFile(other, []byte(offsiteKey(1)+"}"), 0o600)
	password := filepath.Join(dir, "password")
	os.WriteFile(password, []byte(offsitePassword+"\n"), 0o600)
	const steps, guests, asksKey, asksPassword = "Carry out these steps? Only yes is taken as yes: ", "Bring the guests back? Only yes is taken as yes: ",
		"File with the encryption key of the storage offsite (0e:ab:d4:46:0b:6e:b9:ca…), empty to go on without it: ",
		"Password of felhom@pbs!pve1 for the storage offsite (it is not shown), empty to go on without it: "

	for _, no := range []string{"no\n", "y\n", "YES\n", "\n", "\x04"} {
		s := onTerminal(t, "--recover", "--simulate="+world)
		s.answer(steps, no)
		if code, screen := s.wait(); code != 1 {
			t.Fatalf("after %q: exit code %d\n%s", no, code, screen)
		}
		untouched("after " + no)
	}
	s := onTerminal(t, "--recover", "--simulate="+world)
	s.answer(steps, "\x03")
	if code, screen := s.wait(); code != 130 {
		t.Fatalf("after an interrupt: exit code %d\n%s", code, screen)
	}
	untouched("after an interrupt")
	refused := onTerminal(t, "--recover", "--yes", "--password-file", "offsite="+password, "--key-file", "offsite="+other, "--simulate="+world)
	if code, screen := refused.wait(); code != 1 || !strings.Contains(screen, "is another key") || !strings.Contains(screen, "Nothing was changed") {
		t.Fatalf("with the file of another key: exit code %d\n%s", code, screen)
	}
	untouched("with the file of another key")

	s = onTerminal(t, "--recover", "--simulate="+world)
	s.answer(steps, "yes\n")
	s.answer(asksKey, key+"\n")
	s.answer(asksPassword, "\x03")
	if code, screen := s.wait(); code != 130 || storageOf(t, world, "offsite") != "" {
		t.Fatalf("an interrupt while it asks for the password: exit code %d\n%s", code, screen)
	}

	s = onTerminal(t, "--recover", "--simulate="+world)
	s.answer(steps, "yes\n")
	s.answer(asksKey, other+"\n")
	s.answer("is another key", "")
	s.answer(asksKey, key+"\n")
	s.answer(asksPassword, "correct-horse\n")
	s.answer("401 Unauthorized", "")
	s.answer("Password of felhom@pbs!pve1 for the storage offsite, once more", offsitePassword+"\n")
	s.answer(guests, "no\n")
	code, screen := s.wait()
	if code != 1 || strings.Contains(screen, offsitePassword) || strings.Contains(screen, "correct-horse") {
		t.Errorf("exit code %d, or a password is on the screen:\n%s", code, screen)
	}
	if at := storageOf(t, world, "offsite"); !strings.Contains(at, keyPrintOf) {
		t.Errorf("the storage is %s", at)
	}
	if out, err := exec.Command("grep", "-rlE", offsitePassword+"|correct-horse|AAECAwQFBgc", world+".etc", world+".state").CombinedOutput(); len(out) > 0 {
		t.Errorf("a secret is in %s (%v)", out, err)
	}
	if text, _ := os.ReadFile(world); strings.Contains(string(text), "AAECAwQFBgc") || strings.Contains(string(text), "correct-horse") {
		t.Error("a secret is in the files of the node")
	}
	s = onTerminal(t, "--recover", "--simulate="+world)
	s.answer(guests, "yes\n")
	if code, screen := s.wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, screen)
	}
}

// Scripts name files. Without them the storage is left out and named, and the guests of other storages come back.
func TestRecoverWithoutATerminal(t *testing.T) {
	t.Parallel()
	world := lostNode(t)
	burnt, _ := os.ReadFile(world)
	dir := t.TempDir()
	key, password := filepath.Join(dir, "key.json"), filepath.Join(dir, "password")
	os.WriteFile(key, []byte(offsiteKey(0)+"}"), 0o600)
	os.WriteFile(password, []byte(offsitePassword), 0o600)
	out, err := exec.Command("felhom-agent", "--recover", "--yes", "--simulate="+world).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--key-file offsite=FILE") || !strings.Contains(string(out), "dns    101   back") || storageOf(t, world, "offsite") != "" {
		t.Fatalf("%v\n%s", err, out)
	}
	os.WriteFile(world, burnt, 0o600)
	os.RemoveAll(world + ".etc")
	os.RemoveAll(world + ".state")
	out, err = exec.Command("felhom-agent", "--recover", "--yes", "--password-file", "offsite="+password, "--key-file", "offsite="+key, "--simulate="+world).CombinedOutput()
	if err != nil || storageOf(t, world, "offsite") == "" || strings.Contains(string(out), offsitePassword) {
		t.Fatalf("%v\n%s", err, out)
	}
	for flag, why := range map[string]string{"--password-file=usb-backup=" + password: "needs none", "--key-file=shop=" + key: `has no storage "shop"`, "--password-file=" + password: "expected STORAGE=FILE"} {
		out, err := exec.Command("felhom-agent", "--recover", "--yes", flag, "--simulate="+world).CombinedOutput()
		if err == nil || !strings.Contains(string(out), why) {
			t.Errorf("%s: %v\n%s", flag, err, out)
		}
	}
}
