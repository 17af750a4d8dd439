package httpstatus

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"

	"github.com/felhom/felhom-agent/quote"
)

// Serve answers on the configured address until ctx ends. That the address is taken keeps nobody from
// converging: it is said once, and tried again.
func (o *Observer) Serve(ctx context.Context, at config.ListenAddress) {
	server := &http.Server{
		Handler: o.Handler(at.Network == "tcp"), MaxHeaderBytes: 16 << 10, ErrorLog: zap.NewStdLog(o.Node.Log),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: time.Minute,
	}
	told := ""
	for ctx.Err() == nil {
		listener, err := at.Listen()
		if err == nil {
			o.Node.Log.Info("telling what happens", zap.Stringer("at", at))
			stop := context.AfterFunc(ctx, func() { server.Close() })
			err = server.Serve(listener)
			stop()
		}
		if ctx.Err() != nil {
			return
		}
		if err.Error() != told {
			told = err.Error()
			o.Node.Log.Error("the page cannot be shown; everything else goes on", zap.Stringer("at", at), zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(config.ListenPause):
		}
	}
}

// Handler answers the five addresses. checkHost is for networks that a browser reaches: a web site whose
// name was made to lead to 127.0.0.1 must not read the page through the browser of somebody who is here.
func (o *Observer) Handler(checkHost bool) http.Handler {
	mux, a := http.NewServeMux(), answers{o}
	mux.HandleFunc("/healthz", a.serveHealth)
	mux.HandleFunc("/readyz", a.serveReady)
	mux.HandleFunc("/status", a.serveStatus)
	mux.HandleFunc("/{$}", a.servePage)
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
			http.Error(w, "only 127.0.0.1 and localhost are served: a web server in front must send one of these as Host", http.StatusMisdirectedRequest)
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

// answers are what is served.
type answers struct{ *Observer }

// serveHealth answers 200 while looks come when they are due and the node answers them, else 503.
func (o answers) serveHealth(w http.ResponseWriter, _ *http.Request) {
	text, healthy := o.Health()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(quote.NewWriter(w, false), text)
}

// serveReady answers 200 while nothing needs a person, else 503 and the objects that do, one
// a line.
func (o answers) serveReady(w http.ResponseWriter, _ *http.Request) {
	text, healthy := o.Health()
	need := o.needs()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !healthy || len(need) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, text)
	for _, s := range need {
		fmt.Fprintf(w, "%s %s: %s\n", s.State, s.Object, s.Reason)
	}
}

func (o answers) serveStatus(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := WriteJSON(quote.NewWriter(w, false), o.Report(r.Context())); err != nil {
		o.Node.Log.Debug("a reader went away", zap.Error(err))
	}
}

func (o answers) servePage(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	if err := page.Execute(&b, o.Report(r.Context())); err != nil {
		o.Node.Log.Error("the page cannot be made", zap.Error(err))
		http.Error(w, "the page cannot be made; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(quote.NewWriter(w, false))
}
