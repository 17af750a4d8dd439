package lxcconf_test

import (
	"testing"

	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
)

// FuzzParseConfig: what is read is written again in one form, and reading that changes nothing.
func FuzzParseConfig(f *testing.F) {
	f.Add("arch: amd64\ncores: 1\nfeatures: nesting=1\nnet0: name=eth0,bridge=vmbr0,ip=dhcp,type=veth\nrootfs: local-lvm:vm-101-disk-0,size=4G\n")
	f.Add("#a%3A b\n#%zz\nmemory: 12\n\n[pve:pending]\ndelete: mp0,net1\nnameserver: 1.1.1.1\n\n[snap]\nsnaptime: 1\nlxc.cap.drop: x\n")
	f.Fuzz(func(t *testing.T, text string) {
		once := lxcconf.Parse(text).Text()
		if again := lxcconf.Parse(once).Text(); again != once {
			t.Errorf("read again:\n%q\nwant\n%q", again, once)
		}
	})
}
