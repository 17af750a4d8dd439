// Package reconciletest has what tests of the whole reconciler share: the state of a simulated node as values,
// the example household, a node with two hosts, and plans as text. No production package imports it.
package reconciletest
