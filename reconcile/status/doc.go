// Package status is what the service last knew, written into the state directory after every pass and read
// by --status without asking the node.
package status
