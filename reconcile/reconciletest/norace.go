//go:build !race

package reconciletest

// RaceDetector makes a scenario ten times as slow: there are fewer then.
const RaceDetector = false
