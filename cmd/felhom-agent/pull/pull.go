package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/quote"
)

// keptCommits is how many desired states are kept on disk, the one in force among them.
const keptCommits = 5

// A Puller follows a branch.
type Puller struct {
	Config Config
	State  string // the directory that is this user's alone
	// Check reads a folder of YAML as --check does.
	Check func(folder string) error
	Now   func() time.Time
}

// A RefusedError is a commit that was not taken.
type RefusedError struct{ Commit, Reason, Fix string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("commit %s is refused: %s; the desired state stays as it was\n    fix: %s", source.Short(e.Commit), e.Reason, e.Fix)
}

// Pull fetches once. It returns the commit in force afterwards, and whether it is a new one. A commit that is not
// taken is a *RefusedError. What came of it is written to the note beside the folder in any case.
func (p *Puller) Pull(ctx context.Context) (origin source.Origin, moved bool, err error) {
	if err := os.MkdirAll(filepath.Join(p.State, source.Commits), 0o755); err != nil {
		return origin, false, err
	}
	unlock, err := p.lock()
	if err != nil {
		return origin, false, err
	}
	defer unlock()
	if origin, err = source.ReadOrigin(p.State); err != nil && !errors.Is(err, os.ErrNotExist) {
		return origin, false, err
	}
	before := origin.Commit
	err = p.pull(ctx, &origin)
	origin.Refused, origin.Reason, origin.Fix, origin.Failed = "", "", "", ""
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		origin.Refused, origin.Reason, origin.Fix = refused.Commit, refused.Reason, refused.Fix
	case err != nil:
		origin.Failed = err.Error()
	default:
		origin.Pulled = p.Now().UTC().Truncate(time.Second)
	}
	if origin.Failed == "" {
		origin.FailedSince = time.Time{}
	} else if origin.FailedSince.IsZero() {
		origin.FailedSince = p.Now().UTC().Truncate(time.Second)
	}
	return origin, origin.Commit != before, errors.Join(err, source.WriteOrigin(p.State, origin))
}

// lock keeps two pulls apart: a timer and a person. The lock is the process's, so that no child that is just being
// started holds it on.
func (p *Puller) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(p.State, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		f.Close()
		return nil, fmt.Errorf("another pull is at work in %s: wait for its end", p.State)
	}
	return func() { f.Close() }, nil
}

func (p *Puller) pull(ctx context.Context, origin *source.Origin) error {
	repo := repository{dir: filepath.Join(p.State, "repository.git"), home: p.State, config: p.Config}
	if err := repo.open(ctx); err != nil {
		return err
	}
	commit, err := repo.fetch(ctx)
	switch {
	case err != nil:
		return err
	case commit == "":
		return fmt.Errorf("branch %s of the repository has no commit", p.Config.Branch)
	}
	// What is in force is what the folder holds, whatever a reference says: a kill may have come between the two.
	current := p.current()
	if current == commit {
		origin.Commit = commit
		return nil
	}
	if err := p.admit(ctx, repo, current, commit); err != nil {
		return err
	}
	when, err := repo.when(ctx, commit)
	if err != nil {
		return err
	}
	if err := p.stage(ctx, repo, commit); err != nil {
		return err
	}
	if err := p.swap(commit); err != nil {
		return err
	}
	origin.Commit, origin.Time = commit, when.UTC()
	_, err = repo.git(ctx, 1<<10, "update-ref", inForce, commit) // keeps it from being pruned
	return errors.Join(err, p.tidy(commit))
}

// current is the commit whose folder is in force; "" at first.
func (p *Puller) current() string {
	target, err := os.Readlink(filepath.Join(p.State, source.Folder))
	if id := filepath.Base(target); err == nil && commitForm.MatchString(id) {
		return id
	}
	return ""
}

// admit refuses a commit that is no fast-forward, or whose signature does not count.
func (p *Puller) admit(ctx context.Context, repo repository, current, commit string) error {
	if current != "" {
		forward, err := repo.forward(ctx, current, commit)
		if err != nil {
			return err
		}
		if !forward {
			return &RefusedError{commit, fmt.Sprintf("branch %s was rewritten: %s, which is in force, is not among its ancestors", p.Config.Branch, source.Short(current)),
				fmt.Sprintf("merge %s into the branch; or, to take the new history, remove %s and pull again", source.Short(current), filepath.Join(p.State, source.Folder))}
		}
	}
	if p.Config.AllowedSigners == "" {
		return nil
	}
	var failed *gitError
	if err := repo.signed(ctx, commit); errors.As(err, &failed) {
		return &RefusedError{commit, "its signature is missing or not by one of the allowed signers", "sign it with a key of " + p.Config.AllowedSigners + " (git commit -S), or add the signer there"}
	} else if err != nil {
		return err
	}
	return nil
}

// stage writes a commit's YAML into a folder of its own and checks it there. What is broken is gone again.
func (p *Puller) stage(ctx context.Context, repo repository, commit string) error {
	files, err := repo.files(ctx, commit)
	switch {
	case err != nil:
		return &RefusedError{commit, err.Error(), "correct the repository, or folder and host in git.yaml"}
	case len(files) == 0:
		return &RefusedError{commit, "it has no YAML in " + where(p.Config.Folder), "correct the repository, or folder in git.yaml"}
	}
	commits := filepath.Join(p.State, source.Commits)
	temporary, err := os.MkdirTemp(commits, ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := errors.Join(os.Chmod(temporary, 0o755), repo.write(ctx, temporary, files)); err != nil {
		return err
	}
	if err := p.Check(temporary); err != nil {
		text := strings.ReplaceAll(err.Error(), temporary+"/", "")
		return &RefusedError{commit, "its YAML is invalid: " + strings.TrimSuffix(strings.Join(strings.Fields(quote.Line(text)), " "), "."), "correct it and push again"}
	}
	final := filepath.Join(commits, commit)
	if err := os.RemoveAll(final); err != nil { // left by a pull that was killed before it had swapped
		return err
	}
	return errors.Join(syncFolder(temporary), os.Rename(temporary, final), syncFolder(commits))
}

// swap puts a commit's folder in force: one rename of a link, so that nobody ever sees half of it.
func (p *Puller) swap(commit string) error {
	link := filepath.Join(p.State, source.Folder)
	if info, err := os.Lstat(link); err == nil && info.Mode()&os.ModeSymlink == 0 {
		return fmt.Errorf("%s is not a link of this program: move it away", link)
	}
	temporary := link + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Join(source.Commits, commit), temporary); err != nil {
		return err
	}
	return errors.Join(os.Rename(temporary, link), syncFolder(p.State))
}

// tidy removes all but the newest folders, and never the one in force.
func (p *Puller) tidy(current string) error {
	commits := filepath.Join(p.State, source.Commits)
	entries, err := os.ReadDir(commits)
	if err != nil {
		return err
	}
	age := func(e os.DirEntry) time.Time {
		info, err := e.Info()
		if err != nil || strings.HasPrefix(e.Name(), ".") {
			return time.Time{}
		}
		return info.ModTime()
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Or(age(b).Compare(age(a)), strings.Compare(a.Name(), b.Name())) })
	kept := 0
	for _, e := range entries {
		if kept++; e.Name() == current || kept < keptCommits && !strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := os.RemoveAll(filepath.Join(commits, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
