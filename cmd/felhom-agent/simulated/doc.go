// Package simulated opens the simulated node of --simulate, in memory or in a file that is kept between
// calls.
package simulated
