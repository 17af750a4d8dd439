// Package refresh reads the live node into a node.Observed. It holds a proxmox.View and a
// privileged.Asker, which can only read; it must never be given anything that can write. It asks for what
// the desired state needs and no more, and turns an error that concerns one thing into a fact about that
// thing.
package refresh
