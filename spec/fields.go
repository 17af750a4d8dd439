package spec

// Class says when a change of a field takes effect, as PVE does it on a
// running guest.
type Class string

// The classes.
const (
	Live         Class = "live"
	NeedsRestart Class = "needs restart"
	BirthOnly    Class = "birth-only" // read when the object is created; later a difference is a note
	RootOnly     Class = "root-only"  // through the fence
	Agent        Class = "agent"      // read by the agent alone, PVE never sees it
)

// Field is one line of the table of the language.
type Field struct {
	Kind  Kind
	Path  string // below the object: "config.netN.ip"
	Type  string // as in the documentation: "size", "duration", "list of names"
	Class Class
	Doc   string
}
