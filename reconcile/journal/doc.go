// Package journal is the append-only record of the actions that were begun and how each ended, and what
// follows from it: operations in flight, failures that cool down, the history. An intent is synced to the
// disk before its request is sent, so a killed agent knows what it may have done. It also holds the write
// lock that agents of one state directory share.
package journal
