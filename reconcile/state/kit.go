package state

import "time"

// Kit is the newest recovery kit on one disk of a backup storage.
type Kit struct {
	Storage   string    `json:"storage"`
	Disk      string    `json:"disk,omitempty"` // its label, else the UUID of its file system; "" for a storage without a disk of its own
	Digest    string    `json:"digest,omitempty"`
	Time      time.Time `json:"time,omitzero"`       // when it was collected, by the node's clock
	Problem   string    `json:"problem,omitempty"`   // why a newer one could not be written
	Templates string    `json:"templates,omitempty"` // volume ids of those beside it, separated by commas
}
