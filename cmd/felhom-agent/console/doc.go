// Package console is where the program prints: standard output, standard error, and the log, with the
// width and the colours of a terminal.
package console
