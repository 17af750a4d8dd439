// Package spec reads what a household wants of its Proxmox VE node: YAML files
// that declare mounts, golden images, restores, guests, snapshots, backups and tests.
//
// [Load] turns a file, or a folder of files, into one checked [Desired], or
// into every mistake at once, each with file, line, field and fix. Nothing is
// half accepted: one bad file means no Desired. Loading never looks at a node;
// what can be known from the text alone is checked here, the rest by the
// planner.
//
// The language stands in one table ([Fields]): the decoder reads by it, and the
// JSON Schema ([Schema]) is printed from it. Absence means "not declared"
// everywhere: what the YAML does not say is not compared, and removing an object
// only makes it unmanaged.
//
// [Watch] nudges when the files may have changed, [Fingerprint] says whether
// they have.
package spec
