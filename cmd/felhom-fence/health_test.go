package main

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/felhom/felhom-agent/privileged"
)

// The real smartctl and sensors, whatever hardware they find: their answers are understood.
func TestRealHealth(t *testing.T) {
	if !inside(t, "smartctl", "sensors") {
		return
	}
	if err := syscall.Unmount("/sys", 0); err != nil { // the scratch host's, of which sensors says that it is no sysfs
		t.Fatal(err)
	}
	if _, err := privileged.Sensors(t.Context(), direct(), node); err != nil {
		t.Errorf("sensors: %v", err)
	}
	asked := 0
	for _, line := range strings.Split(readFile(t, "/proc/partitions"), "\n") {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] == "major" {
			continue
		}
		r, err := privileged.SMART(t.Context(), direct(), node, "/dev/"+f[3])
		if errors.As(err, new(*privileged.RefusedError)) {
			continue // a partition, a loop device
		}
		asked++
		if err != nil || r.Health == "" || r.Health == privileged.HealthUnknown && len(r.Messages) == 0 {
			t.Errorf("%s: %+v %v", f[3], r, err)
		}
	}
	if asked == 0 {
		t.Log("there is no disk that could be asked")
	}
	os.Remove("/usr/sbin/smartctl")
	if _, err := privileged.SMART(t.Context(), direct(), node, "/dev/vda"); err != nil && !errors.As(err, new(*privileged.RefusedError)) && !strings.Contains(err.Error(), "Install smartmontools") {
		t.Errorf("without smartctl: %v", err)
	}
}
