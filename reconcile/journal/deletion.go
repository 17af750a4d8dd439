package journal

// The facts of the deletion of a guest: what must still be so when it is sent, and where its volumes are.
const (
	FactHostname = "hostname"
	FactDigest   = "digest" // of its configuration, as it was judged
	FactMarker   = "marker" // what its Notes must say
	FactBackup   = "backup" // volume id of the archive that holds what it last wrote
	FactSize     = "size"   // of that archive
	FactStorages = "storages"
	FactDeletes  = "deletes" // the VMID, of each step of a deletion on purpose
)

// VerbBackUp is the verb of a vzdump of a guest.
const VerbBackUp = "back up"

// VerbDelete is the verb of the deletion of a guest on purpose.
const VerbDelete = "delete guest"
