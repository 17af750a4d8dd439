package privileged

import "testing"

// BenchmarkChecks is what the checks of an operation cost, all of them and its place in the directory of operations: the last one refuses it, so no program is run.
// At most 5 ms is wanted.
func BenchmarkChecks(b *testing.B) {
	for name, op := range map[string]Op{
		"BindMount":  BindMount(testNode, BindSpec{VMID: 201, Object: "web", Owner: "home", Index: 3, Source: "/mnt/usb/media/none", Mount: "/mnt/usb/media", Target: "/media", Options: map[string]string{"idmap": "u:0:100000:65536"}}),
		"SealGolden": SealGolden(testNode, SealSpec{VMID: 202, Object: "web", Owner: "home"}),
		"PassDevice": PassDevice(testNode, DeviceSpec{VMID: 201, Object: "web", Owner: "home", Index: 3, Path: "/dev/ttyUSB7"}),
	} {
		b.Run(name, func(b *testing.B) {
			box := newBox(b)
			box.Dir = b.TempDir() + "/run"
			for b.Loop() {
				leave, err := (Peer{}).Enter(box.Dir)
				if err != nil {
					b.Fatal(err)
				}
				leave()
				if _, err := box.Do(b.Context(), op, nil); err == nil {
					b.Fatal("it was let through")
				}
			}
		})
	}
}

// BenchmarkSeal is what sealing an ordinary root costs, with the writing and syncing of its two small files.
func BenchmarkSeal(b *testing.B) {
	dir := b.TempDir()
	tree(b, dir, "etc/machine-id", "etc/ssh/ssh_host_rsa_key", "usr/lib/systemd/systemd", "usr/bin/ssh-keygen", "var/lib/dbus/", "var/lib/systemd/")
	for b.Loop() {
		if _, err := NewMachine(dir).SealRootfs(b.Context(), "/"); err != nil {
			b.Fatal(err)
		}
	}
}
