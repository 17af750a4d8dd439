package recovery

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// A storage that could not be made on a new host must not vanish from the kits: none is written until it is there.
func TestNoKitWithoutAStorageThatIsNamed(t *testing.T) {
	seen := &Seen{Storages: []proxmox.Storage{{ID: "usb"}}, Want: &spec.Desired{
		Backups: map[string]*spec.Backup{"nightly": {Storage: "usb"}},
		Guests:  map[string]*spec.Guest{"dns": {From: []spec.Source{{Newest: "server"}}}},
	}}
	if err := missing(seen); err == nil || !strings.Contains(err.Error(), "storage server does not exist") {
		t.Errorf("without the storage server: %v", err)
	}
	seen.Storages = append(seen.Storages, proxmox.Storage{ID: "server"})
	if err := missing(seen); err != nil {
		t.Errorf("with all storages: %v", err)
	}
}
