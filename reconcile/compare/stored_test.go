package compare

import "testing"

// What a lost answer's request has stored is told from what stands there now.
func TestStoredIsWhatWasSent(t *testing.T) {
	tests := []struct {
		key, sent, stored string
		same              bool
	}{
		{"memory", "1024", "1024", true},
		{"memory", "1024", "512", false},
		{"description", "my shop", "my shop\n", true},
		{"description", "my shop", "your shop\n", false},
		{"tags", "Shop;web", "shop;web", true},
		{"net0", "name=eth0,bridge=vmbr0,hwaddr=BE:24:11:00:00:01,ip=dhcp", "name=eth0,bridge=vmbr0,hwaddr=BE:24:11:00:00:01,ip=dhcp,type=veth", true},
		{"net0", "name=eth0,bridge=vmbr0,hwaddr=BE:24:11:00:00:01,ip=dhcp", "name=eth0,bridge=vmbr1,hwaddr=BE:24:11:00:00:01,ip=dhcp,type=veth", false},
		{"mp0", "local-lvm:20,mp=/data,backup=1", "local-lvm:vm-201-disk-1,mp=/data,backup=1,size=20G", true},
		{"mp0", "local-lvm:20,mp=/data,backup=1", "", false},
		{"mp0", "local-lvm:vm-201-disk-1,mp=/data", "local-lvm:vm-201-disk-2,mp=/data,size=20G", false},
		{"mp0", "local-lvm:20,mp=/data,backup=1", "local-lvm:vm-201-disk-1,mp=/data,size=20G", false},
		{"mp0", "/srv/media,mp=/media", "/srv/other,mp=/media", false},
		{"mp0", "/srv/media,mp=/media,ro=1", "/srv/media,mp=/media,ro=1", true},
		{"features", "nesting=1,keyctl=1", "keyctl=1,nesting=1", true},
		{"features", "nesting=1,keyctl=1", "keyctl=1", false},
		{"startup", "order=3,up=30", "order=3,up=30", true},
		{"cpulimit", "0.5", "0.50", true},
	}
	for _, test := range tests {
		if same := SameStored(test.key, test.sent, test.stored); same != test.same {
			t.Errorf("%s: %q stored as %q: %t", test.key, test.sent, test.stored, same)
		}
	}
}
