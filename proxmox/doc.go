// Package proxmox speaks the HTTP API of Proxmox VE 8 and 9, as far as it
// concerns containers (LXC), their snapshots, backups and storages. It absorbs
// the habits of that API, so that its users need not know them, and every
// failure, also one that only a task's log tells, is a typed error with a fix
// in it.
//
// Reading and writing are different types. A View can only read; the one that
// Client.Look returns sends each distinct request once, so that everything
// read through it belongs to one look at the world. A Call is a write that has
// not been sent: plain data that can be shown, compared and kept. Client.Do
// sends it, exactly once.
//
// Proxmox VE (PVE) does most work in tasks: the answer to a write is a UPID,
// and says nothing about success. Client.WaitTask waits for the end and turns
// a failed task into a TaskError. A context that ends, ends the wait and never
// the task.
//
// PVE answers 500 to nearly everything and says in English what happened. The
// predicates (IsNotFound, IsLocked, IsOutcomeUnknown …) read it, through any
// wrapping, in one place: english.go.
//
// A client authenticates with an API token. Of a token's rights, know that one
// of root@pam is still not root; that a privilege-separated token needs each
// privilege twice, for its user and for itself; and that PVE leaves out of
// lists what a token may not see, without an error. Ask View.Permissions
// before believing that something is absent.
package proxmox
