// Package pull brings the desired state from a git repository: what was fetched is a fast-forward of what is in
// force, signed where signatures are asked for, read without a checkout, checked as --check does, and only then put in
// the old one's place, all of it at once. It runs git itself, as a user who may do nothing else, and leaves beside the
// folder a note of what it took and what it refused.
package pull
