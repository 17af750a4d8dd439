package config

import (
	"fmt"
	"os"
	"os/user"
)

// User is the user as whom this process runs.
func User() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("user %d", os.Getuid())
}
