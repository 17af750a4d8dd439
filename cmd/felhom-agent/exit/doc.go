// Package exit has the exit codes of the program, and the guard that turns a panic into one of them.
package exit
