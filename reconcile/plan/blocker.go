package plan

// An Blocker is why a storage cannot be used, or seen, now.
type Blocker struct {
	Reason string
	Fix    []string
	Mount  string // the declared mount whose disk this plan is about to mount: wait for it
	Passes bool   // it is expected to, by itself
}
