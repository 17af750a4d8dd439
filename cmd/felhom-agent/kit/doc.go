// Package kit is the recovery kit as data: the files that a backup disk carries so that a host can be set up again from it, how they are made, and how
// those of a disk that may be anybody's are read.
// It changes nothing; what is read comes through [Folder], of which [Disk] is a folder of this machine.
package kit
