// Package proxmox speaks the API of Proxmox VE, for containers (LXC).
package proxmox
