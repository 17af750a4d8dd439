// Package config reads agent.yaml and its environment overrides: one flat set of keys, each with the place
// it was given in, so that an error names file and line. It reads the token's secret and never prints it.
package config
