package pull

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/spec"
)

// A home is a repository that people work in, and the node that follows it.
type home struct {
	*testing.T
	work string
	p    *Puller
}

const (
	valid   = "guests:\n  dns: {vmid: 101, config: {cores: 1}}\n"
	invalid = "guests:\n  dns: {vmid: many}\n"
)

func newHome(t *testing.T) *home {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git here: apt-get install git")
	}
	t.Parallel()
	h := &home{T: t, work: t.TempDir()}
	h.git("init", "--quiet", "--initial-branch=main")
	check := func(folder string) error { _, err := spec.Load(folder); return err }
	now := func() time.Time { return time.Date(2026, 11, 22, 18, 2, 0, 0, time.UTC) }
	h.p = &Puller{Config: Config{Repository: h.work, Branch: "main", Folder: "."}, State: filepath.Join(t.TempDir(), "state"), Check: check, Now: now}
	return h
}

// git works in the repository of the people.
func (h *home) git(args ...string) string {
	h.Helper()
	cmd := exec.Command("git", append([]string{"-C", h.work, "-c", "user.name=anna", "-c", "user.email=anna@example.net"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.Fatalf("git %s: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit commits files, by name and text, and returns the commit.
func (h *home) commit(files map[string]string, options ...string) string {
	h.Helper()
	for name, text := range files {
		file := filepath.Join(h.work, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			h.Fatal(err)
		}
	}
	h.git("add", "-A")
	h.git(append([]string{"commit", "--quiet", "--allow-empty", "-m", "a change"}, options...)...)
	return h.git("rev-parse", "HEAD")
}

// take pulls what must be taken.
func (h *home) take() source.Origin {
	h.Helper()
	origin, _, err := h.p.Pull(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	return origin
}

// refuse pulls what must be refused, for a reason with a text in it.
func (h *home) refuse(text string) {
	h.Helper()
	before := h.inForce()
	_, moved, err := h.p.Pull(h.Context())
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), text) || refused.Fix == "" || moved {
		h.Fatalf("moved: %v, %v", moved, err)
	}
	if after := h.inForce(); after != before {
		h.Errorf("in force before\n%s\nafter\n%s", before, after)
	}
	origin, err := source.ReadOrigin(h.p.State)
	if err != nil || origin.Refused != refused.Commit || !strings.Contains(origin.Trouble(), source.Short(refused.Commit)) {
		h.Errorf("the note says %+v, %v", origin, err)
	}
}

// inForce is the text of all files in force, each after its name.
func (h *home) inForce() string {
	var all strings.Builder
	folder := filepath.Join(h.p.State, source.Folder) + "/"
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(folder + e.Name())
		if err != nil {
			h.Fatal(err)
		}
		all.WriteString(e.Name() + ":\n" + string(text))
	}
	return all.String()
}

func TestPull(t *testing.T) {
	h := newHome(t)
	first := h.commit(map[string]string{"home.yaml": valid, "README.md": "ours", "more/else.yaml": invalid})
	if origin := h.take(); origin.Commit != first || origin.Time.IsZero() || origin.Pulled.IsZero() {
		t.Errorf("%+v", origin)
	}
	if have := h.inForce(); have != "home.yaml:\n"+valid {
		t.Errorf("in force is\n%s", have)
	}
	if origin, ok := source.OriginOf(filepath.Join(h.p.State, source.Folder)); !ok || origin.Commit != first || origin.Trouble() != "" {
		t.Errorf("%+v, %v", origin, ok)
	}
	if _, moved, err := h.p.Pull(t.Context()); moved || err != nil {
		t.Errorf("the same once more: %v, %v", moved, err)
	}
	second := h.commit(map[string]string{"home.yaml": strings.Replace(valid, "cores: 1", "cores: 2", 1)})
	if origin, moved, err := h.p.Pull(t.Context()); origin.Commit != second || !moved || err != nil {
		t.Errorf("%+v, %v, %v", origin, moved, err)
	}
}

func TestOnlyFewOldStatesAreKept(t *testing.T) {
	h := newHome(t)
	for range 2 * keptCommits {
		h.commit(map[string]string{"home.yaml": valid})
		h.take()
	}
	entries, err := os.ReadDir(filepath.Join(h.p.State, source.Commits))
	if err != nil || len(entries) > keptCommits || h.inForce() == "" {
		t.Errorf("%d are kept, %v; in force:\n%s", len(entries), err, h.inForce())
	}
}

func TestWhatIsBrokenIsRefused(t *testing.T) {
	h := newHome(t)
	h.commit(map[string]string{"home.yaml": valid})
	h.take()
	h.commit(map[string]string{"home.yaml": invalid})
	h.refuse("home.yaml:2")
	h.refuse("home.yaml:2") // told again, and still not taken
	mended := h.commit(map[string]string{"home.yaml": valid})
	if origin := h.take(); origin.Commit != mended || origin.Refused != "" || origin.Trouble() != "" {
		t.Errorf("%+v", origin)
	}
}

func TestARewrittenBranchIsRefused(t *testing.T) {
	h := newHome(t)
	h.commit(map[string]string{"home.yaml": valid})
	h.commit(map[string]string{"home.yaml": valid})
	h.take()
	h.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "another history")
	h.refuse("was rewritten")
	if err := os.Remove(filepath.Join(h.p.State, source.Folder)); err != nil { // what the fix says
		t.Fatal(err)
	}
	h.take()
}

func TestLinksAreRefused(t *testing.T) {
	h := newHome(t)
	h.commit(map[string]string{"home.yaml": valid})
	h.take()
	if err := os.Symlink("/etc/hostname", filepath.Join(h.work, "other.yaml")); err != nil {
		t.Fatal(err)
	}
	h.commit(nil)
	h.refuse("is a link")
}

func TestAHostsFolderOrFile(t *testing.T) {
	h := newHome(t)
	h.commit(map[string]string{"hosts/pve1/home.yaml": valid, "hosts/pve2.yaml": strings.Replace(valid, "101", "102", 1), "hosts/pve9/README.md": "nothing"})
	h.p.Config.Folder = "hosts"
	for host, want := range map[string]string{"pve1": "home.yaml:\n" + valid, "pve2": "pve2.yaml:\n" + strings.Replace(valid, "101", "102", 1)} {
		p := *h.p
		p.Config.Host, p.State = host, filepath.Join(t.TempDir(), host)
		one := &home{T: t, work: h.work, p: &p}
		if one.take(); one.inForce() != want {
			t.Errorf("%s has\n%s", host, one.inForce())
		}
	}
	h.p.Config.Host = "pve3"
	h.refuse("holds a desired state for this host")
}

func TestSignatures(t *testing.T) {
	h := newHome(t)
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("there is no ssh-keygen here: apt-get install openssh-client")
	}
	dir := t.TempDir()
	for _, name := range []string{"anna", "mallory"} {
		if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	key, err := os.ReadFile(filepath.Join(dir, "anna.pub"))
	signers := filepath.Join(dir, "signers")
	if err := errors.Join(err, os.WriteFile(signers, []byte("anna@example.net "+string(key)), 0o644)); err != nil {
		t.Fatal(err)
	}
	h.p.Config.AllowedSigners = signers
	sign := func(who, text string) string {
		h.git("config", "gpg.format", "ssh")
		h.git("config", "user.signingkey", filepath.Join(dir, who))
		return h.commit(map[string]string{"home.yaml": text}, "-S")
	}
	first := sign("anna", valid)
	if origin := h.take(); origin.Commit != first {
		t.Errorf("%+v", origin)
	}
	h.commit(map[string]string{"home.yaml": valid}, "--no-gpg-sign")
	h.refuse("signature")
	sign("mallory", valid)
	h.refuse("signature")
	last := sign("anna", valid) // she has seen what lies between
	if origin := h.take(); origin.Commit != last {
		t.Errorf("%+v", origin)
	}
}

// Wherever a pull is killed, the next one ends as an undisturbed one.
func TestAKilledPullIsRepeated(t *testing.T) {
	h := newHome(t)
	h.commit(map[string]string{"home.yaml": valid})
	h.take()
	next := h.commit(map[string]string{"home.yaml": strings.Replace(valid, "cores: 1", "cores: 2", 1)})
	left := filepath.Join(h.p.State, source.Commits)
	if err := errors.Join(os.Mkdir(filepath.Join(left, ".new-1"), 0o755), os.Mkdir(filepath.Join(left, next), 0o755), // half written
		os.Symlink("nowhere", filepath.Join(h.p.State, source.Folder+".new"))); err != nil {
		t.Fatal(err)
	}
	if h.take(); !strings.Contains(h.inForce(), "cores: 2") {
		t.Errorf("in force is\n%s", h.inForce())
	}
	if err := os.RemoveAll(filepath.Join(h.p.State, "repository.git")); err != nil { // its loss costs a fetch
		t.Fatal(err)
	}
	if h.take(); !strings.Contains(h.inForce(), "cores: 2") {
		t.Errorf("in force is\n%s", h.inForce())
	}
}

// The note keeps since when the repository is away, and what is in force stays.
func TestARepositoryThatIsAway(t *testing.T) {
	h := newHome(t)
	first := h.commit(map[string]string{"home.yaml": valid})
	h.take()
	h.p.Config.Repository = filepath.Join(h.work, "nowhere")
	origin, moved, err := h.p.Pull(t.Context())
	if err == nil || moved || origin.Failed == "" || origin.FailedSince.IsZero() || origin.Commit != first {
		t.Errorf("%+v, %v, %v", origin, moved, err)
	}
	if !strings.Contains(origin.Trouble(), "cannot be pulled from git since") {
		t.Error(origin.Trouble())
	}
}

func TestConfig(t *testing.T) {
	for text, want := range map[string]string{
		"repository: https://git.example.net/homes.git":             "",
		"repository: git@git.example.net:homes.git\nbranch: prod":   "",
		"repository: ssh://git@git.example.net:2222/homes.git":      "",
		"repository: /srv/git/homes.git\nfolder: hosts\nhost: pve1": "",
		"":                                     "repository is missing",
		"repository: -u/bin/sh":                "invalid repository",
		"repository: ext::sh":                  "invalid repository",
		"repository: http://git.example.net/a": "invalid repository",
		"repository: https://anna:hunter2@git.example.net/a": "holds a login",
		"repository: /a\nbranch: --upload-pack=x":            "invalid branch",
		"repository: /a\nfolder: ../b":                       "invalid folder",
		"repository: /a\nfolder: /b":                         "invalid folder",
		"repository: /a\nhost: ../b":                         "invalid host",
		"repository: /a\ncredentials: '/a b'":                "invalid credentials",
		"repository: /a\nallowed-signers: $(a)":              "invalid allowed-signers",
		"repository: /a\nbranhc: main":                       "branhc",
	} {
		file := filepath.Join(t.TempDir(), "git.yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := ReadConfig(file)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v", text, err)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%q: the error shows the password: %v", text, err)
		}
	}
	if _, err := ReadConfig(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
}

// A git whose time is over, or whose pull is ended, removes its locks: one that stays fails every later pull.
func TestAnEndedGitRemovesItsLocks(t *testing.T) {
	dir := t.TempDir()
	lock, program := filepath.Join(dir, "incoming.lock"), filepath.Join(dir, "git")
	script := "#!/bin/sh\ntrap 'rm -f " + lock + "; exit 1' TERM\n: > " + lock + "\nwhile :; do sleep 0.01; done\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for _, err := os.Stat(lock); err != nil; _, err = os.Stat(lock) {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := (repository{dir: dir, home: dir}).git(ctx, 1<<10, "fetch"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Stat(lock); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its lock is left: %v", err)
	}
}
