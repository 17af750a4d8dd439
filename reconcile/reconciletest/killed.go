package reconciletest

import "errors"

// ErrKilled ends an agent in the middle of what it does, as kill -9 does.
var ErrKilled = errors.New("the agent was killed")
