// Package planning compares the desired state with the node and makes the plan. It is pure: no I/O, no
// clock, and the same inputs give the same bytes. It may ask packages spec and node anything; it must never
// reach the network, the journal's file or the host.
package planning
