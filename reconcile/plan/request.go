package plan

import (
	"regexp"
)

var VmidInPath = regexp.MustCompile(`/lxc/(\d+)`)
