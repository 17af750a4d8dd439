package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/felhom/felhom-agent/quote"
)

// Names below the directory of the timer that pulls from git.
const (
	Folder  = "desired" // a link to the folder in force
	Commits = "commits" // one folder per commit

	originFile = "status.json"
)

// An Origin is what is known of the commit that a desired state is. Its file is written by another, less trusted
// user: it decides nothing, it is only shown.
type Origin struct {
	Format int       `json:"format"` // of this document: 1
	Commit string    `json:"commit"`
	Time   time.Time `json:"time,omitzero"`   // of the commit
	Pulled time.Time `json:"pulled,omitzero"` // the last pull that ended well

	// Refused is a newer commit that was not taken; Reason and Fix say why.
	Refused string `json:"refused,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Fix     string `json:"fix,omitempty"`
	// Failed is why the repository could not be fetched, since FailedSince.
	Failed      string    `json:"failed,omitempty"`
	FailedSince time.Time `json:"failed_since,omitzero"`
}

// Short is how a commit is shown: its first 12 digits.
func Short(commit string) string { return commit[:min(12, len(commit))] }

// String is the commit and its time, as in "commit 0a1b2c3d4e5f of 22 Nov 2026 18:02".
func (o Origin) String() string {
	if o.Time.IsZero() {
		return "commit " + Short(o.Commit)
	}
	return fmt.Sprintf("commit %s of %s", Short(o.Commit), o.Time.Local().Format("2 Jan 2006 15:04"))
}

// Trouble is what a person should know of it, in one line; "" for nothing.
func (o Origin) Trouble() string {
	switch {
	case o.Refused != "":
		return fmt.Sprintf("commit %s of the desired state is refused: %s. fix: %s", Short(o.Refused), o.Reason, o.Fix)
	case o.Failed != "":
		return fmt.Sprintf("the desired state cannot be pulled from git since %s: %s", o.FailedSince.Local().Format("2 Jan 15:04"), o.Failed)
	}
	return ""
}

var commitFolder = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// OriginOf returns what is known of the commit that PATH is, through whatever links; false where PATH is no folder
// that was pulled from git.
func OriginOf(path string) (Origin, bool) {
	folder, err := filepath.EvalSymlinks(path)
	if err != nil || !commitFolder.MatchString(filepath.Base(folder)) || filepath.Base(filepath.Dir(folder)) != Commits {
		return Origin{}, false
	}
	origin, err := ReadOrigin(filepath.Dir(filepath.Dir(folder)))
	if err != nil {
		origin = Origin{Failed: err.Error()}
	}
	if commit := filepath.Base(folder); origin.Commit != commit { // the folder is what counts
		origin.Commit, origin.Time = commit, time.Time{}
	}
	return origin, true
}

// ReadOrigin reads the note in the timer's directory; os.ErrNotExist before the first pull.
func ReadOrigin(dir string) (o Origin, err error) {
	file := filepath.Join(dir, originFile)
	info, err := os.Lstat(file)
	switch {
	case err != nil:
		return o, err
	case !info.Mode().IsRegular():
		return o, fmt.Errorf("%s is not a regular file: remove it", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return o, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil || o.Format != 1 {
		return Origin{}, fmt.Errorf("%s is damaged: remove it; the next pull writes it again", file)
	}
	for _, text := range []*string{&o.Commit, &o.Refused, &o.Reason, &o.Fix, &o.Failed} {
		*text = quote.Line((*text)[:min(len(*text), 2000)])
	}
	return o, nil
}

// WriteOrigin writes the note, whole or not at all.
func WriteOrigin(dir string, o Origin) error {
	o.Format = 1
	text, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+originFile+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, originFile))
}
