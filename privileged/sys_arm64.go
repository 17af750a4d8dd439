package privileged

import "syscall"

const (
	sysFstatat = syscall.SYS_FSTATAT
	sysSyncfs  = 267
	sysSetns   = 268
)
