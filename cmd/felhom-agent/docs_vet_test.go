package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// onHosts are the programs of a Proxmox VE host that the documents use, and the words that may come first.
var onHosts = map[string][]string{
	"apt": {"install", "remove", "purge"}, "install": nil, "journalctl": nil, "ln": nil, "mkdir": nil, "man": nil, "rm": nil, "ssh": nil,
	"pct": {"destroy", "unlock", "reboot", "set"}, "pveam": {"download", "list"}, "pvenode": {"cert"}, "pvesm": {"set", "add", "free"},
	"pveum":     {"role", "user", "acl", "pool"},
	"systemctl": {"enable", "disable", "restart", "status", "reload", "daemon-reload"},
	"blkid":     nil, "mv": nil, "cp": nil, "chmod": nil,
}

var (
	unit      = regexp.MustCompile(`\bfelhom-[a-z]+(@?\.(?:service|socket))`)
	installed = regexp.MustCompile(`/usr/(?:s?bin|share|lib)/[A-Za-z0-9/._-]+`)
	packages  = regexp.MustCompile(`\./(?:\.\.\.|[a-z][a-z/-]*(?:/\.\.\.)?)`)
	tests     = regexp.MustCompile(`-(?:run|bench) '?([A-Za-z|]+)`)
)

// vet checks what is to be run on a real host or in a clone as far as that is possible here: that the shell
// understands it, and that the programs, units, files, packages and tests that it names exist.
func vet(place, command string) error {
	if out, err := exec.Command("bash", "-n", "-c", command).CombinedOutput(); err != nil {
		return fmt.Errorf("bash: %s", out)
	}
	for _, part := range regexp.MustCompile(`&&|\||;`).Split(regexp.MustCompile(`'[^']*'`).ReplaceAllString(command, "X"), -1) {
		words := strings.Fields(part)
		for len(words) > 0 && strings.Contains(words[0], "=") {
			words = words[1:]
		}
		if len(words) == 0 || words[0] == "felhom-agent" || words[0] == "pvesim" {
			continue
		}
		if err := vetProgram(place, words); err != nil {
			return err
		}
	}
	return vetFiles(command)
}

func vetProgram(place string, words []string) error {
	if place == "repo" {
		if words[0] == "git" || strings.HasPrefix(words[0], "cmd/") || strings.HasPrefix(words[0], ".ci/") || strings.HasPrefix(words[0], "docs/") {
			if _, err := os.Stat(filepath.Join(root, words[0])); words[0] != "git" && err != nil {
				return err
			}
			return nil
		}
		if words[0] != "go" {
			return fmt.Errorf("%s is not a program of a clone", words[0])
		}
		return vetGo(strings.Join(words, " "))
	}
	first, known := onHosts[words[0]]
	switch {
	case !known:
		return fmt.Errorf("%s is not a program of a host that the documents use", words[0])
	case first != nil && (len(words) < 2 || !slices.Contains(first, words[1])):
		return fmt.Errorf("%s does not begin with one of %v", words[0], first)
	}
	return nil
}

// vetGo checks that packages and tests exist.
func vetGo(command string) error {
	for _, pattern := range packages.FindAllString(command, -1) {
		dir, _, _ := strings.Cut(pattern, "...")
		if info, err := os.Stat(filepath.Join(root, dir)); err != nil || !info.IsDir() {
			return fmt.Errorf("there is no package %s", pattern)
		}
	}
	all := tests.FindAllStringSubmatch(command, -1)
	if len(all) == 0 {
		return nil
	}
	m, found := all[len(all)-1], false // benchmarks stand last, behind tests that there are none of
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || found || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		found = regexp.MustCompile(`(?m)^func (Test|Fuzz|Benchmark)?\w*(` + m[1] + `)`).Match(text)
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("there is no test %s", m[1])
	}
	return err
}

// vetFiles checks that units and files are in the package.
func vetFiles(command string) error {
	list, err := os.ReadFile("packaging/nfpm.yaml")
	if err != nil {
		return err
	}
	for _, name := range unit.FindAllString(command, -1) {
		if _, err := os.Stat(filepath.Join("packaging", name)); err != nil {
			return errors.New("there is no unit " + name)
		}
	}
	for _, name := range installed.FindAllString(command, -1) {
		if strings.HasPrefix(name, "/usr/share/felhom-agent") && !strings.Contains(string(list), "dst: "+name) {
			return errors.New("the package has no " + name)
		}
	}
	return nil
}

// TestVet holds that vetting finds mistakes.
func TestVet(t *testing.T) {
	for command, fine := range map[string]bool{
		"systemctl enable --now felhom-fence.socket": true, "systemctl enable --now felhom-fences.socket": false, "systemctl enable 'x": false,
		"systemctl enabel felhom-agent": false, "rmdir /": false, "ln -s /usr/share/felhom-agent/remote.conf /etc": true, "ln -s /usr/share/felhom-agent/remotes.conf /etc": false,
	} {
		if err := vet("host", command); (err == nil) != fine {
			t.Errorf("%s: %v", command, err)
		}
	}
	for command, fine := range map[string]bool{
		"go test ./spec -run TestSchema": true, "go test ./specs": false, "go test ./spec -run TestScheme": false, ".ci/run": true, "make": false,
	} {
		if err := vet("repo", command); (err == nil) != fine {
			t.Errorf("%s: %v", command, err)
		}
	}
}

var inline = regexp.MustCompile("`([a-z]+(?:-[a-z]+)? [^`]*)`")

// TestCommandsInProse holds that commands within sentences and tables are ones that a host knows.
func TestCommandsInProse(t *testing.T) {
	found := 0
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inline.FindAllStringSubmatch(string(text), -1) {
			if _, known := onHosts[strings.Fields(m[1])[0]]; !known {
				continue
			}
			found++
			if err := vet("host", m[1]); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(file), m[1], err)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d commands were found", found)
	}
}

// TestLinks holds that what a document links to exists, with its heading.
func TestLinks(t *testing.T) {
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`).FindAllStringSubmatch(string(text), -1) {
			target := file
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(file), m[1])
			}
			there, err := os.ReadFile(target)
			if info, e := os.Stat(target); e == nil && info.IsDir() {
				err = nil
			}
			if err != nil {
				t.Errorf("%s: %v", filepath.Base(file), err)
			} else if m[2] != "" && !slices.Contains(anchors(string(there)), m[2]) {
				t.Errorf("%s: %s has no heading #%s", filepath.Base(file), filepath.Base(target), m[2])
			}
		}
	}
}

// anchors are the names of headings in links, as GitHub makes them.
func anchors(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}
