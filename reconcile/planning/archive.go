package planning

// where names a storage and, where it lies on a disk that takes turns, the disk.
func (p *Planner) where(storage string) string {
	if m, mounted := p.Have.MountOf(p.Want, storage); m != nil && mounted {
		if disk, ok := p.Have.MountedDisk(m); ok && disk.Label != "" {
			return storage + ", " + disk.Label
		}
	}
	return storage
}
