package privileged

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Marks are four marks of a host. Each is another text after a change of what it stands for; what it says otherwise is nobody's business. A mark
// may change where nothing did. Reading them wakes no disk and runs no program.
type Marks struct {
	Cluster string `json:"cluster"` // the configs of guests and storages, users and their permissions, and what else pmxcfs counts
	Tasks   string `json:"tasks"`   // the tasks of this node that began or ended, and the operations of the root helper that run
	Guests  string `json:"guests"`  // the containers and VMs of this node that run, each since its start
	Disks   string `json:"disks"`   // the block devices, the host's mount table, /etc/fstab, and root's policy for them
}

// Changes reads the marks of the host.
func Changes(ctx context.Context, a Asker, node string) (Marks, error) {
	return ask[Marks](ctx, a, Query{Node: node, Name: "Changes"})
}

func answerChanges(r diskReader) (any, error) {
	var m Marks
	for mark, read := range map[*string]func() (string, error){&m.Cluster: r.clusterMark, &m.Tasks: r.tasksMark, &m.Guests: r.guestsMark, &m.Disks: r.disksMark} {
		text, err := read()
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256([]byte(text))
		*mark = hex.EncodeToString(sum[:16])
	}
	return m, nil
}

// versionPath has the counters of pmxcfs (status.c, cfs_create_version_msg).
const versionPath = "/etc/pve/.version"

func (r diskReader) clusterMark() (string, error) {
	data, err := r.host.ReadFile(versionPath)
	if err == nil {
		var text string
		if text, err = versionMark(data); err == nil {
			return text, nil
		}
	}
	return "", r.failed(err, "cannot read "+versionPath)
}

const maxVersion = 256 << 10 // bytes of .version: about 1 KiB, and as much for each node

// restless are the counters that rise where nothing changes: while HA manages a guest its manager writes its state every few seconds. So do those
// of the kvstore, which are no counters of a file: pvestatd sends statistics there every ten seconds.
var restless = []string{"ha/manager_status", "ha/crm_commands"}

// versionMark is what /etc/pve/.version counts: the writes of guests' configs (vmlist) and of each file that pmxcfs knows, since its own start. All are
// taken but the restless: one that a later PVE adds costs a refresh too many, where leaving it out would hide a change.
func versionMark(data []byte) (string, error) {
	if len(data) > maxVersion {
		return "", fmt.Errorf("it is longer than %d KiB", maxVersion>>10)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return "", fmt.Errorf("it is not what PVE writes: %w", err)
	}
	counts := map[string]uint64{}
	for name, value := range all {
		if n, err := strconv.ParseUint(string(value), 10, 64); err == nil && !slices.Contains(restless, name) {
			counts[name] = n
		}
	}
	for _, name := range []string{"starttime", "vmlist", "storage.cfg", "user.cfg"} {
		if _, ok := counts[name]; !ok {
			return "", fmt.Errorf("it is not what PVE writes: it has no number %s", name)
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "%q %d\n", name, counts[name])
	}
	return b.String(), nil
}

// tasksMark is of PVE's list of the tasks that run and ended last: each worker that begins or ends replaces that file by another one, and appends those
// that ended to the index (pve-common: RESTEnvironment.pm, active_workers; INotify.pm, write_file). Their contents, which www-data may write, are not read.
func (r diskReader) tasksMark() (string, error) {
	running, err := r.local.running()
	if err != nil {
		return "", err
	}
	text := fmt.Sprintln(running)
	for _, name := range []string{"/var/log/pve/tasks/active", "/var/log/pve/tasks/index"} {
		mode, stamp, err := r.host.Stat(name)
		if err == nil && !mode.IsRegular() {
			err = errors.New("it is not a file")
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", r.failed(err, "cannot read when "+name+" was written")
		}
		text += stamp + "\n"
	}
	return text, nil
}

// Where the cgroups of running guests are, and what they are called (PVE: LXC.pm, lxc.cgroup.dir.container; QemuServer.pm, enter_systemd_scope).
var guestGroups = map[string]*regexp.Regexp{
	"/sys/fs/cgroup/lxc":        regexp.MustCompile(`\A[1-9][0-9]{2,8}\z`),
	"/sys/fs/cgroup/qemu.slice": regexp.MustCompile(`\A[1-9][0-9]{2,8}\.scope\z`),
}

// guestsMark is of the cgroups of the guests. The kernel never gives the number of one to another (fs/kernfs: kernfs_new_node), so it shows a restart too,
// and a start or an end of which no task and no config tells.
func (r diskReader) guestsMark() (string, error) {
	const unified = "/sys/fs/cgroup/cgroup.controllers"
	if _, _, err := r.host.Stat(unified); err != nil {
		return "", r.failed(err, "cannot see which guests run: this host has no cgroup v2")
	}
	var b strings.Builder
	for _, dir := range sortedKeys(guestGroups) {
		names, err := r.host.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // there is none before the first start
			return "", r.failed(err, "cannot list the running guests in "+dir)
		}
		names = slices.Clone(names)
		slices.Sort(names)
		for _, name := range names {
			if !guestGroups[dir].MatchString(name) {
				continue
			}
			_, stamp, err := r.host.Stat(dir + "/" + name)
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // it ended meanwhile
				return "", r.failed(err, "cannot read "+dir+"/"+name)
			}
			fmt.Fprintf(&b, "%s/%s %s\n", dir, name, stamp)
		}
	}
	return b.String(), nil
}

func (r diskReader) disksMark() (string, error) {
	devices, err := r.devices()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, d := range devices {
		holders := slices.Clone(d.holders)
		slices.Sort(holders)
		fmt.Fprintf(&b, "%q %q %q %t\n", d.path, d.print(), holders, d.swap)
	}
	table, err := r.host.MountInfo(1)
	if err != nil {
		return "", r.failed(err, "cannot read the host's mount table")
	}
	b.Write(table)
	for _, name := range []string{fstabPath, PolicyPath} {
		data, err := r.read(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%q\n", data)
	}
	return b.String(), nil
}
