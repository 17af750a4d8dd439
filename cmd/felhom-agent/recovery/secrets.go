package recovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/quote"
)

// Secrets are where the secrets of storages come from that no kit has: files, by the name of the storage, and a person.
type Secrets struct {
	Passwords map[string]string // files with a password
	Keys      map[string]string // files with an encryption key
	// Ask asks a person; what is hidden is not shown while it is typed. nil: nobody can be asked.
	Ask func(ctx context.Context, question string, hidden bool) (string, error)
}

// tries are how often a person is asked for one secret.
const tries = 3

var errLeftOut = errors.New("nothing was given")

// check makes sure of the files before anything is changed.
func (s *Secrets) check(k *kit.Kit) error {
	for _, file := range []struct {
		flag  string
		named map[string]string
	}{{"--password-file", s.Passwords}, {"--key-file", s.Keys}} {
		for _, id := range slices.Sorted(maps.Keys(file.named)) {
			i := slices.IndexFunc(k.Storages, func(st kit.Storage) bool { return st.ID == id })
			switch {
			case i < 0:
				return fmt.Errorf("%s: the kit has no storage %q", file.flag, id)
			case !k.Storages[i].NeedsPassword() || file.flag == "--key-file" && k.Storages[i].Key == "":
				return fmt.Errorf("%s: the storage %s needs none", file.flag, id)
			}
			if err := s.read(file.flag, k.Storages[i]); err != nil {
				return fmt.Errorf("%s: %w. Nothing was changed", file.flag, err)
			}
		}
	}
	return nil
}

func (s *Secrets) read(flag string, st kit.Storage) error {
	if flag == "--key-file" {
		return st.CheckKey(s.Keys[st.ID])
	}
	_, err := s.password(context.Background(), st, 1)
	return err
}

// password is the password of a storage.
func (s *Secrets) password(ctx context.Context, st kit.Storage, try int) (password string, err error) {
	switch file := s.Passwords[st.ID]; {
	case file != "":
		password, err = kit.Password(file)
	case s.Ask == nil:
		return "", fmt.Errorf("it needs a password: run --recover again on a terminal, or with --password-file %s=FILE", st.ID)
	default:
		again := ""
		if try > 1 {
			again = ", once more"
		}
		password, err = s.Ask(ctx, fmt.Sprintf("Password of %s for the storage %s%s", quote.Line(user(st)), st.ID, again), true)
	}
	if err == nil && password == "" {
		err = errLeftOut
	}
	quote.Secret(password)
	return password, err
}

// user is with whom a storage logs in.
func user(st kit.Storage) string {
	if name := st.Options["username"]; name != "" {
		return name
	}
	return "root@pam" // PVE: PBSPlugin
}

// key is the file with the encryption key of a storage, checked.
func (s *Secrets) key(ctx context.Context, c *Course, st kit.Storage) (file string, err error) {
	if file := s.Keys[st.ID]; file != "" {
		if file, err = filepath.Abs(file); err == nil {
			err = st.CheckKey(file)
		}
		return file, err
	}
	if s.Ask == nil {
		return "", fmt.Errorf("it needs its encryption key: run --recover again on a terminal, or with --key-file %s=FILE", st.ID)
	}
	for try := 1; ; try++ {
		file, err = s.Ask(ctx, fmt.Sprintf("File with the encryption key of the storage %s (%s)", st.ID, clipKey(st.Key)), false)
		if err == nil && file == "" {
			err = errLeftOut
		}
		if err != nil {
			return "", err
		}
		if file, err = filepath.Abs(file); err == nil {
			err = st.CheckKey(file)
		}
		if err == nil || try == tries {
			return file, err
		}
		fmt.Fprintf(c.Out, "  %s\n", quote.Line(err.Error()))
	}
}

func clipKey(print string) string {
	if len(print) > 23 {
		return print[:23] + "…"
	}
	return "its fingerprint is not known"
}

// logIn creates a storage that needs secrets. They reach pvesm by its standard input and by the name of a file: arguments are shown to everyone on the
// host. A password that does not fit is asked for again. Without the key the storage is not created at all: backups to it would not be encrypted.
func (c *Course) logIn(ctx context.Context, s *Step) error {
	st := *s.Storage
	args := slices.Clone(s.Args)
	if st.Key != "" {
		file, err := c.Secrets.key(ctx, c, st)
		if err != nil {
			return err
		}
		args = append(args, "--encryption-key", file)
	}
	args = append(args, "--password") // without a value pvesm reads a line; PVE: CLI/pvesm.pm, PTY::read_password
	for try := 1; ; try++ {
		password, err := c.Secrets.password(ctx, st, try)
		if err != nil {
			return err
		}
		out, exit, err := c.Host.Feed(ctx, []byte(password+"\n"), s.Program, args...)
		if err != nil || exit == 0 {
			return err
		}
		err = fmt.Errorf("%s exited with %d: %s", s.Program, exit, lastLine(out))
		if c.Secrets.Passwords[st.ID] != "" || try == tries || strings.Contains(string(out), "already defined") {
			return err
		}
		fmt.Fprintf(c.Out, "  %s\n", quote.Line(err.Error()))
	}
}
