// Package systemd speaks to the service manager: readiness, the watchdog, and what the unit's own sandbox
// keeps from the program.
package systemd
