package reconcile

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

var (
	fileForm   = regexp.MustCompile(`vzdump-lxc-(\d+)-(\d{4})_(\d\d)_(\d\d)-(\d\d)_(\d\d)_(\d\d)\.tar\.zst`)
	serverForm = regexp.MustCompile(`ct/(\d+)/(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z`)
	dumpLine   = regexp.MustCompile(`creating vzdump archive '[^']*/(ct/[^']*)'`)
)

// backupServer makes a directory storage look like one on a Proxmox Backup Server: other
// names, no path, a log without a size, and sizes that contain the manifest, in which
// the notes and the result of the last verification stand (proxmox-backup, admin
// datastore, read_backup_index; PVE: Storage::PBSPlugin, list_volumes).
func backupServer(t testing.TB, storage string, verified map[string]string) *front {
	return &front{
		ask: func(text string) string {
			return serverForm.ReplaceAllString(text, "vzdump-lxc-$1-${2}_${3}_${4}-${5}_${6}_$7.tar.zst")
		},
		answer: func(method, path string, res *http.Response, body []byte) []byte {
			body = fileForm.ReplaceAll(body, []byte("ct/$1/$2-$3-${4}T$5:$6:${7}Z"))
			switch {
			case method != "GET" || res.StatusCode != 200:
			case strings.HasSuffix(path, "/log"):
				body = dumpLine.ReplaceAll(body, []byte("creating Proxmox Backup Server archive '$1'"))
				body = regexp.MustCompile(`archive file size: [^"]*`).ReplaceAll(body, []byte("adding notes to backup"))
			case path == "/storage":
				body = relist(t, body, func(all []map[string]any) []map[string]any {
					for _, s := range all {
						if s["storage"] == storage {
							delete(s, "path")
							delete(s, "is_mountpoint")
							s["type"], s["server"], s["datastore"], s["content"] = "pbs", "192.0.2.9", "home", "backup"
						}
					}
					return all
				})
			case strings.HasSuffix(path, "/storage/"+storage+"/content"):
				body = relist(t, body, func(all []map[string]any) []map[string]any {
					for _, v := range all {
						if v["content"] != "backup" {
							continue
						}
						notes, _ := v["notes"].(string)
						size := v["size"].(float64) + float64(len(notes))
						if state := verified[v["volid"].(string)]; state != "" {
							v["verification"] = map[string]any{"state": state, "upid": "UPID:pbs:00000F1D:00012584:00000001:6B03308F:verify:home:root@pam:"}
							size += 120
						}
						v["format"], v["size"] = "pbs-ct", size
					}
					return all
				})
			}
			return body
		},
	}
}

// Archives on a backup server count as whole with their notes in them and after each
// verification, although their size changes with both. One that the server found damaged
// does not count, and the next one is made.
func TestBackupsToABackupServer(t *testing.T) {
	want := desired(t, `
backups:
  nightly: {guests: [dns], storage: local, every: 24h, keep: 2, warn-after: 3d}
guests:
  dns: {vmid: 101, from: {newest: local}, config: {memory: 512MiB}, state: running}
`)
	synctest.Test(t, func(t *testing.T) {
		verified := map[string]string{}
		b := newFrontBench(t, pvesim.New(), backupServer(t, "local", verified))
		archives := func() []proxmox.StorageContent {
			all, err := b.client.StorageContent(t.Context(), "pve1", "local", proxmox.ContentFilter{Content: "backup"})
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		for night := range 3 {
			if report := b.once(want); report.ExitCode() != 0 {
				t.Fatalf("night %d: exit code %d\n%s\n%s", night, report.ExitCode(), b.events, b.closing(report))
			}
			if plan, text := b.plan(want); plan.ExitCode() != 0 {
				t.Fatalf("night %d: the next plan is not empty:\n%s", night, text)
			}
			if all := archives(); len(all) != min(night+1, 2) || !strings.Contains(all[len(all)-1].Notes, " size=") {
				t.Fatalf("night %d: %+v", night, all)
			}
			for _, v := range archives() {
				verified[v.VolID] = "ok"
			}
			if plan, text := b.plan(want); plan.ExitCode() != 0 {
				t.Fatalf("night %d: verified, the plan is not empty:\n%s", night, text)
			}
			time.Sleep(24*time.Hour + time.Minute)
		}
		b.once(want)
		newest := archives()[1].VolID
		verified[newest] = "failed"
		if _, text := b.plan(want); !strings.Contains(text, "back up dns to local") {
			t.Errorf("no other backup after one that is damaged:\n%s", text)
		}
		delete(verified, newest)

		// Lost, it comes back from there.
		b.as("POST", "/nodes/pve1/lxc/101/status/stop")
		b.as("DELETE", "/nodes/pve1/lxc/101")
		o := b.agent.O
		o.Only = []spec.Ref{{Kind: spec.KindGuest, Name: "dns"}}
		b.agent = New(o)
		if report := b.once(want); report.ExitCode() != 0 {
			t.Fatalf("%s\n%s", b.events, b.closing(report))
		}
		config, err := b.client.GuestConfig(t.Context(), "pve1", 101)
		if err != nil || !strings.Contains(config.Description(), "vmid=101") {
			t.Errorf("%v %+v", err, config)
		}
	})
}

// The agent ended between a backup's end and its note: with the task still in PVE's list
// the archive is proven by it, though the log of a backup to a server names no size.
func TestABackupServersArchiveIsProvenByItsTask(t *testing.T) {
	want := desired(t, `
backups:
  nightly: {guests: [dns], storage: local, every: 24h, keep: 2}
guests:
  dns: {vmid: 101, config: {memory: 512MiB}}
`)
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		b := newFrontBench(t, sim, backupServer(t, "local", nil))
		b.once(want)
		all, err := b.client.StorageContent(t.Context(), "pve1", "local", proxmox.ContentFilter{Content: "backup"})
		if err != nil || len(all) != 1 {
			t.Fatal(err, all)
		}
		notes, _, _ := strings.Cut(all[0].Notes, " size=")
		if _, err := b.client.SetNotes(t.Context(), "pve1", all[0].VolID, notes); err != nil {
			t.Fatal(err)
		}
		after := newFrontBench(t, sim, backupServer(t, "local", nil)) // its journal was lost
		after.once(want)                                              // asks for the log
		synctest.Wait()
		if report := after.once(want); report.ExitCode() != 0 {
			t.Fatalf("%s\n%s", after.events, after.closing(report))
		}
		all, err = after.client.StorageContent(t.Context(), "pve1", "local", proxmox.ContentFilter{Content: "backup"})
		if err != nil || len(all) != 1 || !strings.Contains(all[0].Notes, " size=") {
			t.Error(err, all)
		}
	})
}

func TestABackupServersWord(t *testing.T) {
	const notes = "felhom-agent/1 backups/daily vmid=101 owner=pve1 born=2026-11-20T10:00:00Z guest=dns"
	have := &node.Observed{Owner: "pve1"}
	for text, want := range map[string]node.Wholeness{
		`{"format":"pbs-ct","size":5,"notes":"` + notes + ` size=4"}`:                                            node.Whole,
		`{"format":"pbs-ct","size":5,"notes":"` + notes + ` size=4","verification":{"state":"ok"}}`:              node.Whole,
		`{"format":"pbs-ct","size":5,"notes":"` + notes + ` size=5","verification":{"state":"failed"}}`:          node.Damaged,
		`{"format":"pbs-ct","size":5,"notes":"nightly of anna","verification":{"state":"failed","upid":"UPID"}}`: node.Damaged,
		`{"format":"pbs-ct","size":5,"notes":"` + notes + `"}`:                                                   node.Unproven,
		`{"format":"pbs-ct","size":1}`:                                 node.Unfinished, // being made, or cut off
		`{"format":"pbs-ct","size":1,"notes":"` + notes + ` size=4"}`:  node.Damaged,    // its manifest cannot be read
		`{"format":"tar.zst","size":5,"notes":"` + notes + ` size=4"}`: node.Damaged,
	} {
		var v struct {
			Format, Notes string
			Size          proxmox.Size
			Verification  struct{ State string }
		}
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if got := node.WholenessOf(have, proxmox.StorageContent{Format: v.Format, Notes: v.Notes, Size: v.Size, Verified: v.Verification.State}); got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
}

// A backup of a busy guest fills its log with thousands of warnings of tar, behind the
// line that names the archive.
func TestABackupWithALongLog(t *testing.T) {
	want := desired(t, `
backups:
  nightly: {guests: [dns], storage: local, every: 24h, keep: 2}
guests:
  dns: {vmid: 101, config: {memory: 512MiB}}
`)
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		b := newFrontBench(t, sim, &front{answer: func(method, path string, res *http.Response, body []byte) []byte {
			if !strings.Contains(path, ":vzdump:") || !strings.HasSuffix(path, "/log") {
				return body
			}
			type line struct {
				N int    `json:"n"`
				T string `json:"t"`
			}
			var log struct {
				Data  []line `json:"data"`
				Total int    `json:"total"`
			}
			_, whole := sim.Do("root@pam", "GET", path, map[string]string{"limit": "0"})
			if err := json.Unmarshal([]byte(whole), &log); err != nil {
				t.Errorf("%v: %s", err, whole)
				return body
			}
			long := slices.Insert(log.Data, len(log.Data)-1, slices.Repeat([]line{{0, "INFO: tar: ./var/spool/x: file changed as we read it"}}, 6000)...)
			query := res.Request.URL.Query()
			start, limit := atoi(query.Get("start")), atoi(query.Get("limit"))
			if limit == 0 {
				limit = len(long)
			}
			log.Data, log.Total = long[min(start, len(long)):min(start+limit, len(long))], len(long)
			body, err := json.Marshal(log)
			if err != nil {
				t.Error(err)
			}
			return body
		}})
		if report := b.once(want); report.ExitCode() != 0 {
			t.Fatalf("%s\n%s", b.events, b.closing(report))
		}
		if plan, text := b.plan(want); plan.ExitCode() != 0 || strings.Contains(text, "does not count as verified") {
			t.Errorf("its archive is not recorded:\n%s", text)
		}
	})
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
