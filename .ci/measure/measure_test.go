package reconcile

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// hamlet is a golden image and n guests that are restored from it and run.
func hamlet(n int) string {
	text := strings.Builder{}
	text.WriteString(`node: pve1
mounts:
  backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup, storage: usb-backup}
golden:
  alpine:
    vmid: 9001
    template: local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz
    rootfs: local-lvm:2
    config: {cores: 1, memory: 256MiB, net0: "name=eth0,bridge=vmbr0,ip=dhcp"}
    publish: {storage: local, revision: 1}
restores:
`)
	for i := range n {
		fmt.Fprintf(&text, "  g%04d: {vmid: %d, from: {golden: alpine}, storage: local-lvm, state: running, config: {cores: 1, memory: 256MiB, net0: {name: eth0, bridge: vmbr0, ip: dhcp}}}\n", i, 2000+i)
	}
	return text.String()
}

// used is the processor time of this process, its own and the kernel's for it.
func used() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// TestMeasureOnce prints what a first --once of FELHOM_MEASURE guests costs, a run after it that changes nothing, and what a service on
// the node costs on a day on which nothing happens: its requests, and its processor time for each of 96 passes.
func TestMeasureOnce(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("FELHOM_MEASURE"))
	if err != nil {
		t.Skip("FELHOM_MEASURE is not set")
	}
	want := desired(t, hamlet(n))
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		begin := used()
		report := b.once(want)
		once := used() - begin
		if code := report.ExitCode(); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, b.closing(report))
		}
		const quiet = 10
		begin = used()
		for range quiet {
			b.once(want)
		}
		pass := (used() - begin) / quiet
		stop := b.watch(15*time.Minute, always(want), nil)
		time.Sleep(time.Minute)
		before := b.sim.Requests()
		begin = used()
		time.Sleep(24 * time.Hour)
		day, requests := used()-begin, b.sim.Requests()-before
		stop()
		fmt.Printf("measured guests=%d passes=%d once-cpu-s=%.3f quiet-cpu-ms=%.2f day-cpu-ms=%.2f day-requests=%d %s\n", n, report.Passes, once.Seconds(), float64(pass.Microseconds())/1000, float64(day.Microseconds())/1000/96, requests, runtime.Version())
	})
}

// TestMeasureYAML writes the desired state of FELHOM_MEASURE guests to the file FELHOM_MEASURE_YAML.
func TestMeasureYAML(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("FELHOM_MEASURE"))
	file := os.Getenv("FELHOM_MEASURE_YAML")
	if err != nil || file == "" {
		t.Skip("FELHOM_MEASURE and FELHOM_MEASURE_YAML are not set")
	}
	if err := os.WriteFile(file, []byte(hamlet(n)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestMeasurePlan prints what planning costs per object.
func TestMeasurePlan(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("FELHOM_MEASURE"))
	if err != nil {
		t.Skip("FELHOM_MEASURE is not set")
	}
	want, have := household(n)
	plan := func(rounds int) {
		for range rounds {
			have.ByID = nil // the index is a part of the work
			NewPlan(want, have)
		}
	}
	plan(10) // else most of the time is the kernel's, for memory that the process has not had before
	const rounds = 10
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := used()
	plan(rounds)
	took := used() - begin
	runtime.ReadMemStats(&after)
	per := func(total uint64) float64 { return float64(total) / rounds / float64(n) }
	fmt.Printf("measured guests=%d plan-cpu-us=%.2f plan-allocs=%.1f plan-bytes=%.0f\n", n, per(uint64(took.Nanoseconds()))/1000, per(after.Mallocs-before.Mallocs), per(after.TotalAlloc-before.TotalAlloc))
}
