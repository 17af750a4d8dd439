package spec

import "strings"

// Series is the object's name as the YAML has it: without the guest of a snapshot object that is for several.
func (o *Object) Series() string {
	name, _, _ := strings.Cut(o.Ref.Name, "/")
	return name
}

// Called reports whether a name such as "snapshots/hourly" is the object's, as a whole, or that of its series.
func (o *Object) Called(name string) bool {
	return name == o.Ref.String() || name == Ref{o.Ref.Kind, o.Series()}.String()
}

// Names are all names that mean the object, as in "snapshots/hourly/web": those by which it is [Object.Called], and those that it
// had, by its `was` and by that of the guest of a series.
func (o *Object) Names() []string {
	series, guest, one := strings.Cut(o.Ref.Name, "/")
	all := []string{series}
	if o.Was != "" {
		all = append(all, o.Was)
	}
	var names []string
	for _, series := range all {
		name := Ref{o.Ref.Kind, series}.String()
		if names = append(names, name); !one {
			continue
		}
		if names = append(names, name+"/"+guest); o.guestWas != "" {
			names = append(names, name+"/"+o.guestWas)
		}
	}
	return names
}
