package console

import (
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-agent/quote"
)

// Console is where people read.
type Console struct {
	Stdout, Stderr io.Writer
	Terminal       bool // stdout is one
	Colour         bool
	Width          int // of the terminal in columns; 0: unknown, or no terminal
}

// New looks what standard output is. Colour is for terminals only, and for none where NO_COLOR is
// set (https://no-color.org) or the terminal says that it is dumb.
func New(stdout, stderr *os.File) *Console {
	con := &Console{}
	if _, err := unix.IoctlGetTermios(int(stdout.Fd()), unix.TCGETS); err == nil && os.Getenv("TERM") != "dumb" {
		con.Terminal = true
		con.Colour = os.Getenv("NO_COLOR") == ""
		if size, err := unix.IoctlGetWinsize(int(stdout.Fd()), unix.TIOCGWINSZ); err == nil {
			con.Width = int(size.Col)
		}
	}
	// Whatever is printed goes through here: no secret, and no character that a terminal obeys but our own.
	con.Stdout, con.Stderr = quote.NewWriter(stdout, con.Terminal), quote.NewWriter(stderr, false)
	return con
}

// Say tells a person beside the result, on standard error.
func (con *Console) Say(format string, args ...any) {
	fmt.Fprintf(con.Stderr, "felhom-agent: "+format+"\n", args...)
}

// Logger writes logs to standard error.
func (con *Console) Logger(level zapcore.Level, format string) *zap.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey, encoding.EncodeTime = "time", zapcore.RFC3339TimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewConsoleEncoder(encoding)
	if format == "json" {
		encoder = zapcore.NewJSONEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(con.Stderr)), level))
}
