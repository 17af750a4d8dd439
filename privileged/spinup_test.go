package privileged_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// slow is a host with many disks that sleep, and a logical volume that does not answer.
type slow struct {
	*pvesim.Host
	disks int
}

func (s slow) BlockDevices() (names []string, err error) {
	for i := range s.disks {
		for _, part := range []string{"", "1", "2"} {
			names = append(names, fmt.Sprintf("/dev/sda%c%s", 'a'+i, part))
		}
	}
	return names, nil
}

func (s slow) MountInfo(pid int) ([]byte, error) {
	text, err := s.Host.MountInfo(pid)
	return append(text, "99 25 252:1 / /srv rw - ext4 /dev/mapper/pve-srv rw\n98 25 252:1 /a /mnt/a rw - ext4 /dev/mapper/pve-srv rw\n"...), err
}

func (s slow) MountTables() ([][]byte, error) {
	table, err := s.MountInfo(1)
	return [][]byte{table}, err
}

func (s slow) Run(ctx context.Context, program string, args []string, progress func(string)) ([]byte, int, error) {
	if program != "/usr/sbin/blkid" {
		return s.Host.Run(ctx, program, args, progress)
	}
	patience := 19 * time.Second
	if strings.HasPrefix(args[len(args)-1], "/dev/mapper/") {
		patience = time.Hour
	}
	select {
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-time.After(patience):
		return []byte("UUID=" + oddDisk + "\nTYPE=ext4\n"), 0, nil
	}
}

// All that sleeps spins up at the same time: a query takes as long as one disk may, and no longer.
func TestDisksSpinUpSideBySide(t *testing.T) {
	for name, dir := range map[string]string{"nothing remembered": "", "as in production": t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.Host, b.Dir = slow{b.sim.Host(b.node), 24}, dir
			began := time.Now()
			mounts, err := privileged.Mounts(t.Context(), b, b.node)
			if took := time.Since(began); err != nil || took > 20*time.Second {
				t.Errorf("%s: %v after %s", name, err, took)
			}
			if i := slices.IndexFunc(mounts, func(m privileged.Mount) bool { return m.Path == "/srv" }); i < 0 || !mounts[i].Silent {
				t.Errorf("%s: %+v", name, mounts)
			}
			began = time.Now()
			disks, err := privileged.Disks(t.Context(), b, b.node)
			if took := time.Since(began); err != nil || len(disks) != 72 || took > 20*time.Second || dir != "" && took > 0 {
				t.Errorf("%s: %d disks, %v after %s", name, len(disks), err, took)
			}
		})
	}
}
