package privileged

import (
	"errors"
	"syscall"
	"unsafe"
)

const cloneNewPID = 0x20000000 // syscall.CLONE_NEWPID

// connectAs makes a socket that a child of this thread connects to a path, as a user. The child begins in the process namespace of which the thread's
// children are, and ends at once.
func connectAs(user uint32, path string) (fd int, err error) {
	to := syscall.RawSockaddrUnix{Family: syscall.AF_UNIX}
	if len(path) >= len(to.Path) {
		return -1, syscall.ENAMETOOLONG
	}
	for i := range len(path) {
		to.Path[i] = int8(path[i])
	}
	if fd, err = syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0); err != nil {
		return -1, err
	}
	child, errno := connectInChild(user, fd, &to, uintptr(unsafe.Offsetof(to.Path))+uintptr(len(path))+1)
	if errno == 0 {
		errno = endOf(child)
	}
	if errno != 0 {
		syscall.Close(fd)
		return -1, errno
	}
	return fd, nil
}

// connectInChild forks. What the child runs is three calls of the kernel: it has one of many threads and must neither grow its stack nor wait for another.
//
//go:norace
//go:nosplit
//go:noinline
func connectInChild(user uint32, fd int, to *syscall.RawSockaddrUnix, length uintptr) (child int, errno syscall.Errno) {
	var all, before uint64 = ^uint64(0), 0
	const block, restore = 0, 2 // SIG_BLOCK, SIG_SETMASK: no handler of ours runs in the child
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, block, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&before)), 8, 0, 0)
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if pid == 0 && errno == 0 {
		_, _, failed := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(user), ^uintptr(0))
		if failed == 0 {
			_, _, failed = syscall.RawSyscall(syscall.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(to)), length)
		}
		for {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(failed), 0, 0)
		}
	}
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, restore, uintptr(unsafe.Pointer(&before)), 0, 8, 0, 0)
	return int(pid), errno
}

// endOf waits for a child that ends with an error number.
func endOf(child int) syscall.Errno {
	var status syscall.WaitStatus
	for {
		switch _, err := syscall.Wait4(child, &status, 0, nil); {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return syscall.ECHILD
		case !status.Exited(): // its container has ended
			return syscall.ESRCH
		}
		return syscall.Errno(status.ExitStatus())
	}
}
