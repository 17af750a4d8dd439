package questions

// Where names a storage and, where it lies on a disk that takes turns, the disk.
func Where(q Questions, storage string) string {
	if m, mounted := q.Have.MountOf(q.Want, storage); m != nil && mounted {
		if disk, ok := q.Have.MountedDisk(m); ok && disk.Label != "" {
			return storage + ", " + disk.Label
		}
	}
	return storage
}
