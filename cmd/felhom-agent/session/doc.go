// Package session is what every mode works on: one node of Proxmox VE, real or simulated, the client and
// the root helper that reach it, and the agent's own files. It says which node is meant, whose guests are
// managed, and what a person can do about an error of the node.
package session
