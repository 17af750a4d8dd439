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

// Names are all names by which the object is [Object.Called], or which it [Object.Had].
func (o *Object) Names() []string {
	names := []string{o.Ref.String()}
	series, guest, one := strings.Cut(o.Ref.Name, "/")
	if one {
		names = append(names, Ref{o.Ref.Kind, series}.String())
	}
	if o.Was != "" {
		was := Ref{o.Ref.Kind, o.Was}.String()
		if names = append(names, was); one {
			names = append(names, was+"/"+guest)
		}
	}
	return names
}
