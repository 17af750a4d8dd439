package main

import (
	"errors"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/spec"
)

// parseRunner reads how the fence is reached.
func parseRunner(s string) (privileged.Runner, string, error) {
	mode, path, _ := strings.Cut(s, ":")
	switch {
	case s == "sudo":
		return &privileged.ExecRunner{Mode: privileged.Sudo}, mode, nil
	case s == "direct":
		return &privileged.ExecRunner{Mode: privileged.Direct}, mode, nil
	case mode == "socket" && (s == "socket" || filepath.IsAbs(path)):
		return &privileged.SocketRunner{Path: path}, mode, nil
	case s == "none":
		return nil, mode, nil
	}
	return nil, "", errors.New("it is one of sudo, direct, socket, socket:/PATH, none")
}

// parseDuration reads Go's durations, and days: 90s, 15m, 1h30m, 7d.
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int64
		n, err = strconv.ParseInt(days, 10, 32)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, errors.New("it is a time such as 90s, 15m, 2h or 7d")
	}
	return d, nil
}

func parseLevel(s string) (*zapcore.Level, error) {
	levels := []string{"debug", "info", "warn", "error"}
	if err := oneOf(levels...)(s); err != nil {
		return nil, err
	}
	level, err := zapcore.ParseLevel(s)
	return &level, err
}

// lookup is os.Getenv on a list.
func lookup(environ []string, name string) string {
	for _, pair := range environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// nearest suggests the word that was probably meant, or all that there are.
func nearest(word string, words iter.Seq[string]) string {
	known := slices.Sorted(words)
	if best := spec.Nearest(word, known); best != "" {
		return ": did you mean " + best + "?"
	}
	return "; there are " + strings.Join(known, ", ")
}
