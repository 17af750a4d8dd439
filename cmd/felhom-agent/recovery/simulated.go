package recovery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/simulated"
	"github.com/felhom/felhom-agent/privileged"
)

// Simulated is a simulated node that is kept in a file, as a [Host]. The agent's own files are beside it, in FILE.etc and FILE.state.
type Simulated struct {
	files
	con   *console.Console
	world string
	real  bool // a folder with a kit is one of this machine
	agent func(ctx context.Context, args ...string) (int, error)
}

// NewSimulated is the node in a file. real says that kits are read from folders of this machine; agent runs a mode of this program.
func NewSimulated(con *console.Console, world string, real bool, agent func(ctx context.Context, args ...string) (int, error)) *Simulated {
	s := &Simulated{con: con, world: world, real: real, agent: agent}
	s.files = files{s.where, time.Now}
	return s
}

func (s *Simulated) where(file string) string {
	for from, to := range map[string]string{etc: ".etc", path.Dir(stateFile): ".state"} {
		if rest, ok := strings.CutPrefix(file, from); ok {
			return s.world + to + rest
		}
	}
	return s.world + ".etc" + file
}

// open loads the node for one call, and saves it afterwards.
func (s *Simulated) open(ctx context.Context, use func(*simulated.World) error) error {
	return s.call(ctx, true, use)
}

// look loads the node for one question, which changes nothing.
func (s *Simulated) look(ctx context.Context, use func(*simulated.World) error) error {
	return s.call(ctx, false, use)
}

func (s *Simulated) call(ctx context.Context, write bool, use func(*simulated.World) error) error {
	w, err := simulated.OpenWorld(ctx, s.con, s.world, write, false, time.Minute)
	if err != nil {
		return err
	}
	err = use(w)
	if e := w.Close(); err == nil {
		err = e
	}
	return err
}

// NodeName implements [Host].
func (s *Simulated) NodeName() (name string, err error) {
	err = s.look(context.Background(), func(w *simulated.World) error {
		name, err = w.Sim.Host(w.Sim.Node()).NodeName()
		return err
	})
	return name, err
}

// Run implements [Host].
func (s *Simulated) Run(ctx context.Context, program string, args ...string) (out []byte, exit int, err error) {
	err = s.open(ctx, func(w *simulated.World) error {
		out, exit, err = w.Sim.Host(w.Sim.Node()).Run(ctx, program, args, nil)
		return err
	})
	return out, exit, err
}

// Feed implements [Host]. A key file is one of this machine: the simulated host has it for this call.
func (s *Simulated) Feed(ctx context.Context, input []byte, program string, args ...string) (out []byte, exit int, err error) {
	err = s.open(ctx, func(w *simulated.World) error {
		if i := slices.Index(args, "--encryption-key"); i >= 0 && i+1 < len(args) {
			key, err := os.ReadFile(args[i+1])
			if err == nil {
				err = w.Sim.PutFile(args[i+1], key)
			}
			if err != nil {
				return err
			}
			defer w.Sim.PutFile(args[i+1], nil)
		}
		out, exit, err = w.Sim.Host(w.Sim.Node()).Feed(ctx, input, program, args...)
		return err
	})
	return out, exit, err
}

// Root implements [Host].
func (s *Simulated) Root() privileged.Runner { return simulatedRoot{s} }

type simulatedRoot struct{ s *Simulated }

func (r simulatedRoot) Ask(ctx context.Context, q privileged.Query) (answer privileged.Answer, err error) {
	err = r.s.look(ctx, func(w *simulated.World) error {
		answer, err = (&privileged.Local{Host: w.Sim.Host(w.Sim.Node())}).Ask(ctx, q)
		return err
	})
	return answer, err
}

func (r simulatedRoot) Do(ctx context.Context, op privileged.Op, progress func(string)) (result privileged.Result, err error) {
	err = r.s.open(ctx, func(w *simulated.World) error {
		result, err = (&privileged.Local{Host: w.Sim.Host(w.Sim.Node())}).Do(ctx, op, progress)
		return err
	})
	return result, err
}

// Disk implements [Host].
func (s *Simulated) Disk(dir string) (kit.Folder, func(), error) {
	if s.real {
		disk, err := kit.OpenDisk(dir)
		return disk, func() { disk.Close() }, err
	}
	return simulatedDisk{s, dir}, func() {}, nil
}

// simulatedDisk is a folder of the simulated host.
type simulatedDisk struct {
	s   *Simulated
	dir string
}

func (d simulatedDisk) Entries(dir string) (entries []kit.Entry, err error) {
	err = d.s.look(context.Background(), func(w *simulated.World) error {
		h := w.Sim.Host(w.Sim.Node())
		names, err := h.ReadDir(path.Join(d.dir, dir))
		for _, name := range names {
			_, file := h.ReadFile(path.Join(d.dir, dir, name))
			entries = append(entries, kit.Entry{Name: name, Dir: file != nil, Regular: file == nil})
		}
		return err
	})
	return entries, err
}

func (d simulatedDisk) Read(file string, most int64) (text []byte, err error) {
	err = d.s.look(context.Background(), func(w *simulated.World) error {
		text, err = w.Sim.Host(w.Sim.Node()).ReadFile(path.Join(d.dir, file))
		return err
	})
	if err == nil && int64(len(text)) > most {
		return nil, fmt.Errorf("%s makes the kit larger than a kit may be: %w", file, fs.ErrInvalid)
	}
	return text, err
}

// PutTemplate implements [Host]. A simulated node keeps of a template its size, and of one of its own what it says of itself.
func (s *Simulated) PutTemplate(ctx context.Context, dir, file, volume, sum string) error {
	var from io.Reader
	if s.real {
		disk, err := kit.OpenDisk(dir)
		if err != nil {
			return err
		}
		defer disk.Close()
		f, err := disk.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		from = f
	} else {
		text, err := simulatedDisk{s, dir}.Read(file, 1<<10)
		if err != nil {
			return err
		}
		from = bytes.NewReader(text)
	}
	var size counter
	have, err := copyHashed(&size, from)
	if err == nil {
		err = rightSum(file, have, sum)
	}
	if err != nil {
		return err
	}
	return s.open(ctx, func(w *simulated.World) error { return w.Sim.PutTemplate(volume, string(size.begin), size.n) })
}

// A counter keeps the size of what is written to it, and how it begins.
type counter struct {
	n     int64
	begin []byte
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.begin = append(c.begin, p[:min(len(p), 1<<10-len(c.begin))]...)
	return len(p), nil
}

// Agent implements [Host]: the mode, on this node and with these files.
func (s *Simulated) Agent(ctx context.Context, args ...string) (int, error) {
	all := []string{"--simulate=" + s.world}
	for _, arg := range args {
		if arg == desiredDir {
			arg = s.where(arg)
		}
		all = append(all, arg)
	}
	return s.agent(ctx, append(all, "--config", s.where(agentFile))...)
}

// WriteFile implements [Host]. A simulated node remembers itself which token the agent has, so agent.yaml tells it.
func (s *Simulated) WriteFile(file string, text []byte, mode fs.FileMode) error {
	if err := s.files.WriteFile(file, text, mode); err != nil || file != agentFile {
		return err
	}
	return s.open(context.Background(), func(w *simulated.World) error {
		w.Sim.UseToken(kit.Key(text, "token_id"))
		return nil
	})
}
