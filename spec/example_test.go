package spec_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-agent/spec"
)

func Example() {
	dir, err := os.MkdirTemp("", "desired")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	load := func(yaml string) {
		if err := os.WriteFile(filepath.Join(dir, "pve1.yaml"), []byte(yaml), 0o644); err != nil {
			panic(err)
		}
		d, err := spec.Load(dir)
		if err != nil {
			fmt.Println(err)
			return
		}
		dns := d.Guests["dns"]
		fmt.Println(dns.Ref, dns.VMID, dns.Config.Values["memory"], dns.At("config.memory"))
	}
	load("guests:\n  dns: {vmid: 101, config: {memory: 512MiB}}\n")
	load("guests:\n  dns: {vmid: 101, config: {memroy: 512MB}}\n  web: {vmid: 101}\n")
	// Output:
	// guests/dns 101 512 pve1.yaml:2
	// pve1.yaml:2: guests.dns.config.memroy: unknown key. Did you mean memory?
	// pve1.yaml:3: guests.web.vmid: 101 is also the number of guests/dns (pve1.yaml:2). Every guest has a number of its own.
}
