package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// A listenAddress is where the agent says what it does: an address of this machine, or a unix socket.
type listenAddress struct{ network, address string }

// parseListen reads the key `listen`.
func parseListen(s string) (listenAddress, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return listenAddress{}, errors.New("the path of a socket begins with a slash: unix:/run/felhom-agent/http")
		}
		return listenAddress{"unix", path}, nil
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		return listenAddress{}, errors.New("it is an address of this machine with a port (127.0.0.1:8765, [::1]:8765), or unix:/PATH")
	}
	if !at.Addr().IsLoopback() {
		return listenAddress{}, fmt.Errorf("%s can be reached from other machines, and the page asks nobody who they are: listen on 127.0.0.1, and let a web server or `ssh -L` lead there", at.Addr())
	}
	return listenAddress{"tcp", s}, nil
}

func (a listenAddress) String() string {
	if a.network == "unix" {
		return "unix:" + a.address
	}
	return "http://" + a.address + "/"
}

// listen opens the address. The socket of an agent that was killed is taken away; one behind which somebody
// answers is not.
func (a listenAddress) listen() (net.Listener, error) {
	if a.network == "unix" {
		if conn, err := net.DialTimeout("unix", a.address, time.Second); err == nil {
			conn.Close()
			return nil, fmt.Errorf("%s: another process answers there", a)
		}
		if info, err := os.Lstat(a.address); err == nil && info.Mode()&os.ModeSocket != 0 {
			_ = os.Remove(a.address) // if it stays, listening says why
		}
	}
	listener, err := net.Listen(a.network, a.address)
	if err == nil && a.network == "unix" {
		err = os.Chmod(a.address, 0o660)
	}
	return listener, err
}

// listenPause is how long to wait for an address that another program has.
const listenPause = 15 * time.Second

// Serve answers on the configured address until ctx ends. That the address is taken keeps nobody from
// converging: it is said once, and tried again.
func (o *observer) Serve(ctx context.Context, at listenAddress) {
	server := &http.Server{
		Handler: o.handler(at.network == "tcp"), MaxHeaderBytes: 16 << 10, ErrorLog: zap.NewStdLog(o.node.log),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
	}
	told := ""
	for ctx.Err() == nil {
		listener, err := at.listen()
		if err == nil {
			o.node.log.Info("telling what happens", zap.Stringer("at", at))
			stop := context.AfterFunc(ctx, func() { server.Close() })
			err = server.Serve(listener)
			stop()
		}
		if ctx.Err() != nil {
			return
		}
		if err.Error() != told {
			told = err.Error()
			o.node.log.Error("the page cannot be shown; everything else goes on", zap.Stringer("at", at), zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenPause):
		}
	}
}

// handler answers the four addresses. checkHost is for networks that a browser reaches: a web site whose
// name was made to lead to 127.0.0.1 must not read the page through the browser of somebody who is here.
func (o *observer) handler(checkHost bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", o.serveHealth)
	mux.HandleFunc("/status", o.serveStatus)
	mux.HandleFunc("/{$}", o.servePage)
	mux.Handle("/metrics", promhttp.HandlerFor(o.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", pagePolicy)
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "this can only be read", http.StatusMethodNotAllowed)
		case checkHost && !local(r.Host):
			http.Error(w, "this is for 127.0.0.1 and localhost; a web server in front of it shall send one of these as Host", http.StatusMisdirectedRequest)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// local reports whether a Host header names this machine. The port may be another one, of an SSH tunnel.
func local(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	at, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && at.IsLoopback()
}

// serveHealth answers 200 while looks come when they are due and the node answers them, else 503.
func (o *observer) serveHealth(w http.ResponseWriter, _ *http.Request) {
	text, healthy := o.health()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, text)
}

func (o *observer) serveStatus(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := writeJSON(w, o.report(r.Context())); err != nil {
		o.node.log.Debug("a reader went away", zap.Error(err))
	}
}

func (o *observer) servePage(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	if err := page.Execute(&b, o.report(r.Context())); err != nil {
		o.node.log.Error("the page cannot be made", zap.Error(err))
		http.Error(w, "the page cannot be made; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w)
}
