// Package source is the desired state in force: what PATH says, or said when it was last valid.
package source
