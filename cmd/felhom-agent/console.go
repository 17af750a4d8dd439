package main

import (
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// console is where people read.
type console struct {
	stdout, stderr io.Writer
	terminal       bool // stdout is one
	colour         bool
	width          int // of the terminal in columns; 0: unknown, or no terminal
}

// newConsole looks what standard output is. Colour is for terminals only, and for none where NO_COLOR is
// set (https://no-color.org) or the terminal says that it is dumb.
func newConsole(stdout, stderr *os.File) *console {
	con := &console{stdout: stdout, stderr: stderr}
	if _, err := unix.IoctlGetTermios(int(stdout.Fd()), unix.TCGETS); err == nil && os.Getenv("TERM") != "dumb" {
		con.terminal = true
		con.colour = os.Getenv("NO_COLOR") == ""
		if size, err := unix.IoctlGetWinsize(int(stdout.Fd()), unix.TIOCGWINSZ); err == nil {
			con.width = int(size.Col)
		}
	}
	return con
}

// say tells a person beside the result, on standard error.
func (con *console) say(format string, args ...any) {
	fmt.Fprintf(con.stderr, "felhom-agent: "+format+"\n", args...)
}

// logger writes logs to standard error.
func (con *console) logger(level zapcore.Level, format string) *zap.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey, encoding.EncodeTime = "time", zapcore.RFC3339TimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewConsoleEncoder(encoding)
	if format == "json" {
		encoder = zapcore.NewJSONEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(con.stderr)), level))
}
