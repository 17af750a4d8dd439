package privileged

import (
	"errors"
	"testing"
)

// What a limit must leave room for: shared memory, locked and dirty pages count, clean file pages do not.
func TestGuestMemory(t *testing.T) {
	const mib = 1 << 20
	for stat, want := range map[string]int64{
		"anon 104857600\nshmem 104857600\ninactive_file 52428800\nactive_file 52428800\nfile_dirty 0\nfile_writeback 0\nunevictable 0\n": 200 * mib,
		"anon 104857600\nshmem 0\ninactive_file 104857600\nactive_file 0\nfile_dirty 52428800\nfile_writeback 10485760\n":                260 * mib,
		"inactive_file 999999999999\n":                      0,
		"inactive_file nan\nactive_file -5\nfile_dirty\n\n": 300 * mib,
		"": 300 * mib,
	} {
		box := newBox(t)
		box.write("/sys/fs/cgroup/lxc/201/memory.current", "314572800\n", 0o644)
		box.write("/sys/fs/cgroup/lxc/201/memory.swap.current", "5\n", 0o644)
		box.write("/sys/fs/cgroup/lxc/201/memory.stat", stat, 0o644)
		m, err := MemoryOf(t.Context(), box, testNode, 201)
		if err != nil || m.Pinned() != want || m.Swap != 5 {
			t.Errorf("%q: %+v, pinned %d, want %d; %v", stat, m, m.Pinned(), want, err)
		}
	}
	var refused *RefusedError
	if _, err := MemoryOf(t.Context(), newBox(t), testNode, 201); !errors.As(err, &refused) || !refused.Missing {
		t.Errorf("a guest that does not run: %v", err)
	}
}
