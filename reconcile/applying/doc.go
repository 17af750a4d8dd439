// Package applying carries a plan out: it chooses what is ready, writes the intent into the journal, sends
// each request once, waits for its task, and judges it by what the node says afterwards. It is the only
// package below reconcile that can write to a node. It never blocks on a running task: actions are queued
// per guest, so one guest is changed while another is backed up.
package applying
