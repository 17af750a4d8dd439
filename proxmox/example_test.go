package proxmox_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// Take a snapshot, wait until it is there, and look at it. For a real node,
// give URL and Fingerprint instead of Transport.
func Example() {
	sim := pvesim.New()
	sim.SetSpeed(1000)
	token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	if err != nil {
		log.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Transport: sim, Token: token})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()

	call := proxmox.On("pve1").Snapshot(101, "before-upgrade", "taken by hand")
	fmt.Println(call)
	upid, err := client.Do(ctx, call)
	if err != nil {
		log.Fatal(err)
	}
	status, err := client.WaitTask(ctx, upid, proxmox.WaitOptions{Interval: 5 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(upid.Type, upid.ID, status.ExitStatus)

	list, err := client.Read().Snapshots(ctx, "pve1", 101)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range list.Snapshots {
		fmt.Printf("%s: %s\n", s.Name, s.Description)
	}

	upid, err = client.Snapshot(ctx, "pve1", 101, "before-upgrade", "once more")
	if err != nil {
		log.Fatal(err) // PVE says nothing yet
	}
	_, err = client.WaitTask(ctx, upid, proxmox.WaitOptions{Interval: 5 * time.Millisecond})
	fmt.Println("exists:", proxmox.IsExists(err))
	// Output:
	// POST /nodes/pve1/lxc/101/snapshot description="taken by hand" snapname=before-upgrade
	// vzsnapshot 101 OK
	// before-upgrade: taken by hand
	// exists: true
}
