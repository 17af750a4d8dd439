// Package export writes the guests of a node as a desired state that adopts them unchanged, and proves
// it with a plan of that desired state. It only reads.
package export
