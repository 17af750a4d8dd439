package privileged

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
	"time"
)

// Mount is a line of the host's mount table, a line of /etc/fstab, or both joined by their path. Where several file systems are mounted over
// each other only the topmost is listed.
type Mount struct {
	Path    string     `json:"path"`
	Mounted bool       `json:"mounted"`           // false: there is only the fstab line
	Source  string     `json:"source,omitempty"`  // the device, e.g. /dev/sdb1
	Root    string     `json:"root,omitempty"`    // the directory of the file system that is mounted; "/" but for binds and subvolumes
	UUID    string     `json:"uuid,omitempty"`    // of the file system, when its device could be probed
	Label   string     `json:"label,omitempty"`   //
	FSType  string     `json:"fstype,omitempty"`  //
	Options []string   `json:"options,omitempty"` // of this mount and of its file system
	Major   int        `json:"major"`             //
	Minor   int        `json:"minor"`             //
	Gone    bool       `json:"gone,omitempty"`    // its device is no longer there: the disk was pulled while mounted
	Silent  bool       `json:"silent,omitempty"`  // its device does not answer, so whose it is is not known
	Auto    bool       `json:"auto,omitempty"`    // an automount unit (systemd.automount(5)) mounts something there at the first access
	Fstab   *FstabLine `json:"fstab,omitempty"`   // the line of /etc/fstab for this path
}

// FstabLine is a line of /etc/fstab.
type FstabLine struct {
	Name string `json:"name,omitempty"` // of the object whose line it is; empty: it is not ours
	Spec string `json:"spec"`           // e.g. UUID=6f1e...
	Path string `json:"path"`           //
	Text string `json:"text"`           // the line as it stands
}

// Disk is a file system on a block device, or a device that does not answer. Two disks with one UUID are two entries.
type Disk struct {
	Device  string   `json:"device"`            // e.g. /dev/sdb1
	Parent  string   `json:"parent,omitempty"`  // the disk that a partition lies on, e.g. /dev/sdb; of a whole disk the disk itself
	UUID    string   `json:"uuid"`              //
	Label   string   `json:"label,omitempty"`   //
	FSType  string   `json:"fstype"`            //
	Size    int64    `json:"size,omitempty"`    // bytes; 0 when it is not known
	USB     bool     `json:"usb,omitempty"`     // known to hang on USB
	Mounted []string `json:"mounted,omitempty"` // where on the host
	Silent  bool     `json:"silent,omitempty"`  // it does not answer: neither UUID nor FSType are known
	Kinds   []string `json:"kinds,omitempty"`   // it has the signatures of several file systems, so neither UUID nor FSType are known
	Member  string   `json:"member,omitempty"`  // tells the devices of one file system apart that have one UUID (btrfs)
	Blocked string   `json:"blocked,omitempty"` // why the root helper does not mount it, whatever is on it
	Others  []string `json:"others,omitempty"`  // where it is mounted in other mount namespaces
}

// RunningOp is an operation in progress.
type RunningOp struct {
	Name  string    `json:"name"`  // e.g. "CreateGoldenLXC"
	Queue string    `json:"queue"` // e.g. "lxc/9000"
	What  string    `json:"what"`  // one line for people
	Since time.Time `json:"since"`
}

// GuestMount is a line of the mount table of a running guest's first process.
type GuestMount struct {
	Path   string `json:"path"` // in the guest
	Root   string `json:"root"` // the directory of the file system that is mounted, e.g. /library
	Source string `json:"source"`
	FSType string `json:"fstype"`
	Major  int    `json:"major"` // with Minor the device; differs from the host's after a disk was pulled and plugged
	Minor  int    `json:"minor"`
}

// Folder is what there is at a path below a mount point.
type Folder struct {
	Exists bool        `json:"exists"`
	IsDir  bool        `json:"is_dir"`
	Mode   fs.FileMode `json:"mode"`
}

// SMARTReport is the health of a disk as far as it tells. A nil number was not reported.
type SMARTReport struct {
	Device        string   `json:"device"`
	Protocol      string   `json:"protocol,omitempty"` // ATA, NVMe, SCSI
	Model         string   `json:"model,omitempty"`
	Serial        string   `json:"serial,omitempty"`
	Health        Health   `json:"health"`
	Temperature   *int64   `json:"temperature,omitempty"`   // degrees Celsius
	Hours         *int64   `json:"hours,omitempty"`         // powered on
	Reallocated   *int64   `json:"reallocated,omitempty"`   // sectors (ATA 5)
	Pending       *int64   `json:"pending,omitempty"`       // sectors (ATA 197)
	Uncorrectable *int64   `json:"uncorrectable,omitempty"` // sectors (ATA 198), NVMe media errors
	Wear          *int64   `json:"wear,omitempty"`          // percent of the rated life that is used; may pass 100
	Messages      []string `json:"messages,omitempty"`      // what smartctl had to say, e.g. that a USB bridge is unknown
}

// Health is what a disk says about itself.
type Health string

const (
	HealthPassed  Health = "passed"
	HealthFailing Health = "failing"
	HealthUnknown Health = "unknown" // USB bridges often know nothing
)

// Sensor is one reading of a chip of the host. A nil limit is not known.
type Sensor struct {
	Chip  string   `json:"chip"`  // e.g. coretemp-isa-0000
	Label string   `json:"label"` // e.g. "Package id 0"
	Kind  string   `json:"kind"`  // temp, fan, in, power, curr, energy, humidity
	Unit  string   `json:"unit"`  // °C, RPM, V, W, A, J, %
	Value float64  `json:"value"`
	Min   *float64 `json:"min,omitempty"`
	Max   *float64 `json:"max,omitempty"`
	Crit  *float64 `json:"crit,omitempty"`
	Alarm bool     `json:"alarm,omitempty"`
}

// Mounts lists the host's mount table joined with the UUIDs of the file systems and with /etc/fstab, in the order of the mount table; fstab lines
// of paths where nothing is mounted come after it.
func Mounts(ctx context.Context, a Asker, node string) ([]Mount, error) {
	return ask[[]Mount](ctx, a, Query{Node: node, Name: "Mounts"})
}

// Disks lists the file systems on the host's block devices by low-level probing (a cache would still name the previous disk), in the order of
// their device names.
func Disks(ctx context.Context, a Asker, node string) ([]Disk, error) {
	return ask[[]Disk](ctx, a, Query{Node: node, Name: "Disks"})
}

// Running lists the operations in progress, whoever asked for them, in the order of their queues.
func Running(ctx context.Context, a Asker, node string) ([]RunningOp, error) {
	return ask[[]RunningOp](ctx, a, Query{Node: node, Name: "Running"})
}

// GuestMounts lists the mount table of a running guest's first process; a guest that does not run has none.
func GuestMounts(ctx context.Context, a Asker, node string, vmid int) ([]GuestMount, error) {
	return ask[[]GuestMount](ctx, a, Query{Node: node, Name: "GuestMounts", Args: map[string]string{"vmid": strconv.Itoa(vmid)}})
}

// MayProbe asks whether root has opened a container to probes; where not, it is a *RefusedError.
func MayProbe(ctx context.Context, a Asker, node string, vmid int) error {
	_, err := ask[struct{}](ctx, a, Query{Node: node, Name: "MayProbe", Args: map[string]string{"vmid": strconv.Itoa(vmid)}})
	return err
}

// SyncMount writes out the file system that is mounted at path: vzdump does not, so a disk that is pulled seconds after a backup holds half of it.
func SyncMount(ctx context.Context, a Asker, node, path string) error {
	_, err := ask[struct{}](ctx, a, Query{Node: node, Name: "SyncMount", Args: map[string]string{"path": path}})
	return err
}

// FolderInfo says whether a folder is there on what is mounted at path. It fails while nothing is mounted there.
func FolderInfo(ctx context.Context, a Asker, node, path, folder string) (Folder, error) {
	return ask[Folder](ctx, a, Query{Node: node, Name: "FolderInfo", Args: map[string]string{"path": path, "folder": folder}})
}

// SMART reads the health of a whole disk, e.g. /dev/sdb. The API has it too (GET /nodes/N/disks/smart with Sys.Audit), untyped and without USB
// bridges.
func SMART(ctx context.Context, a Asker, node, device string) (SMARTReport, error) {
	return ask[SMARTReport](ctx, a, Query{Node: node, Name: "SMART", Args: map[string]string{"device": device}})
}

// Sensors reads the host's hardware sensors. The API has none.
func Sensors(ctx context.Context, a Asker, node string) ([]Sensor, error) {
	return ask[[]Sensor](ctx, a, Query{Node: node, Name: "Sensors"})
}

func ask[T any](ctx context.Context, a Asker, q Query) (T, error) {
	var t T
	answer, err := a.Ask(ctx, q)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(answer.Data, &t); err != nil {
		return t, fmt.Errorf("the root helper's answer to %s is not what this version expects: %w. Install felhom-agent and felhom-fence of one version", q.Name, err)
	}
	return t, nil
}
