// Package planning compares the desired state with the node and makes the plan. It is pure: no I/O, no
// clock, and the same inputs give the same bytes. It may ask packages spec and node anything; it must never
// reach the network, the journal's file or the host.
//
// It has three layers. Package questions answers from both inputs and cannot write a plan. A builder owns
// the plan under construction. Each kind has planners: functions that ask, add to the builder, and return
// an outcome, which those planned later are given; planObjects is where these values flow. Then a chain
// runs the same planners on the forecast, the node as it will be, until nothing is left.
package planning
