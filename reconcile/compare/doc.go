// Package compare says whether a declared value and a live one mean the same to Proxmox VE, whatever
// their spelling: property strings, sizes, flags and defaults. It is pure and imports only the value
// types of package proxmox.
package compare
