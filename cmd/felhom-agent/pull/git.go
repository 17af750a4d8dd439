package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-agent/quote"
)

// The references of the bare repository: what was fetched last, and what is in force.
const (
	incoming = "refs/felhom/incoming"
	inForce  = "refs/felhom/in-force"
)

// patience is how long one call of git may take.
const patience = 5 * time.Minute

// A repository is the bare repository below the state directory. Nothing is ever checked out of it: no hook, filter
// or attribute of its content has a say.
type repository struct {
	dir, home string
	config    Config
}

// git runs git and returns what it prints, at most limit bytes.
func (r repository) git(ctx context.Context, limit int64, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	fixed := []string{"--git-dir=" + r.dir, "-c", "core.hooksPath=/dev/null", "-c", "fetch.fsckObjects=true", "-c", "gc.auto=0",
		"-c", "gpg.format=ssh", "-c", "gpg.program=/bin/false", "-c", "gpg.x509.program=/bin/false", "-c", "http.followRedirects=initial"}
	if r.config.AllowedSigners != "" {
		fixed = append(fixed, "-c", "gpg.ssh.allowedSignersFile="+r.config.AllowedSigners)
	}
	if r.config.Credentials != "" {
		fixed = append(fixed, "-c", "credential.helper=store --file="+r.config.Credentials)
	}
	cmd := exec.CommandContext(ctx, "git", append(fixed, args...)...)
	cmd.Dir = r.home
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it removes its locks then, and ends what it has started
	cmd.WaitDelay = 2 * time.Second                                          // after which it is killed
	// Configuration of the machine or of whoever calls could name programs to run.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.home, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_ALLOW_PROTOCOL=https:ssh:file", "GIT_SSH_COMMAND=ssh -o BatchMode=yes", "GIT_NO_REPLACE_OBJECTS=1"}
	var out, errs limited
	out.limit, errs.limit = limit, 16<<10
	cmd.Stdout, cmd.Stderr = &out, &errs
	switch err := cmd.Run(); {
	case out.cut:
		return nil, fmt.Errorf("git %s prints more than %d bytes", args[0], limit)
	case errors.Is(err, exec.ErrNotFound):
		return nil, errors.New("git is not installed: apt-get install git")
	case ctx.Err() != nil:
		return nil, fmt.Errorf("git %s: %w", args[0], ctx.Err())
	case err != nil:
		return nil, &gitError{args[0], lastLine(errs.String(), err)}
	}
	return out.Bytes(), nil
}

// A gitError is what git says when it fails.
type gitError struct{ verb, text string }

func (e *gitError) Error() string { return "git " + e.verb + ": " + e.text }

// lastLine is what of git's errors is worth showing: the last line, which may come from the other machine.
func lastLine(text string, err error) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines {
		if strings.HasPrefix(line, "fatal: ") {
			lines = []string{line}
			break
		}
	}
	if last := strings.TrimPrefix(lines[len(lines)-1], "fatal: "); last != "" {
		return quote.Line(last[:min(len(last), 300)])
	}
	return err.Error()
}

// limited keeps at most limit bytes.
type limited struct {
	bytes.Buffer
	limit int64
	cut   bool
}

func (l *limited) Write(p []byte) (int, error) {
	if left := l.limit - int64(l.Len()); int64(len(p)) > left {
		l.cut = true
		l.Buffer.Write(p[:max(left, 0)])
		return len(p), nil
	}
	return l.Buffer.Write(p)
}

// open makes the bare repository where there is none.
func (r repository) open(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(r.dir, "HEAD")); err == nil {
		return nil
	}
	_, err := r.git(ctx, 1<<16, "init", "--quiet", "--bare", r.dir)
	return err
}

var commitForm = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// commit resolves a reference; "" where there is none.
func (r repository) commit(ctx context.Context, ref string) (string, error) {
	out, err := r.git(ctx, 1<<10, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	var failed *gitError
	if errors.As(err, &failed) {
		return "", nil
	}
	id := strings.TrimSpace(string(out))
	if err == nil && !commitForm.MatchString(id) {
		return "", fmt.Errorf("git rev-parse prints no commit: %s", quote.Text(id))
	}
	return id, err
}

// fetch brings the branch, and returns its commit.
func (r repository) fetch(ctx context.Context) (string, error) {
	if _, err := r.git(ctx, 1<<20, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--end-of-options",
		r.config.Repository, "+refs/heads/"+r.config.Branch+":"+incoming); err != nil {
		return "", err
	}
	return r.commit(ctx, incoming)
}

// forward reports whether a commit has another one among its ancestors.
func (r repository) forward(ctx context.Context, from, to string) (bool, error) {
	out, err := r.git(ctx, 1<<20, "rev-list", "--count", "--max-count=1", from, "^"+to)
	if failed := (*gitError)(nil); errors.As(err, &failed) { // it knows no such commit
		return false, nil
	}
	return strings.TrimSpace(string(out)) == "0", err
}

// signed reports why the signature of a commit does not count; nil where it does.
func (r repository) signed(ctx context.Context, commit string) error {
	_, err := r.git(ctx, 1<<16, "verify-commit", commit)
	return err
}

// when is a commit's time.
func (r repository) when(ctx context.Context, commit string) (time.Time, error) {
	out, err := r.git(ctx, 1<<10, "show", "--no-patch", "--format=%ct", commit)
	if err != nil {
		return time.Time{}, err
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Unix(seconds, 0), err
}

// A blob is a file of a commit.
type blob struct {
	name string
	id   string
	size int64
}

// What a commit may hold, in all: as much as package spec reads.
const (
	mostFiles = 2000
	mostBytes = 8 << 20
)

// files lists the YAML of a commit's folder, or its one file.
func (r repository) files(ctx context.Context, commit string) ([]blob, error) {
	at := r.config.Folder
	if r.config.Host == "" {
		return r.list(ctx, commit, at)
	}
	found, err := r.list(ctx, commit, filepath.Join(at, r.config.Host))
	if err != nil || len(found) > 0 {
		return found, err
	}
	all, err := r.list(ctx, commit, at)
	for _, b := range all {
		if b.name == r.config.Host+".yaml" || b.name == r.config.Host+".yml" {
			return []blob{b}, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("neither %s/ nor %s.yaml in %s holds a desired state for this host", r.config.Host, r.config.Host, where(at))
	}
	return nil, err
}

func where(folder string) string {
	if folder == "." {
		return "the root of the repository"
	}
	return folder + "/"
}

// list reads one folder of a commit. A link or a submodule that is named as YAML is refused: what stands behind it
// is not in this folder.
func (r repository) list(ctx context.Context, commit, folder string) ([]blob, error) {
	args := []string{"ls-tree", "-l", "-z", "--end-of-options", commit}
	if folder != "." {
		args = append(args, folder+"/")
	}
	out, err := r.git(ctx, mostBytes, args...)
	if err != nil {
		return nil, err
	}
	var found []blob
	var bytes int64
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		facts, full, ok := strings.Cut(entry, "\t")
		name := filepath.Base(full)
		if !ok || strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") {
			continue
		}
		f := strings.Fields(facts) // mode, type, ID, size
		switch {
		case len(f) != 4:
			return nil, fmt.Errorf("git ls-tree prints %s", quote.Text(entry))
		case f[1] == "tree":
			continue
		case f[0] != "100644" && f[0] != "100755":
			return nil, fmt.Errorf("%s is a link or a submodule: expected a regular file", quote.Text(full))
		}
		size, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("git ls-tree prints %s", quote.Text(entry))
		}
		bytes += size
		found = append(found, blob{name, f[2], size})
		if len(found) > mostFiles || bytes > mostBytes {
			return nil, fmt.Errorf("%s has more than %d files or %d MiB of YAML", where(folder), mostFiles, mostBytes>>20)
		}
	}
	return found, nil
}

// write puts files into a new folder.
func (r repository) write(ctx context.Context, dir string, files []blob) error {
	for _, b := range files {
		text, err := r.git(ctx, b.size, "cat-file", "blob", b.id)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(filepath.Join(dir, b.name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, bytes.NewReader(text))
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
