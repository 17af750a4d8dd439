package proxmox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
)

// A Deletion is the deletion of one guest, with all that must still be so when
// it is sent. PVE takes none of it: its DELETE knows a number only, and a guest
// of another name may have it by then.
type Deletion struct {
	Call     Call   // of Builder.DestroyGuest
	Hostname string // the name of the guest
	Digest   string // of the configuration that was judged
	// Marker is the line of ownership, which its Notes must have.
	Marker string
	// Backup is the volume id of the archive that holds what the guest last
	// wrote, and Size its length as it was judged; "" for a guest that is deleted
	// without one.
	Backup string
	Size   Size
	// Test is set where the guest is one of a restore test, which the token of
	// the tests deletes.
	Test bool
}

// A GuardError says why a guest was not deleted: it is not, or no longer, as
// it must be. Nothing was sent.
type GuardError struct {
	Call  Call
	Why   string
	Cause error // of what could not be read; nil where it was read and is otherwise
}

func (e *GuardError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s is not sent: %s: %v", e.Call, e.Why, e.Cause)
	}
	return fmt.Sprintf("%s is not sent: %s", e.Call, e.Why)
}

func (e *GuardError) Unwrap() error { return e.Cause }

// A GuestDeleter is all that deletes a guest: Client.Do and TestGuests.Do
// refuse to. It reads everything again that must be so, and then sends the
// deletion, exactly once. It is safe for concurrent use.
type GuestDeleter struct {
	client *Client
	tests  *TestGuests // nil: there are no restore tests
}

// NewGuestDeleter makes a deleter that reads with the agent's own client. The
// guests of restore tests are deleted by their own, which may be nil.
func NewGuestDeleter(client *Client, tests *TestGuests) *GuestDeleter {
	return &GuestDeleter{client, tests}
}

// Delete deletes a guest if it still is what is to be deleted: stopped, of that
// name, with that marker and that configuration, not protected, not locked, no
// template, not managed by HA, and with its backup listed. purge, force and
// destroy-unreferenced-disks are never sent. Errors are those of Client.Do, and
// a *GuardError, after which nothing was sent.
func (d *GuestDeleter) Delete(ctx context.Context, del Deletion) (UPID, error) {
	if err := d.guard(ctx, del); err != nil {
		return UPID{}, err
	}
	if del.Test {
		return d.tests.client.send(ctx, del.Call)
	}
	return d.client.send(ctx, del.Call)
}

func (d *GuestDeleter) guard(ctx context.Context, del Deletion) error {
	refuse := func(cause error, format string, args ...any) error {
		return &GuardError{del.Call, fmt.Sprintf(format, args...), cause}
	}
	switch {
	case del.Call.check() != nil || !del.Call.Destroys():
		return refuse(nil, "it deletes no guest")
	case len(del.Call.Params) > 0:
		return refuse(nil, "a guest is deleted without purge, force and destroy-unreferenced-disks")
	case del.Hostname == "" || del.Digest == "" || del.Marker == "":
		return refuse(nil, "nothing says which guest is meant: its name, its ownership marker or the digest of its configuration is missing")
	case del.Test && d.tests == nil:
		return refuse(nil, "there is no token of restore tests")
	}
	parts := strings.Split(del.Call.Path, "/")
	node := parts[2]
	vmid, err := ParseVMID(parts[4])
	if err != nil {
		return refuse(nil, "%v", err)
	}
	view := d.client.Read()
	guest := view.Of(GuestTypeOf(parts[3]), node, vmid)
	config, err := guest.Config(ctx)
	if err != nil {
		return refuse(err, "the configuration of %d cannot be read", vmid)
	}
	if why := del.judgeConfig(config); why != "" {
		return refuse(nil, "%d %s", vmid, why)
	}
	status, err := guest.Status(ctx)
	switch {
	case err != nil:
		return refuse(err, "the status of %d cannot be read", vmid)
	case status.Status != "stopped":
		return refuse(nil, "%d is %s", vmid, status.Status)
	case status.Lock != "":
		return refuse(nil, "%d is locked (%s)", vmid, status.Lock)
	case status.HA.Managed:
		return refuse(nil, "%d is managed by HA", vmid)
	}
	if del.Backup == "" {
		return nil
	}
	id, err := ParseVolumeID(del.Backup)
	if err != nil {
		return refuse(nil, "%v", err)
	}
	list, err := view.StorageContent(ctx, node, id.Storage, ContentFilter{Content: "backup", VMID: vmid})
	if err != nil {
		return refuse(err, "the storage %s cannot be read", id.Storage)
	}
	for _, v := range list {
		onServer := strings.HasPrefix(v.Format, "pbs-") // where its size grows with its notes
		if v.VolID == del.Backup && !v.Ambiguous && v.Verified != "failed" && (v.Size == del.Size || onServer && v.Size > 1) {
			return nil
		}
	}
	return refuse(nil, "the backup %s is not listed any more as it was", del.Backup)
}

// judgeConfig says in what the configuration of a guest is not that of the
// guest that is to be deleted.
func (del Deletion) judgeConfig(config GuestConfig) string {
	name := cmp.Or(config.Hostname(), config.Raw["name"])
	switch {
	case !strings.EqualFold(name, del.Hostname):
		return fmt.Sprintf("is %q, not %s", name, del.Hostname)
	case strings.Count(config.Description(), del.Marker) != 1:
		return "does not have the ownership marker in its Notes"
	case config.Digest != del.Digest:
		return "has been changed since it was judged"
	case config.Protection():
		return "is protected"
	case config.Template():
		return "is a template"
	case config.Lock() != "":
		return fmt.Sprintf("is locked (%s)", config.Lock())
	}
	return ""
}

// DestroyGuest deletes a guest with its volumes and snapshots, without purge,
// force and destroy-unreferenced-disks: PVE refuses it while the guest runs, is
// locked or protected. Only GuestDeleter.Delete sends it.
func (b Builder) DestroyGuest(vmid VMID) Call {
	return Call{"DELETE", b.guest(vmid), nil}
}

// Destroys tells that a call deletes a guest, container or virtual machine.
func (c Call) Destroys() bool {
	return c.Method == "DELETE" && guestCall(c.Path, "")
}

// errDeletes is why nothing but a GuestDeleter sends the deletion of a guest.
var errDeletes = errors.New("a guest is deleted by the one way only that reads again what must be so")
