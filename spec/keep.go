package spec

// Keep says how many of what is kept, with the meaning of PVE's prune-backups.
type Keep struct{ Last, Hourly, Daily, Weekly, Monthly, Yearly int }

// IsZero reports whether everything is kept.
func (k Keep) IsZero() bool { return k == Keep{} }

// String is "daily 7, weekly 4", "all" where everything is kept.
func (k Keep) String() string { return "all" }
