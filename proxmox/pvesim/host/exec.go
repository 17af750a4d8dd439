package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// A process is one program that runs on a host.
type process struct {
	cl       *cluster.Cluster
	n        *world.Node
	ctx      context.Context
	args     []string
	progress func(string)
	input    string // what it reads
	out      strings.Builder
}

func (p *process) print(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	p.out.WriteString(line + "\n")
	if p.progress != nil {
		for _, l := range strings.Split(line, "\n") {
			p.progress(l)
		}
	}
}

// complain prints and is the exit code.
func (p *process) complain(exit int, format string, args ...any) int {
	p.print(format, args...)
	return exit
}

// programs are what the host can run, by their absolute paths.
var programs = map[string]func(*process) (exit int, err error){}

func init() {
	for name, run := range map[string]func(*process) (int, error){
		"/usr/bin/mount":      runMount,
		"/usr/bin/umount":     runUmount,
		"/usr/bin/mountpoint": runMountpoint,
		"/usr/bin/findmnt":    runFindmnt,
		"/usr/bin/lxc-info":   runLxcInfo,
		"/usr/bin/systemctl":  runSystemctl,
		"/usr/bin/chattr":     runChattr,
		"/usr/bin/sync":       runSync,
		"/usr/bin/mkdir":      runMkdir,
		"/usr/bin/rmdir":      runRmdir,
		"/usr/bin/rm":         runRm,
		"/usr/bin/cat":        runCat,
		"/usr/bin/flock":      runFlock,
		"/usr/bin/kill":       runKill,
		"/usr/bin/sensors":    runSensors,
		"/usr/sbin/smartctl":  runSmartctl,
		"/usr/sbin/blkid":     runBlkid,
		"/usr/sbin/mkfs.ext4": runMkfs("ext4"),
		"/usr/sbin/mkfs.xfs":  runMkfs("xfs"),
		"/usr/sbin/reboot":    runRebootHost,
		"/usr/sbin/pct":       runPct,
		"/usr/bin/vzdump":     runVzdumpProgram,
		"/usr/sbin/pvesm":     runPvesm,
		"/usr/sbin/pveum":     runPveum,
		"/usr/bin/pveam":      runPveam,
		"/usr/bin/pvesh":      runPvesh,
	} {
		programs[name] = run
	}
}

// Run interprets a program with its arguments. An exit code other than 0 is no err; a
// program that the simulator does not know is one, so that a test with it fails.
// It takes as long as the task behind it. Output and progress are what it prints.
func (h *Host) Run(ctx context.Context, program string, args []string, progress func(line string)) (output []byte, exit int, err error) {
	return run(h, &process{ctx: ctx, args: args, progress: progress}, program)
}

// Feed is [Host.Run] of a program with a standard input.
func (h *Host) Feed(ctx context.Context, input []byte, program string, args ...string) (output []byte, exit int, err error) {
	return run(h, &process{ctx: ctx, args: args, input: string(input)}, program)
}

func run(h *Host, p *process, program string) (output []byte, exit int, err error) {
	defer h.cl.Enter()()
	n := h.cl.World.Node(h.node)
	if n == nil {
		return nil, 0, fmt.Errorf("pvesim: there is no node %q", h.node)
	}
	start := programs[program]
	if start == nil {
		return nil, 0, fmt.Errorf("pvesim: %s: %w on the simulated host", program, fs.ErrNotExist)
	}
	if p.ctx == nil {
		p.ctx = context.Background()
	}
	for _, d := range n.Disks {
		if d.Hangs && !d.Absent && slices.Contains(p.args, d.Device) {
			h.cl.Away(func() { <-p.ctx.Done() })
			return nil, 0, p.ctx.Err()
		}
	}
	p.cl, p.n = h.cl, n
	exit, err = start(p)
	return []byte(p.out.String()), exit, err
}

// Shell runs a command line as root on a node's host, with 'single' and "double" quotes:
// `pct stop 101`. An exit code other than 0 is an error that has the output.
func Shell(cl *cluster.Cluster, nodeName, cmdline string) (string, error) {
	argv := words(cmdline)
	if len(argv) == 0 {
		return "", errors.New("pvesim: an empty command line")
	}
	program := argv[0]
	if !strings.HasPrefix(program, "/") {
		for _, dir := range []string{"/usr/sbin/", "/usr/bin/"} {
			if programs[dir+program] != nil {
				program = dir + program
				break
			}
		}
	}
	out, exit, err := New(cl, nodeName).Run(context.Background(), program, argv[1:], nil)
	if err == nil && exit != 0 {
		err = fmt.Errorf("%s: exit %d: %s", cmdline, exit, strings.TrimSpace(string(out)))
	}
	return string(out), err
}

func words(line string) []string {
	var out []string
	var cur strings.Builder
	quote, any := byte(0), false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, any = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n'):
			if any {
				out = append(out, cur.String())
			}
			cur.Reset()
			any = false
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			cur.WriteByte(line[i])
			any = true
		default:
			cur.WriteByte(c)
			any = true
		}
	}
	if any {
		out = append(out, cur.String())
	}
	return out
}

// flags splits options from the rest; those in valued take the next argument.
func (p *process) flags(valued string) (options map[string]string, rest []string) {
	options = make(map[string]string)
	for i := 0; i < len(p.args); i++ {
		a := p.args[i]
		switch {
		case a == "--":
			return options, append(rest, p.args[i+1:]...)
		case len(a) > 1 && a[0] == '-':
			name, val, has := strings.Cut(a, "=")
			if !has && strings.Contains(" "+valued+" ", " "+name+" ") && i+1 < len(p.args) {
				i++
				val = p.args[i]
			}
			options[name] = val
		default:
			rest = append(rest, a)
		}
	}
	return options, rest
}

func (p *process) has(options map[string]string, name string) bool {
	_, ok := options[name]
	return ok
}

func runSmartctl(p *process) (int, error) {
	_, rest := p.flags("-d -n -A -H -i")
	if len(rest) != 1 {
		return p.complain(1, `{"smartctl":{"exit_status":1,"messages":[{"string":"ERROR: smartctl requires a device name as the final command-line argument.","severity":"error"}]}}`), nil
	}
	for _, d := range p.n.Disks {
		if d.Absent || d.Device != rest[0] && world.WholeDisk(d.Device) != rest[0] {
			continue
		}
		exit := 0
		if d.Failing {
			exit = 8
		}
		var j jsontext.Doc
		j.Open().Key("smartctl").Open().Key("version").List()
		j.B = append(j.B, "7,4"...)
		j.End().Num("exit_status", int64(exit)).Close()
		j.Key("device").Open().Str("name", rest[0]).Str("type", "sat").Str("protocol", "ATA").Close()
		j.Str("model_name", d.Model).Str("serial_number", d.Serial).Num("rotation_rate", 5400)
		j.Key("smart_status").Open().Key("passed")
		j.B = append(j.B, fmt.Sprint(!d.Failing)...)
		j.Close().Key("ata_smart_attributes").Open().Key("table").List()
		for _, a := range world.DiskAttributes(d) {
			j.Open().Num("id", int64(a.ID)).Str("name", a.Name).Num("value", 100).Num("worst", 100).Num("thresh", int64(a.Threshold))
			j.Key("raw").Open().Num("value", int64(notation.Atoi(a.Raw))).Str("string", cmp.Or(a.Raw, "0")).Close().Close()
		}
		j.End().Close().Key("power_on_time").Open().Num("hours", 8123).Close().Key("temperature").Open().Num("current", 34).Close().Close()
		p.print("%s", j.B)
		return exit, nil
	}
	return p.complain(2, `{"smartctl":{"exit_status":2,"messages":[{"string":"Smartctl open device: %s failed: No such device","severity":"error"}]}}`, rest[0]), nil
}

func runSensors(p *process) (int, error) {
	p.print(`{
   "k10temp-pci-00c3":{
      "Adapter": "PCI adapter",
      "Tctl":{
         "temp1_input": 46.250
      }
   },
   "nct6775-isa-0290":{
      "Adapter": "ISA adapter",
      "fan1":{
         "fan1_input": 812.000,
         "fan1_min": 0.000
      }
   }
}`)
	return 0, nil
}
