package httpstatus

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/version"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/quote"
	"github.com/felhom/felhom-agent/reconcile"
)

// counts are the metrics that add up; all others are read off the state when somebody asks.
type counts struct {
	passes   *prometheus.CounterVec
	requests prometheus.Counter
	actions  *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// Metrics makes the registry that /metrics shows.
func (o *Observer) Metrics() *prometheus.Registry {
	o.counts = counts{
		passes:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "felhom_passes_total", Help: "Passes, by whether the node was read (ok), was not because nothing has changed on its host (unchanged), or could not be (failed)."}, []string{"result"}),
		requests: prometheus.NewCounter(prometheus.CounterOpts{Name: "felhom_refresh_requests_total", Help: "API requests of all refreshes."}),
		actions:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "felhom_actions_total", Help: "Actions that have ended, by verb and result (ok, failed, refused)."}, []string{"verb", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "felhom_task_seconds", Help: "How long PVE's tasks took.",
			Buckets: []float64{1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600},
		}, []string{"verb", "result"}),
	}
	for _, result := range []string{"ok", "unchanged", "failed"} {
		o.counts.passes.WithLabelValues(result) // there from the start, so that a rate can be taken
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(o.counts.passes, o.counts.requests, o.counts.actions, o.counts.seconds, gauges{o},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("felhom_"+name, help, labels, nil)
}

var (
	descInfo        = describe("build_info", "The running version; always 1.", "version", "node")
	descObjects     = describe("objects", "Declared objects by state: failed, overdue, blocked, running, changing, waits, drifted, declared.", "state")
	descObjectState = describe("object_state", "Each declared object and the state that it is in; always 1.", "object", "state")
	descRunning     = describe("tasks_running", "Actions that are running.")
	descLook        = describe("last_refresh_requests", "API requests of the last refresh.")
	descLooked      = describe("last_refresh_timestamp_seconds", "When the node was last refreshed, or was seen to be unchanged since, by its own clock.")
	descConverged   = describe("last_converged_timestamp_seconds", "When everything was as declared, by the node's clock.")
	descErrors      = describe("desired_errors", "Mistakes in the YAML; while there are any, the last valid state stays in force.")
	descCommit      = describe("desired_commit_timestamp_seconds", "The time of the commit that the desired state is, where it was pulled from git; 0 if unknown.", "commit")
	descPulled      = describe("desired_pulled_timestamp_seconds", "When the desired state was last pulled from git without trouble; 0 if never.")
	descRefused     = describe("desired_commit_refused", "1 while a newer commit of the desired state is refused.")
	descUndelivered = describe("notifications_undelivered", "Notifications that the notify command or services did not take and that are tried again.")
	descBackup      = describe("last_backup_timestamp_seconds", "The last verified backup of each declared guest; 0 if there is none.", "guest")
	descBackupSize  = describe("last_backup_size_bytes", "The size of the last verified backup of each declared guest; absent where it is not known.", "guest")
	descFree        = describe("storage_free_bytes", "How much is free on a storage that the last refresh has read.", "storage")
	descSize        = describe("storage_size_bytes", "The size of a storage that the last refresh has read.", "storage")
	descHold        = describe("hold_timestamp_seconds", "Since when an object, or all, is on hold by the operator.", "object")
	descTest        = describe("restore_test_last_success_timestamp_seconds", "When the last good restore test of a guest ended, by the node's clock; 0 if there is none.", "guest")
	descTestTook    = describe("restore_test_duration_seconds", "How long the restore of the last good restore test took.", "guest")
	descTestAge     = describe("restore_test_archive_age_seconds", "How old the backup of the last good restore test is now.", "guest")
	descTestVerdict = describe("restore_test_verdict", "The verdict of the last restore test of a guest: works, boots, fails, could not verify; always 1.", "guest", "verdict")
	descKit         = describe("recovery_kit_timestamp_seconds", "When the newest recovery kit of a disk was collected, by the node's clock; 0 if none could be written.", "storage", "disk", "digest")
	descToken       = describe("token_expiry_timestamp_seconds", "When the API token expires; absent where it never does.")
	descCertificate = describe("certificate_expiry_timestamp_seconds", "When the certificate of the node's API expires.")
	descHealth      = describe("disk_healthy", "What a disk's SMART says about itself: 1 passed, 0 failing; absent where it does not say.", "device", "model")
	descTemperature = describe("disk_temperature_celsius", "Temperature of a disk.", "device", "model")
	descReallocated = describe("disk_reallocated_sectors", "Reallocated sectors of a disk.", "device", "model")
	descWear        = describe("disk_wear_ratio", "How much of its rated life a disk has used; may pass 1.", "device", "model")
	descSensor      = describe("sensor_celsius", "Temperature sensors of the host.", "chip", "label")
)

// gauges are the metrics that are read off the state.
type gauges struct{ *Observer }

// Describe implements prometheus.Collector.
func (g gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descInfo, descObjects, descObjectState, descRunning, descLook, descLooked, descConverged, descErrors, descCommit, descPulled, descRefused, descUndelivered, descBackup, descBackupSize, descFree, descSize, descHold, descTest, descTestTook, descTestAge, descTestVerdict, descKit,
		descToken, descCertificate, descHealth, descTemperature, descReallocated, descWear, descSensor} {
		to <- d
	}
}

// A sink is where metrics go.
type sink chan<- prometheus.Metric

// gauge adds a metric; what its labels say came from outside.
func (to sink) gauge(d *prometheus.Desc, value float64, labels ...string) {
	for i, label := range labels {
		labels[i] = quote.Line(label)
	}
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

// at adds a time, where there is one.
func (to sink) at(d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		to.gauge(d, float64(t.Unix()), labels...)
	}
}

// origin adds what is known of the commit that the desired state is.
func (to sink) origin(path string) {
	origin, ok := source.OriginOf(path)
	if !ok {
		return
	}
	seconds := func(t time.Time) float64 {
		if t.IsZero() {
			return 0
		}
		return float64(t.Unix())
	}
	to.gauge(descCommit, seconds(origin.Time), origin.Commit)
	to.gauge(descPulled, seconds(origin.Pulled))
	refused := 0.0
	if origin.Refused != "" {
		refused = 1
	}
	to.gauge(descRefused, refused)
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(metrics chan<- prometheus.Metric) {
	to := sink(metrics)
	r := g.Report(context.Background())
	to.gauge(descInfo, 1, version.Version, r.Node)
	to.gauge(descErrors, float64(len(g.Src.Mistakes())))
	to.origin(g.Src.Path)
	to.gauge(descRunning, float64(len(r.Now)))
	g.Mu.Lock()
	_, undelivered := g.undelivered()
	leases := g.leases
	g.Mu.Unlock()
	to.gauge(descUndelivered, float64(undelivered))
	count := map[string]int{}
	for _, object := range r.Objects {
		count[object.State]++
		to.gauge(descObjectState, 1, object.Object.String(), object.State)
	}
	for _, state := range states {
		to.gauge(descObjects, float64(count[state]), state)
	}
	if r.Plan != nil {
		to.gauge(descLook, float64(r.Plan.Header.Requests))
		for storage, room := range r.Plan.Storages {
			to.gauge(descFree, float64(room.Free), storage)
			to.gauge(descSize, float64(room.Total), storage)
		}
	}
	to.at(descLooked, r.AsOf())
	to.at(descConverged, r.Converged)
	for guest, last := range r.Backups {
		if last.Time.IsZero() {
			to.gauge(descBackup, 0, guest)
		}
		to.at(descBackup, last.Time, guest)
		if last.Size > 0 {
			to.gauge(descBackupSize, float64(last.Size), guest)
		}
	}
	for _, hold := range r.Holds {
		if hold.Kind == reconcile.HoldPerson {
			to.at(descHold, hold.Since, hold.Name)
		}
	}
	to.tests(r.Tests, r.Clock)
	for _, kit := range r.Kits {
		if kit.Time.IsZero() {
			to.gauge(descKit, 0, kit.Storage, kit.Disk, kit.Digest)
		}
		to.at(descKit, kit.Time, kit.Storage, kit.Disk, kit.Digest)
	}
	for _, l := range leases {
		to.at(map[string]*prometheus.Desc{"token": descToken, "certificate": descCertificate}[l.What], l.End)
	}
	to.hardware(r.Host)
}

// hardware adds what disks and sensors say.
func (to sink) hardware(h Hardware) {
	for _, disk := range h.SMART {
		number := func(d *prometheus.Desc, value *int64, unit float64) {
			if value != nil {
				to.gauge(d, float64(*value)*unit, disk.Device, disk.Model)
			}
		}
		switch disk.Health {
		case privileged.HealthPassed:
			to.gauge(descHealth, 1, disk.Device, disk.Model)
		case privileged.HealthFailing:
			to.gauge(descHealth, 0, disk.Device, disk.Model)
		}
		number(descTemperature, disk.Temperature, 1)
		number(descReallocated, disk.Reallocated, 1)
		number(descWear, disk.Wear, 0.01)
	}
	known := map[[2]string]bool{} // two sensors of one name would spoil the whole answer
	for _, s := range h.Sensors {
		name := [2]string{s.Chip, s.Label}
		if s.Kind == "temp" && !known[name] {
			known[name] = true
			to.gauge(descSensor, s.Value, s.Chip, s.Label)
		}
	}
}
