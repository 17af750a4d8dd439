//go:build race

package reconciletest

const RaceDetector = true
