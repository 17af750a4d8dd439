// Package laws has no code but its tests: laws that hold over whole lives of simulated nodes, with people, accidents,
// kills and lost answers, each from a seed. They see the desired state and the simulated node, and judge the world
// that comes out. See docs/contributing.md for how to add a law or a mutant.
package laws
