// Package state keeps what outlives a run and cannot be read back from the node: holds of the operator,
// the last verified backups, since when a drift is known. It owns state.json, replaced as a whole and
// synced. It imports nothing of the node and makes no decision.
package state
