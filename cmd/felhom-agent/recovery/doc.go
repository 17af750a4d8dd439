// Package recovery keeps a recovery kit on the backup storages, and sets a new host up again from one: it reads what the host has, plans the steps
// that are missing as plain data, shows them, and carries them out one by one. Each step can be repeated.
package recovery
