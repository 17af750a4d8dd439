// Package httpstatus shows what the service knows: the status file, the page, /status, /metrics,
// /healthz and /readyz. It observes passes and never asks the node for anything but the state of disks.
package httpstatus
