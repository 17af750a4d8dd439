package recovery

import (
	"context"
	"io/fs"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/privileged"
)

// The agent's own files on a host.
const (
	etc        = "/etc/felhom-agent"
	agentFile  = etc + "/agent.yaml"
	tokenFile  = etc + "/token"
	policyFile = privileged.PolicyPath
	desiredDir = etc + "/desired"
	markFile   = etc + "/recovery.json" // what a recovery has begun with
	stateFile  = "/var/lib/felhom-agent/state.json"

	service = "felhom-agent.service"
	socket  = "felhom-fence.socket"
)

// The programs of a host that a recovery uses. There is no shell between.
const (
	pvesm     = "/usr/sbin/pvesm"
	pveum     = "/usr/sbin/pveum"
	pveam     = "/usr/bin/pveam"
	pvesh     = "/usr/bin/pvesh"
	systemctl = "/usr/bin/systemctl"
	mount     = "/usr/bin/mount"
	umount    = "/usr/bin/umount"
	mkdir     = "/usr/bin/mkdir"
)

// Host is the machine that is set up again: a real one or a simulated one. All paths are absolute.
type Host interface {
	// NodeName is the node that /etc/pve/local points to.
	NodeName() (string, error)
	// Run runs a program without a shell. Its exit code is no error; output is standard output, and where it fails also standard error.
	Run(ctx context.Context, program string, args ...string) (output []byte, exit int, err error)
	// Feed is Run with a standard input.
	Feed(ctx context.Context, input []byte, program string, args ...string) (output []byte, exit int, err error)
	// Root does what the root helper does, in its own code.
	Root() privileged.Runner
	// Disk reads what is below a folder, which may be anybody's.
	Disk(dir string) (disk kit.Folder, done func(), err error)
	// ReadFile and List read the agent's own files; they fail with fs.ErrNotExist.
	ReadFile(path string) ([]byte, error)
	List(dir string) ([]string, error)
	// WriteFile puts a file of the agent in its place, all of it or nothing; what was there is kept beside it with the date.
	WriteFile(path string, text []byte, mode fs.FileMode) error
	// WriteFolder does so with a folder of files.
	WriteFolder(dir string, files map[string][]byte) error
	// PutTemplate copies a container template from a folder, which may be anybody's, to the storage of its volume id, all of it or nothing, where no
	// such file is yet. sha512 is what it must have, in hexadecimal digits, or "". It fails with fs.ErrNotExist where the folder has none.
	PutTemplate(ctx context.Context, dir, file, volume, sha512 string) error
	// Origins are what the agent has created guests from, by the name of the object, as its journal says.
	Origins() map[string]string
	// Agent runs a mode of this program on the host, which prints to the terminal.
	Agent(ctx context.Context, args ...string) (exit int, err error)
}
