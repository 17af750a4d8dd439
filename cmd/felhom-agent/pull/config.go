package pull

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/quote"
)

// Files of the packaged timer.
const (
	DefaultConfig = "/etc/felhom-agent/git.yaml"
	DefaultState  = "/var/lib/felhom-desired"
)

// Config is git.yaml.
type Config struct {
	// Repository is where git fetches from: https://…, ssh://…, user@host:path, or an absolute path.
	Repository string `yaml:"repository"`
	// Branch is the branch that is followed; default main.
	Branch string `yaml:"branch"`
	// Folder is the folder in the repository; default its root.
	Folder string `yaml:"folder"`
	// Host, when set, is this node's folder HOST/ or file HOST.yaml below Folder; "auto" is the name of the machine.
	Host string `yaml:"host"`
	// AllowedSigners is a file in the format of ssh-keygen(1), "ALLOWED SIGNERS". When set, or when
	// DefaultSigners exists, a commit must bear a signature of one of them.
	AllowedSigners string `yaml:"allowed-signers"`
	// Credentials is a file in the format of git-credential-store(1), for https://.
	Credentials string `yaml:"credentials"`
}

// DefaultSigners is used where it exists and git.yaml names none.
const DefaultSigners = "/etc/felhom-agent/allowed_signers"

var (
	branchForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)
	hostForm   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	scpForm    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9._/~-]+$`)
	urlForm    = regexp.MustCompile(`^(https|ssh)://([^/@\s]+@)?[A-Za-z0-9.\[][A-Za-z0-9.:\[\]-]*/[^\s]*$`)
	pathForm   = regexp.MustCompile(`^/[A-Za-z0-9._/+-]*$`)
)

// ReadConfig reads git.yaml. An error names the file, what is wrong with it, and what is expected.
func ReadConfig(file string) (Config, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, fmt.Errorf("%s does not exist: write repository: URL into it; see felhom-agent(8), Desired state from git", file)
	}
	if err != nil {
		return Config{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return Config{}, err
	}
	c := Config{Branch: "main", Folder: "."}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("%s: %s", file, quote.Line(strings.TrimPrefix(err.Error(), "yaml: ")))
	}
	if c.Host == "auto" {
		name, err := os.Hostname()
		if err != nil {
			return Config{}, err
		}
		c.Host, _, _ = strings.Cut(name, ".")
	}
	if c.AllowedSigners == "" {
		if _, err := os.Stat(DefaultSigners); err == nil {
			c.AllowedSigners = DefaultSigners
		}
	}
	if err := c.check(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", file, err)
	}
	c.Folder = path.Clean(c.Folder)
	return c, nil
}

// check refuses what git, or the programs that git starts, could take for anything else than a name.
func (c Config) check() error {
	switch {
	case c.Repository == "":
		return errors.New("repository is missing: expected https://HOST/PATH, ssh://HOST/PATH, USER@HOST:PATH or an absolute path")
	case strings.HasPrefix(c.Repository, "https://") && strings.Contains(strings.SplitN(c.Repository, "/", 4)[2], "@"):
		return errors.New("repository holds a login: write it into a file of its own, and name that file under the key credentials")
	case !urlForm.MatchString(c.Repository) && !scpForm.MatchString(c.Repository) && !pathForm.MatchString(c.Repository):
		return errors.New("invalid repository: expected https://HOST/PATH, ssh://HOST/PATH, USER@HOST:PATH or an absolute path")
	case !branchForm.MatchString(c.Branch) || strings.Contains(c.Branch, "..") || strings.HasSuffix(c.Branch, "/") || strings.HasSuffix(c.Branch, ".lock"):
		return fmt.Errorf("invalid branch %s: expected a name such as main", quote.Text(c.Branch))
	case path.IsAbs(c.Folder) || !filepath.IsLocal(c.Folder) || strings.ContainsAny(c.Folder, "\x00\n"):
		return fmt.Errorf("invalid folder %s: expected a folder inside the repository, such as hosts", quote.Text(c.Folder))
	case c.Host != "" && !hostForm.MatchString(c.Host):
		return fmt.Errorf("invalid host %s: expected the name of a host, or auto", quote.Text(c.Host))
	}
	for key, file := range map[string]string{"allowed-signers": c.AllowedSigners, "credentials": c.Credentials} {
		if file != "" && !pathForm.MatchString(file) { // git hands the path to a shell
			return fmt.Errorf("invalid %s %s: expected an absolute path of letters, digits and ._/+-", key, quote.Text(file))
		}
	}
	return nil
}
