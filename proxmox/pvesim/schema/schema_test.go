package schema_test

import (
	"fmt"
	"testing"

	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
)

// FuzzPropertyStrings: what is printed parses to the same.
func FuzzPropertyStrings(f *testing.F) {
	f.Add("name=eth0,bridge=vmbr0,ip=dhcp,firewall=yes")
	f.Add("local-lvm:vm-1-disk-0,mp=/x,size=1G")
	f.Fuzz(func(t *testing.T, text string) {
		for _, sc := range []*schema.Schema{schema.Net, schema.MountPoint, schema.RootFS, schema.Features, schema.Device} {
			p, err := sc.Parse(text, "")
			if err != nil {
				continue
			}
			out := sc.Text(p)
			q, err := sc.Parse(out, "")
			if err != nil || fmt.Sprint(p) != fmt.Sprint(q) {
				t.Errorf("%q prints as %q, which is %v, %v", text, out, q, err)
			}
		}
	})
}
