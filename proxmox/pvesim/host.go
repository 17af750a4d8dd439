package pvesim

import "context"

// Host is the machine of a simulated node.
type Host struct {
	sim  *Sim
	node string
}

func (h *Host) Run(ctx context.Context, program string, args []string, progress func(line string)) (output []byte, exit int, err error) {
	return nil, 0, errSkeleton
}
func (h *Host) NodeName() (string, error)                         { return h.node, nil }
func (h *Host) BlockDevices() ([]string, error)                   { return nil, errSkeleton }
func (h *Host) MountInfo(pid int) ([]byte, error)                 { return nil, errSkeleton }
func (h *Host) ReadFile(path string) ([]byte, error)              { return nil, errSkeleton }
func (h *Host) ReplaceFile(path string, old, new []byte) error    { return errSkeleton }
func (h *Host) MakeMountPoint(path string) (bool, error)          { return false, errSkeleton }
func (h *Host) SyncFS(path string) error                          { return errSkeleton }
func (h *Host) Exclusive(device string) error                     { return errSkeleton }
func (h *Host) SealRootfs(path string) (done []string, err error) { return nil, errSkeleton }
