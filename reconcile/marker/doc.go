// Package marker reads and writes the ownership marker: the one line in the Notes of a guest or an archive
// that says that this agent manages it, for which object, and since when. Whatever stands in Notes was
// written by anybody; a line that is not exactly a marker is none.
package marker
