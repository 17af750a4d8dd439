package systemd

import (
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// PrintNotify prints the drop-in that opens the network to the services of notify.
const PrintNotify = "felhom-agent --print-setup --notify > /etc/systemd/system/felhom-agent.service.d/notify.conf && systemctl daemon-reload && systemctl restart felhom-agent"

// Filters reports whether the installed unit of the service, with its drop-ins, has the filter. dir is the root of
// the file system, "/" but for tests.
func Filters(dir string) bool {
	deny, allow := filterLists(dir)
	return strings.Contains(deny, "any") && !strings.Contains(allow, "any")
}

// Allows reports whether the installed unit lets the service speak to an address.
func Allows(dir string, to netip.Addr) bool {
	if !Filters(dir) || to.IsLoopback() {
		return true
	}
	_, allow := filterLists(dir)
	for _, word := range strings.Fields(allow) {
		if prefix, err := netip.ParsePrefix(word); err == nil && prefix.Contains(to.Unmap()) {
			return true
		}
		if addr, err := netip.ParseAddr(word); err == nil && addr == to.Unmap() {
			return true
		}
	}
	return false
}

// filterLists are what the unit denies and allows.
func filterLists(dir string) (deny, allow string) {
	const unit = "felhom-agent.service"
	var files []string
	for _, folder := range []string{"usr/lib", "run", "etc"} { // the later one wins
		if whole := filepath.Join(dir, folder, "systemd/system", unit); exists(whole) {
			files = []string{whole}
		}
	}
	dropins := map[string]string{} // by name: that of a later folder hides that of an earlier one
	for _, folder := range []string{"usr/lib", "run", "etc"} {
		paths, _ := filepath.Glob(filepath.Join(dir, folder, "systemd/system", unit+".d", "*.conf"))
		for _, path := range paths {
			dropins[filepath.Base(path)] = path
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dropins)) {
		files = append(files, dropins[name])
	}
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			for key, list := range map[string]*string{"IPAddressDeny=": &deny, "IPAddressAllow=": &allow} {
				if value, ok := strings.CutPrefix(line, key); ok && value == "" {
					*list = ""
				} else if ok {
					*list += " " + value
				}
			}
		}
	}
	return deny, allow
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// shutError says what the unit's filter may have done to a notification.
type shutError struct{ error }

func (e *shutError) Error() string {
	return e.error.Error() + ". The service's unit lets only listed addresses through. fix: " + PrintNotify
}
func (e *shutError) Unwrap() error { return e.error }

// Shut explains an error of a service of notify to which nothing answers, where the installed unit has the filter.
func Shut(err error) error { return shutBy(err, "/") }

func shutBy(err error, dir string) error {
	if err == nil || !silenced(err) || !Filters(dir) {
		return err
	}
	return &shutError{err}
}
