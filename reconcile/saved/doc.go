// Package saved is a plan as it was reviewed: a file that --plan --out writes and --once --plan-file reads. Nothing in
// it is ever sent. It only limits what a run may do: the run plans again, and carries out the steps of its own plan
// that the file has too.
package saved
