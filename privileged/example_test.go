package privileged_test

import (
	"context"
	"fmt"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A disk is mounted on a simulated host. On a real one the runner would be an [privileged.ExecRunner] or a [privileged.SocketRunner].
func Example() {
	ctx := context.Background()
	sim := pvesim.New()
	var runner privileged.Runner = &privileged.Local{Host: sim.Host("pve1")}

	op := privileged.MountUSBByUUID("pve1", privileged.MountSpec{
		Name: "media", UUID: "51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77", Path: "/mnt/usb/media", Options: []string{"noatime"}, Fstab: true})
	fmt.Println(op)
	if _, err := runner.Do(ctx, op, nil); err != nil {
		fmt.Println(err)
		return
	}
	mounts, err := privileged.Mounts(ctx, runner, "pve1")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range mounts {
		if m.Path == "/mnt/usb/media" {
			fmt.Println(m.Source, m.Label, m.FSType)
			fmt.Println(m.Fstab.Text)
		}
	}

	op.Args["path"] = "/etc/media"
	_, err = runner.Do(ctx, op, nil)
	fmt.Println(err)
	// Output:
	// MountUSBByUUID mount/media: 51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77 on /mnt/usb/media, with a line in /etc/fstab
	// /dev/sdc1 media ext4
	// UUID=51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77 /mnt/usb/media auto nofail,nosuid,nodev,x-systemd.device-timeout=5min,noatime,x-felhom.name=media 0 0
	// MountUSBByUUID refused: path "/etc/media": it lies in a directory of the system. Choose a path below /mnt
}
