package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// saveEvery is how often a world in which something happened is written.
const saveEvery = 10 * time.Second

// serve serves until ctx ends.
func serve(ctx context.Context, o options, out, errs io.Writer) error {
	if o.world != "" {
		unlock, err := lock(o.world)
		if err != nil {
			return err
		}
		defer unlock()
	}
	sim, err := load(o.world, true)
	if err != nil {
		return err
	}
	sim.SetSpeed(o.speed)
	keep := keeper{sim: sim, path: o.world}
	if err := keep.save(); err != nil {
		return err
	}

	server, listener, print, err := listen(o, sim)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- server.ServeTLS(listener, "", "") }()

	stopFence := func() {}
	if o.fence != "" {
		if stopFence, err = serveFence(o.fence, sim, failed); err != nil {
			server.Close()
			return fmt.Errorf("-fence unix:%s: %w", o.fence, err)
		}
	}
	greet(out, o, sim, listener.Addr().String(), print)

	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			err = errDone
		case err = <-failed:
		case <-tick.C:
			if e := keep.save(); e != nil {
				fmt.Fprintf(errs, "pvesim: %v\n", e)
			}
		}
	}
	server.Close()
	stopFence()
	keep.last = nil // the clock too
	if e := keep.save(); e != nil {
		return e
	}
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// listen opens the address, and makes the server for it; print is the fingerprint of its certificate.
func listen(o options, sim *pvesim.Sim) (server *http.Server, listener net.Listener, print string, err error) {
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return nil, nil, "", fmt.Errorf("-listen %s: %w", o.listen, err)
	}
	pemFile := ""
	if o.world != "" {
		pemFile = o.world + ".pem"
	}
	cert, err := certificate(pemFile, sim.Node(), host)
	if err != nil {
		return nil, nil, "", err
	}
	listener, err = net.Listen("tcp", o.listen)
	if err != nil {
		return nil, nil, "", err
	}
	server = &http.Server{
		Handler:           sim,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}},
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // PVE speaks HTTP/1.1 only
		IdleTimeout:       5 * time.Second,                                          // as PVE does
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // clients that hang up
	}
	return server, listener, fingerprint(cert), nil
}

var errDone = errors.New("done")

// greet says where the node is and how to get in.
func greet(out io.Writer, o options, sim *pvesim.Sim, addr, print string) {
	fmt.Fprintf(out, "node         %s\n", sim.Node())
	fmt.Fprintf(out, "url          https://%s\n", addr)
	fmt.Fprintf(out, "fingerprint  %s\n", print)
	tokens := sim.Tokens()
	ids := make([]string, 0, len(tokens))
	for id := range tokens {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		fmt.Fprintf(out, "token        %s=%s\n", id, tokens[id])
	}
	if o.fence != "" {
		fmt.Fprintf(out, "fence        unix:%s\n", o.fence)
	}
	if o.world != "" {
		fmt.Fprintf(out, "world        %s\n", o.world)
	} else {
		fmt.Fprintln(out, "world        in memory, forgotten at the end (keep it with -world FILE)")
	}
	if id := sim.TokenID(); tokens[id] != "" {
		fmt.Fprintf(out, "\n  curl -k -H 'Authorization: PVEAPIToken=%s=%s' https://%s/api2/json/nodes/%s/lxc\n\n", id, tokens[id], addr, sim.Node())
	}
}

// A keeper writes the world when something happened in it.
type keeper struct {
	sim  *pvesim.Sim
	path string
	last []byte
}

var clockRE = regexp.MustCompile(`(?m)^clock: .*$`)

func (k *keeper) save() error {
	if k.path == "" {
		return nil
	}
	text, err := k.sim.Save()
	if err != nil {
		return err
	}
	what := clockRE.ReplaceAll(text, nil) // that time went by is no news
	if bytes.Equal(what, k.last) {
		return nil
	}
	if err := replace(k.path, text, 0o644); err != nil {
		return err
	}
	k.last = what
	return nil
}

// serveFence answers the fence's protocol for the machine of the first node.
func serveFence(path string, sim *pvesim.Sim, failed chan<- error) (stop func(), err error) {
	if err := dropStale(path); err != nil {
		return nil, err
	}
	old := syscall.Umask(0o077) // whoever may open it may act as root on the simulated machine: only us
	listener, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, err
	}
	local := &privileged.Local{Host: sim.Host(sim.Node())}
	var open sync.WaitGroup
	open.Add(1)
	go func() {
		defer open.Done()
		for {
			conn, err := listener.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					failed <- err
				}
				return
			}
			open.Add(1)
			go func() {
				defer open.Done()
				defer conn.Close()
				_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				privileged.Serve(context.Background(), local, conn, conn)
			}()
		}
	}()
	return func() {
		listener.Close()
		local.Wait()
		open.Wait()
	}, nil
}

// dropStale removes a socket that nobody listens on any more.
func dropStale(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // nothing there, or Listen will say what is wrong
	}
	if info.Mode()&os.ModeSocket == 0 {
		return errors.New("there is a file of that name that is no socket")
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return errors.New("another process listens there")
	}
	return os.Remove(path)
}
