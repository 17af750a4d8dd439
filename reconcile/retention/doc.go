// Package retention decides which snapshots or archives a keep rule keeps. It is pure: a list of dated
// items and a rule go in, the items beyond the rule come out, in the order of PVE's own prune. It knows
// neither storages nor guests, and deletes nothing.
package retention
