package spec

import "strings"

// Had reports whether a name such as "snapshots/hourly" was the object's before, by its `was`, as a whole, or that of its series.
func (o *Object) Had(name string) bool {
	if o.Was == "" {
		return false
	}
	was := Ref{o.Ref.Kind, o.Was}.String()
	_, guest, one := strings.Cut(o.Ref.Name, "/")
	return name == was || one && name == was+"/"+guest
}
