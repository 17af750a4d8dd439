package privileged

import (
	"crypto/sha512"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const debianTemplate = "debian-13-standard_13.1-1_amd64.tar.zst"

// keepsTemplate has a copy of a template made. box has the program that says where it is.
func (b testBox) keepsTemplate(t *testing.T, sum string) error {
	t.Helper()
	_, err := b.Do(t.Context(), KeepTemplate(testNode, TemplateSpec{Name: "media", Path: "/mnt/usb/media", Mounted: true, Template: "local:vztmpl/" + debianTemplate, SHA512: sum}), nil)
	return err
}

// A template is copied once, whole, by where PVE says that it is; what is no regular file, has another hash or is somewhere else is refused by name.
func TestTemplateBesideTheKits(t *testing.T) {
	const at = "/var/lib/vz/template/cache/"
	text := strings.Repeat("a template\n", 1000)
	sum := sha512.Sum512([]byte(text))
	right := hex.EncodeToString(sum[:])
	for name, c := range map[string]struct{ says, set, sum, want string }{
		"the template":          {at + debianTemplate, "", right, ""},
		"without a hash":        {at + debianTemplate, "", "", ""},
		"half a copy":           {at + debianTemplate, `mkdir -p mnt/usb/media/felhom-recovery/` + testNode + `/templates && echo half >mnt/usb/media/felhom-recovery/` + testNode + `/templates/.` + debianTemplate, right, ""},
		"another hash":          {at + debianTemplate, "", strings.Repeat("0", 128), "SHA-512"},
		"a link":                {at + debianTemplate, "cd ." + at + " && mv * x && ln -s x " + debianTemplate, right, "not a regular file"},
		"a pipe":                {at + debianTemplate, "cd ." + at + " && rm * && mkfifo " + debianTemplate, right, "not a regular file"},
		"a linked folder":       {at + debianTemplate, "mv var/lib/vz var/lib/vy && ln -s vy var/lib/vz", right, "cannot copy"},
		"another file":          {"/etc/shadow", "", right, "does not say where"},
		"a path upwards":        {at + "../../" + debianTemplate, "", right, "does not say where"},
		"no path":               {debianTemplate, "", right, "does not say where"},
		"two lines":             {"/etc/shadow\n" + at + debianTemplate, "", right, "does not say where"},
		"a link on the disk":    {at + debianTemplate, "ln -s /etc mnt/usb/media/felhom-recovery", right, "not a folder"},
		"a link below the kits": {at + debianTemplate, "mkdir -p mnt/usb/media/felhom-recovery/" + testNode + " && ln -s ../../../../../outside mnt/usb/media/felhom-recovery/" + testNode + "/templates", right, "not a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			box := newBox(t)
			os.MkdirAll(box.root+"/outside", 0o755)
			box.write(at+debianTemplate, text, 0o644)
			box.program("/usr/sbin/pvesm", "printf '%s\\n' '"+c.says+"'")
			if out, err := exec.Command("sh", "-c", `cd "$1" && `+c.set, "sh", box.root).CombinedOutput(); c.set != "" && err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			err := box.keepsTemplate(t, c.sum)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v", err)
			}
			copies, _ := filepath.Glob(box.root + "/mnt/usb/media/felhom-recovery/" + testNode + "/templates/*debian*")
			hidden, _ := filepath.Glob(box.root + "/mnt/usb/media/felhom-recovery/" + testNode + "/templates/.*debian*")
			outside, _ := os.ReadDir(box.root + "/outside")
			if len(hidden)+len(outside) > 0 || len(copies) != map[bool]int{true: 1, false: 0}[c.want == ""] {
				t.Errorf("left: %q %q %v", copies, hidden, outside)
			}
			if c.want != "" {
				return
			}
			before, _ := os.Stat(copies[0])
			if have, _ := os.ReadFile(copies[0]); string(have) != text {
				t.Error("the copy is another file")
			}
			if err := box.keepsTemplate(t, c.sum); err != nil {
				t.Error(err)
			}
			if after, _ := os.Stat(copies[0]); !os.SameFile(before, after) {
				t.Error("it was copied once more")
			}
		})
	}
	box := newBox(t)
	box.write(at+debianTemplate, text, 0o644)
	if err := NewMachine(box.root).KeepTemplate("/mnt/usb/media", testNode, at+debianTemplate, "", 100); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a file that is too large: %v", err)
	}
}
