// Package text has the small words of which messages are made: counts, lists, durations and ages as
// people read them. It is a leaf: it knows neither the node nor the desired state, and decides nothing.
package text
