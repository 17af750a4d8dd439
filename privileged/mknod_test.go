package privileged

import (
	"os"
	"path/filepath"
	"syscall"
)

// mknodChar makes a character device that is as good as /dev/null.
func mknodChar(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return syscall.Mknod(name, syscall.S_IFCHR|0o666, 1<<8|3)
}
