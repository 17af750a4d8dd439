package privileged

import "syscall"

const (
	sysFstatat = syscall.SYS_NEWFSTATAT
	sysSyncfs  = 306
	sysSetns   = 308
)
