package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A bench is where agents are ended: the two programs as they are built, and a world that is as it was before any
// of them came.
type bench struct {
	agent, pvesim string // programs
	fresh         string // the file of the world; its certificate lies beside it
	desired       string
	dir           string // for the households
}

// newBench builds the programs and makes the world.
func newBench(ctx context.Context, dir string) (*bench, error) {
	b := &bench{agent: filepath.Join(dir, "felhom-agent"), pvesim: filepath.Join(dir, "pvesim"), fresh: filepath.Join(dir, "fresh.yaml"), dir: dir}
	b.desired = filepath.Join(dir, "desired")
	if err := errors.Join(os.CopyFS(b.desired, os.DirFS("../../examples/desired")), os.WriteFile(filepath.Join(b.desired, "vms.yaml"), []byte(crashVMs), 0o600)); err != nil {
		return nil, err
	}
	overlay, err := hasty(dir)
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", dir, ".", "../pvesim").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %v\n%s", err, out)
	}
	sim, err := b.startNode(b.fresh, "")
	if err != nil {
		return nil, err
	}
	return b, errors.Join(sim.stop(), withVMs(b.fresh))
}

// crashVMs are the virtual machines of the household: one is changed and restarted, one grows, one was lost and comes back from its backup.
const crashVMs = `node: pve1
guests:
  hass:
    vmid: 105
    type: vm
    state: running
    restart: auto
    config: {memory: 4GiB, cores: 2, net0: {bridge: vmbr0, firewall: true}, tags: [home]}
  router: {vmid: 106, type: vm, state: stopped, config: {virtio0: {size: 5G}}}
restores:
  mail: {vmid: 107, type: vm, from: {newest: local}, storage: local-lvm, state: running}
snapshots:
  before-upgrade: {guest: hass, taken: 2026-11-22}
`

// withVMs gives a world its virtual machines, as root made them.
func withVMs(world string) error {
	text, err := os.ReadFile(world)
	if err != nil {
		return err
	}
	sim, err := pvesim.Load(text)
	if err != nil {
		return err
	}
	addVMs(sim)
	at := "/nodes/" + sim.Node() + "/"
	sim.Do("root@pam", "POST", at+"qemu", map[string]string{"vmid": "107", "name": "mail", "memory": "512", "scsi0": "local-lvm:4", "net0": "virtio=BC:24:11:00:00:07,bridge=vmbr0"})
	sim.Advance(time.Minute)
	sim.Do("root@pam", "POST", at+"vzdump", map[string]string{"vmid": "107", "storage": "local", "mode": "snapshot", "compress": "zstd"})
	sim.Advance(time.Minute)
	sim.LoseConfig(107)
	if status, body := sim.Do("root@pam", "DELETE", at+"storage/local-lvm/content/local-lvm:vm-107-disk-0", nil); status != 200 {
		return fmt.Errorf("%d %s", status, body)
	}
	sim.Advance(time.Minute)
	if text, err = sim.Save(); err != nil {
		return err
	}
	return os.WriteFile(world, text, 0o600)
}

// hasty writes the overlay of an agent that gives another one 50 ms to show its backup, and for which a lost answer
// may be settled after 2 s: the node here never carries out a request later than that, and the waiting is all that
// these tests would do otherwise.
func hasty(dir string) (overlay string, err error) {
	replace := map[string]string{}
	for file, change := range map[string][2]string{
		"config/settle.go": {"leastSettle = 30 * time.Second", "leastSettle = 2 * time.Second"},
		"run.go":           {"o.Stagger = 5 * time.Second", "o.Stagger = 50 * time.Millisecond"},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if strings.Count(string(text), change[0]) != 1 {
			return "", fmt.Errorf("%s must have once: %s", file, change[0])
		}
		from, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		to := filepath.Join(dir, filepath.Base(file))
		replace[from] = to
		if err := os.WriteFile(to, []byte(strings.Replace(string(text), change[0], change[1], 1)), 0o600); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, text, 0o600)
}

// seldom has a program collect its garbage less often: these are many, and small.
const seldom = "GOGC=400"

// A simNode is a pvesim that runs.
type simNode struct {
	process         *exec.Cmd
	addr, print     string
	tokenID, secret string
	errs            bytes.Buffer
}

func (b *bench) startNode(world, fence string) (*simNode, error) {
	args := []string{"-listen", "127.0.0.1:0", "-world", world, "-speed", "100"}
	if fence != "" {
		args = append(args, "-fence", "unix:"+fence)
	}
	n := &simNode{process: exec.Command(b.pvesim, args...)}
	n.process.Stderr = &n.errs
	n.process.Env = append(os.Environ(), seldom)
	out, err := n.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.process.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		value = strings.TrimSpace(value)
		switch key {
		case "url":
			n.addr = strings.TrimPrefix(value, "https://")
		case "fingerprint":
			n.print = value
		case "token":
			if id, secret, _ := strings.Cut(value, "="); n.tokenID == "" {
				n.tokenID, n.secret = id, secret
			}
		case "world": // the last one
			go io.Copy(io.Discard, out)
			return n, nil
		}
	}
	return nil, errors.Join(errors.New("pvesim ended at once: "+n.errs.String()), n.process.Wait())
}

// stop ends the node, which saves its world.
func (n *simNode) stop() error {
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := n.process.Wait(); err != nil {
		return fmt.Errorf("pvesim: %w: %s", err, n.errs.String())
	}
	return nil
}

// A life is what became of a world in which an agent was ended at a point and then started anew.
type life struct {
	at       *point
	killed   bool
	restarts int
	said     []byte // by all agents
	world    string // canonical
	state    string // the state directory
	tap      *tap
	env      []string
	took     time.Duration
}

// live lets an agent converge a world of its own, and ends it at a point, if one is given.
func (b *bench) live(ctx context.Context, name string, at *point) (l *life, err error) {
	begin := time.Now()
	dir := filepath.Join(b.dir, name)
	world, fence, tapped := filepath.Join(dir, "node.yaml"), filepath.Join(dir, "fence"), filepath.Join(dir, "tapped")
	l = &life{at: at, state: filepath.Join(dir, "state")}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return l, err
	}
	for from, to := range map[string]string{b.fresh: world, b.fresh + ".pem": world + ".pem"} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			return l, err
		}
	}
	sim, err := b.startNode(world, fence)
	if err != nil {
		return l, err
	}
	stop := sim.stop
	defer func() { err = errors.Join(err, stop()) }()

	certificate, err := tls.LoadX509KeyPair(world+".pem", world+".pem")
	if err != nil {
		return l, err
	}
	api, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return l, err
	}
	defer api.Close()
	socket, err := net.Listen("unix", tapped)
	if err != nil {
		return l, err
	}
	defer socket.Close()
	l.tap = newTap(filepath.Join(l.state, "journal.jsonl"), sim.addr, fence, at)
	defer l.tap.client.CloseIdleConnections()
	go l.tap.serveAPI(api)
	go l.tap.serveFence(socket)
	l.env = append(os.Environ(), "FELHOM_AGENT_URL=https://"+api.Addr().String(), "FELHOM_AGENT_FINGERPRINT="+sim.print, "FELHOM_AGENT_TOKEN_ID="+sim.tokenID,
		"FELHOM_AGENT_TOKEN_SECRET="+sim.secret, "FELHOM_AGENT_RUNNER=socket:"+tapped, "FELHOM_AGENT_STATE="+l.state, "FELHOM_AGENT_SETTLE=2s", seldom)

	code, err := l.run(ctx, b)
	if err != nil {
		return l, err
	}
	l.tap.mu.Lock()
	l.killed = l.tap.dead
	l.tap.mu.Unlock()
	if l.killed {
		if l.tap.cut > 0 {
			if err := os.Truncate(l.tap.journal, l.tap.cut); err != nil {
				return l, err
			}
		}
		l.tap.resume()
		for l.restarts = 1; ; l.restarts++ {
			if code, err = l.run(ctx, b); err != nil || code == 0 || l.restarts == 3 {
				break
			}
		}
	}
	if err == nil && code != 0 {
		err = fmt.Errorf("the agent ends with %d", code)
	}
	stop = func() error { return nil }
	if err := errors.Join(err, sim.stop()); err != nil {
		return l, err
	}
	text, err := os.ReadFile(world)
	if err != nil {
		return l, err
	}
	l.world, err = canonical(text)
	l.took = time.Since(begin)
	return l, err
}

// run runs an agent to its end; one that was killed has the code -1.
func (l *life) run(ctx context.Context, b *bench) (int, error) {
	process := exec.CommandContext(ctx, b.agent, "--once", b.desired)
	process.Env = l.env
	out := &locked{}
	process.Stdout, process.Stderr = out, out
	l.tap.mu.Lock() // nobody kills what is not there yet
	err := process.Start()
	l.tap.kill = func() { process.Process.Kill() }
	l.tap.mu.Unlock()
	if err != nil {
		return 0, err
	}
	err = process.Wait()
	l.said = fmt.Appendf(l.said, "%s---- it ended: %v\n", out.String(), process.ProcessState)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && ctx.Err() == nil {
		err = nil
	}
	return process.ProcessState.ExitCode(), errors.Join(err, ctx.Err())
}

// history is what the agent tells of its past.
func (l *life) history(b *bench, only string) (string, error) {
	process := exec.Command(b.agent, "--history", "--only", only)
	process.Env = l.env
	out, err := process.CombinedOutput()
	return string(out), err
}

// counters are what a world counts or stamps: moments, process numbers, how often the node was saved.
var counters = []string{"created", "written", "since", "born", "filled", "noted", "pid", "clock"}

// canonical prints a world so that two that are equal are so letter by letter: without moments and process
// numbers; of the tasks only what they were, on what, by whom and how they ended, sorted, so that an operation that is
// done twice shows; and sorted too what the two mounts append, which run at the same time.
func canonical(text []byte) (string, error) {
	var world map[string]any
	if err := yaml.Unmarshal(text, &world); err != nil {
		return "", err
	}
	nodes, _ := world["nodes"].([]any)
	for _, n := range nodes {
		node, _ := n.(map[string]any)
		tasks, _ := node["tasks"].([]any)
		var names []string
		for _, t := range tasks {
			task, _ := t.(map[string]any)
			names = append(names, fmt.Sprintf("%v %v %v: %v", task["type"], task["id"], task["user"], task["status"]))
		}
		slices.Sort(names)
		node["tasks"] = names
		lines := strings.SplitAfter(fmt.Sprint(node["fstab"]), "\n")
		slices.Sort(lines)
		node["fstab"] = strings.Join(lines, "")
		sortAny(node["mounts"])
		disks, _ := node["disks"].([]any)
		for _, d := range disks {
			disk, _ := d.(map[string]any)
			sortAny(disk["folders"])
			sortAny(disk["immutable"])
			newestKit(disk)
		}
	}
	out, err := yaml.Marshal(without(world))
	return timeless(string(out)), err
}

// newestKit leaves of the recovery kits on a disk the newest, without the moment of its making, and of what tells times only that it is there: a life
// that was interrupted may have made one more.
func newestKit(disk map[string]any) {
	files, _ := disk["files"].(map[string]any)
	kits, newest := regexp.MustCompile(`^(/felhom-recovery/[^/]+/)(\d{8}T\d{6}Z)/(.+)$`), ""
	for name := range files {
		if m := kits.FindStringSubmatch(name); m != nil {
			newest = max(newest, m[2])
		}
	}
	for name, text := range files {
		m := kits.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		delete(files, name)
		if m[2] != newest {
			continue
		}
		if !strings.HasPrefix(m[3], "desired/") {
			text = "there"
		}
		files[m[1]+"NEWEST/"+m[3]] = text
	}
}

func sortAny(list any) {
	if all, ok := list.([]any); ok {
		slices.SortFunc(all, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) // maps are printed in order
	}
}

// without leaves out the counters.
func without(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range counters {
			delete(v, key)
		}
		for key, inner := range v {
			v[key] = without(inner)
		}
	case []any:
		for i := range v {
			v[i] = without(v[i])
		}
	}
	return value
}
