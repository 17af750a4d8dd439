package spec

// Error is one mistake in a file: where it is, what is wrong and how to put it
// right.
type Error struct {
	File    string
	Line    int    // 0: the whole file
	Field   string // "restores.web.config.memory", empty: none in particular
	Message string // begins small, without a full stop
	Cure    string // a sentence
}

func (e *Error) Error() string { return "" }
