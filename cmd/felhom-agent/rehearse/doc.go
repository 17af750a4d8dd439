// Package rehearse copies a live node into a simulated one: its guests with their configs and snapshots, its storages
// with what they list, its disks and mounts as the root helper sees them, and what the token may do. It is handed a
// View and an Asker, so nothing in it can write to the node. What a copy cannot know is named.
package rehearse
