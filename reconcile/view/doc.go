// Package view prints plans and runs for people: one line per step, the fix below what is blocked, the
// summary, and the progress of a run on a terminal. It decides nothing; everything it prints is in the plan
// or the report.
package view
