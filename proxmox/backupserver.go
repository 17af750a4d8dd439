package proxmox

import (
	"strconv"
	"strings"
	"time"
)

// A ServerTrouble is why a Proxmox Backup Server did not do what PVE asked of it.
type ServerTrouble string

// The kinds of trouble.
const (
	// ServerMaintenance passes by itself: the datastore is in maintenance, or is being removed.
	ServerMaintenance ServerTrouble = "maintenance"
	// ServerFull is no room left on the datastore. Deleted archives free room only after the
	// server's next garbage collection, a day later or more.
	ServerFull ServerTrouble = "full"
	// ServerOwner is a backup group that belongs to another user or API token of the server.
	ServerOwner ServerTrouble = "owner"
	// ServerDenies is a role that does not allow the operation, such as DatastoreBackup, which
	// may not delete.
	ServerDenies ServerTrouble = "denied"
	// ServerKey is an encryption key that this node does not have.
	ServerKey ServerTrouble = "key"
	// ServerAway is a server that did not answer in time.
	ServerAway ServerTrouble = "away"
)

var troubles = []struct {
	class class
	is    ServerTrouble
}{
	{serverMaintenance, ServerMaintenance}, {serverFull, ServerFull}, {serverOwner, ServerOwner}, {serverKey, ServerKey}, {serverDenies, ServerDenies}, {serverAway, ServerAway},
}

// TroubleOf finds out what a Proxmox Backup Server refused; "" where an error is not of one.
func TroubleOf(err error) ServerTrouble {
	_, c := said(err)
	return troubleOf(c)
}

// TroubleIn is TroubleOf for a text that PVE once gave.
func TroubleIn(text string) ServerTrouble { return troubleOf(classify([]string{text})) }

func troubleOf(c class) ServerTrouble {
	for _, t := range troubles {
		if c&t.class != 0 {
			return t.is
		}
	}
	return ""
}

// keyFingerprint is that of an encryption key, as PVE shows it: bytes in hexadecimal between
// colons. Anything else says only that there is a key.
func keyFingerprint(s string) string {
	if strings.Contains(s, ":") {
		return strings.ToLower(s)
	}
	return ""
}

// EncryptionKey tells whether a storage of type pbs has an encryption key on this cluster, and
// its fingerprint where PVE shows it.
func (s Storage) EncryptionKey() (key string, has bool) {
	shown := s.Raw["encryption-key"]
	return keyFingerprint(shown), shown != ""
}

// verifiedAt is when a verification began, which only its UPID tells:
// UPID:NODE:PID:PSTART:TASK:STARTTIME:verify:…, in hexadecimal. Zero where it does not.
func verifiedAt(upid string) time.Time {
	parts := strings.Split(upid, ":")
	if len(parts) < 7 || parts[0] != "UPID" {
		return time.Time{}
	}
	at, err := strconv.ParseUint(parts[5], 16, 40)
	if err != nil || at == 0 {
		return time.Time{}
	}
	return time.Unix(int64(at), 0)
}
