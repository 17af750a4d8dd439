//go:build !race

package reconcile

// raceDetector makes a scenario ten times as slow: there are fewer then.
const raceDetector = false
