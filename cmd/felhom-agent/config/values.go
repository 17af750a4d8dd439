package config

import (
	"errors"
	"fmt"
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

// ParseDuration reads Go's durations, and days: 90s, 15m, 1h30m, 7d.
func ParseDuration(s string) (time.Duration, error) {
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

// ParseCount reads how many of something are wanted: 1 or more.
func ParseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, errors.New("expected a number from 1 on")
	}
	return n, nil
}

func ParseLevel(s string) (*zapcore.Level, error) {
	levels := []string{"debug", "info", "warn", "error"}
	if err := OneOf(levels...)(s); err != nil {
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

// Nearest suggests the word that was probably meant, or all that there are.
func Nearest(word string, words iter.Seq[string]) string {
	known := slices.Sorted(words)
	if best := spec.Nearest(word, known); best != "" {
		return ": did you mean " + best + "?"
	}
	return "; there are " + strings.Join(known, ", ")
}

func OneOf(words ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(words, s) {
			return nil
		}
		if words[0] == "" {
			return fmt.Errorf("it is nothing or %s", strings.Join(words[1:], ", "))
		}
		return fmt.Errorf("it is one of %s", strings.Join(words, ", "))
	}
}

func NotEmpty(s string) error {
	if s == "" {
		return errors.New("it is empty")
	}
	return nil
}

// leastInterval keeps a slip of the pen from asking the node without a pause.
const leastInterval = time.Second

func IntervalTo(to *time.Duration) func(string) error {
	return func(s string) (err error) {
		if *to, err = ParseDuration(s); err == nil && *to < leastInterval {
			err = fmt.Errorf("it is %s or more, usually some minutes", leastInterval)
		}
		return err
	}
}
