package cli

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/snapline/snapline"
)

// logOptions are the logging flags of the long-running commands.
type logOptions struct {
	level string
	trace string
}

func (o *logOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.trace, "trace", "", "append every event and effect of the protocol to this file, at most 8 MiB and as much again in FILE.1 (default DATA/trace.txt)")
}

// open returns the log, and what writes the trace until it is closed. The data
// directory need not be there yet.
func (o *logOptions) open(data string) (*slog.Logger, *traceFile, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.level)); err != nil {
		return nil, nil, &snapline.Error{Code: snapline.CodeInvalid, Message: fmt.Sprintf("--log-level %s: use debug, info, warn or error", o.level)}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	path := o.trace
	if path == "" {
		path = filepath.Join(data, "trace.txt")
	}
	return log, newTraceFile(path, traceLimit, log), nil
}
