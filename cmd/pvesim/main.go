// Pvesim serves a simulated Proxmox VE node over HTTPS, for any client of the API.
//
//	pvesim -listen 127.0.0.1:8006 -world node.yaml
//
// keeps the node in node.yaml: made when it does not exist, read when it does, written
// every ten seconds when something happened, and at the end (SIGINT or SIGTERM). The clock
// of the node stands still while nobody serves it. Without -world the node is forgotten
// at the end. Its certificate is self-made and kept beside the world, in node.yaml.pem, so
// that the fingerprint a client pinned stays right; who deletes it gets another one.
//
// It prints the URL, the fingerprint and the tokens, with their secrets: all of it is pretence.
//
// With -fence unix:PATH it also serves the protocol of felhom-fence on a socket, for the
// machine of the first node, so that an agent in another process can mount its disks.
//
// Three more modes end at once: -reinstall rewrites the world as it is after a fire (a new
// machine, the old disks; with -bare as the installer leaves it, with local storages alone), -data prints a line VMID MP FINGERPRINT for each volume of a guest,
// -version says which pvesim this is, and of which PVE.
//
// It exits with 4 when the command line is wrong, with 1 when something failed, else with 0.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// version is set by `go build -ldflags "-X main.version=1.2.3"`.
var version = "development"

const (
	exitFailed = 1
	exitUsage  = 4
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are the command line.
type options struct {
	listen    string
	world     string
	fence     string // the path of the socket
	speed     float64
	reinstall bool
	bare      bool
	data      bool
	version   bool
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	o, err := parse(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(errs, "pvesim: %v\n", err)
		return exitUsage
	}
	switch {
	case o.version:
		fmt.Fprintf(out, "pvesim %s, a node of PVE %s, %s\n", version, pvesim.New().Version(), runtime.Version())
	case o.reinstall:
		err = reinstall(o, out)
	case o.data:
		err = data(o, out)
	default:
		err = serve(ctx, o, out, errs)
	}
	if err != nil {
		fmt.Fprintf(errs, "pvesim: %v\n", err)
		return exitFailed
	}
	return 0
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	var fence string
	f := flag.NewFlagSet("pvesim", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.listen, "listen", "127.0.0.1:8006", "`address` to serve HTTPS on; port 0 takes a free one")
	f.StringVar(&o.world, "world", "", "`file` that keeps the node; it is made when it does not exist")
	f.Float64Var(&o.speed, "speed", 1, "how many `times` faster than real its tasks are")
	f.StringVar(&fence, "fence", "", "also serve the fence's protocol on the socket `unix:PATH`")
	f.BoolVar(&o.reinstall, "reinstall", false, "rewrite the world as it is after a fire: a new machine, the old disks; then exit")
	f.BoolVar(&o.bare, "bare", false, "with -reinstall: with what Proxmox VE's installer makes alone, without storages, users and templates of the old host")
	f.BoolVar(&o.data, "data", false, "print VMID MP FINGERPRINT of every guest's volumes; then exit")
	f.BoolVar(&o.version, "version", false, "print the version, and that of PVE that a fresh node has; then exit")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(out, "pvesim serves a simulated Proxmox VE node over HTTPS.")
			f.SetOutput(out)
			f.PrintDefaults()
		}
		return o, err
	}
	path, isUnix := strings.CutPrefix(fence, "unix:")
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%q is no flag; see pvesim -help", f.Arg(0))
	case o.bare && !o.reinstall:
		return o, errors.New("-bare belongs to -reinstall")
	case o.reinstall && o.data:
		return o, errors.New("-reinstall and -data exclude each other")
	case (o.reinstall || o.data) && o.world == "":
		return o, errors.New("-reinstall and -data need -world FILE")
	case (o.reinstall || o.data) && fence != "":
		return o, errors.New("-reinstall and -data serve nothing; leave out -fence")
	case o.speed <= 0:
		return o, fmt.Errorf("-speed %g: give a number above 0", o.speed)
	case fence != "" && (!isUnix || path == ""):
		return o, fmt.Errorf("-fence %s: give unix:PATH", fence)
	}
	o.fence = path
	return o, nil
}

// load reads the world; a file that does not exist is the fresh one when it may be made.
func load(path string, make bool) (*pvesim.Sim, error) {
	if path == "" {
		return pvesim.New(), nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && make {
		return pvesim.New(), nil
	}
	if err != nil {
		return nil, err
	}
	sim, err := pvesim.Load(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return sim, nil
}

func reinstall(o options, out io.Writer) error {
	unlock, err := lock(o.world)
	if err != nil {
		return err
	}
	defer unlock()
	sim, err := load(o.world, false)
	if err != nil {
		return err
	}
	sim.Reinstall()
	if o.bare {
		sim.Strip()
	}
	text, err := sim.Save()
	if err != nil {
		return err
	}
	if err := replace(o.world, text, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %s is installed anew; no guests, the disks unmounted\n", o.world, sim.Node())
	return nil
}

func data(o options, out io.Writer) error {
	sim, err := load(o.world, false)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, sim.Data())
	return err
}
